//! `installer check`: whether this version can use a machine's documents, which come on standard input. Nothing else is read,
//! nothing is written.

use std::io::{Read, Write};

use config::image::pull::{Check, Line, Refusal};

/// More are no documents of ours: see `config::LIMIT`.
const MOST: u64 = 16 << 20;

/// Looks at them; whether this version can use them. When not, a [`Line::Refused`] says why.
pub fn check(input: impl Read, mut output: impl Write) -> bool {
    let Err(why) = look(input) else { return true };
    let refusal = Refusal {
        check: Check::Schema,
        message: format!("the machine's configuration cannot be used by this version: {why}"),
        remedy: "change the documents (apictl edit), or choose another version".into(),
        again: false,
    };
    let text = serde_json::to_string(&Line::Refused(refusal)).unwrap_or_default();
    let _ = writeln!(output, "{text}");
    false
}

fn look(input: impl Read) -> Result<(), String> {
    let mut text = Vec::new();
    input.take(MOST).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    let stream = config::parse_bytes(&text).map_err(|problems| problems.to_string())?;
    config::complete(&stream.documents).map_err(|problems| problems.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_a_machine() {
        let look = |text: &str| {
            let mut said = Vec::new();
            (check(text.as_bytes(), &mut said), String::from_utf8(said).unwrap())
        };
        assert_eq!(look(""), (true, String::new()));
        let (well, said) = look("apiVersion: stele/v1\nkind: Fancy\nname: x\n");
        assert!(!well && said.contains("refused") && said.contains("there is no such kind"), "{said}");
        assert!(!look("a: [").0);
    }
}
