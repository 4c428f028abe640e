//! MIME multipart, as cloud-init's tools make it: the parts that are ours, one after the other. Pure.
//!
//! The crate reads mail, which forgives everything; configuration must not be cut or replaced silently, so what it had to
//! mend is refused here.

use mail_parser::{MessageParser, MimeHeaders, PartType};
use zeroize::Zeroizing;

use super::{TEXT, foreign};

/// More are no configuration.
const PARTS: usize = 64;
/// What our parts may be called.
const OURS: [&str; 2] = ["x-stele", "vnd.stele"];

/// Why a multipart cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::platform) enum Error {
    #[error("its MIME multipart is cut or damaged: make it anew")]
    Damaged,
    #[error("its MIME multipart has more than {PARTS} parts")]
    Parts,
    #[error("part {0} of its MIME multipart cannot be used: {1}")]
    Part(usize, Box<super::Error>),
    #[error(
        "no part of its MIME multipart holds Stele's documents (text/x-stele, or apiVersion: stele/v1); there is {0}"
    )]
    NoneOurs(String),
}

/// Its headers come first, and one of them says so.
pub(super) fn is(text: &str) -> bool {
    let headers = text.lines().take_while(|line| !line.is_empty()).take(64);
    let mut kinds =
        headers.filter_map(|line| line.split_once(':')).filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    kinds.any(|(_, kind)| kind.trim_start().get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/")))
}

/// Our parts as one stream of documents; `unwrap` undoes how a part is packed.
pub(super) fn decode(
    text: &str,
    unwrap: impl Fn(&[u8]) -> Result<Zeroizing<String>, super::Error>,
) -> Result<Zeroizing<String>, super::Error> {
    let refuse = |error| Err(super::Error::Multipart(error));
    let parser = MessageParser::new().with_mime_headers();
    let Some(message) = parser.parse(text.as_bytes()) else { return refuse(Error::Damaged) };
    let boundary = message.parts.first().and_then(|part| part.content_type()?.attribute("boundary"));
    let whole = boundary.is_some_and(|boundary| {
        let end = format!("--{boundary}--");
        text.lines().any(|line| line.trim_end() == end)
    });
    if !whole {
        return refuse(Error::Damaged);
    }
    if message.parts.len() > PARTS {
        return refuse(Error::Parts);
    }
    let mut stream = Zeroizing::new(String::new());
    let mut others = Vec::new();
    let parts = message.parts.iter().filter(|part| !matches!(part.body, PartType::Multipart(_)));
    for (number, part) in (1..).zip(parts) {
        let kind = part.content_type();
        let named = kind.and_then(|kind| kind.subtype()).is_some_and(|subtype| OURS.contains(&subtype));
        let bytes = match &part.body {
            PartType::Text(text) | PartType::Html(text) => text.as_bytes(),
            PartType::Binary(bytes) | PartType::InlineBinary(bytes) => bytes,
            PartType::Message(_) | PartType::Multipart(_) => b"",
        };
        match unwrap(bytes) {
            _ if part.is_encoding_problem => return refuse(Error::Damaged),
            Ok(text) if named || foreign::ours(&text) => {
                // A lost byte, where the sender said another character set.
                if text.contains('\u{fffd}') {
                    return refuse(Error::Part(number, Box::new(super::Error::Binary)));
                }
                if stream.len() + text.len() > TEXT {
                    return Err(super::Error::Bomb);
                }
                if !stream.is_empty() {
                    stream.push_str("\n---\n");
                }
                stream.push_str(&text);
            }
            Ok(_) => others.push(format!("text that is not Stele's (part {number})")),
            Err(super::Error::Foreign(name)) => others.push(format!("{name} (part {number})")),
            Err(super::Error::Empty) if !named => others.push(format!("nothing (part {number})")),
            Err(super::Error::Multipart(Error::NoneOurs(found))) => others.push(found),
            Err(error) => return refuse(Error::Part(number, Box::new(error))),
        }
    }
    if stream.is_empty() {
        let found = if others.is_empty() { "no part".into() } else { others.join(", ") };
        return refuse(Error::NoneOurs(found));
    }
    Ok(stream)
}
