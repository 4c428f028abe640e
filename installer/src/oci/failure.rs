//! Why a step failed, and what an operator can do about it: the one place for remedies.

use config::image::pull::{Check, Refusal};

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Which check.
    pub check: Check,
    /// What is wrong.
    pub message: String,
    /// What to do, where it is not what one always does about this check.
    pub remedy: Option<&'static str>,
    /// Whether the same may go well later.
    pub again: bool,
}

impl Failure {
    /// Something that stays as it is until somebody changes it.
    pub fn new(check: Check, message: impl Into<String>) -> Self {
        Self { check, message: message.into(), remedy: None, again: false }
    }

    /// Something that may be over later.
    pub fn passing(check: Check, message: impl Into<String>) -> Self {
        Self { again: true, ..Self::new(check, message) }
    }

    /// With something else to do about it than usual.
    #[must_use]
    pub fn remedy(self, remedy: &'static str) -> Self {
        Self { remedy: Some(remedy), ..self }
    }

    /// What came of asking several: all are named, and the one that weighs most decides what it is called.
    #[must_use]
    pub fn of_all(failures: Vec<(String, Self)>) -> Self {
        let message = failures.iter().map(|(name, one)| format!("{name}: {one}")).collect::<Vec<_>>().join("; ");
        let again = failures.iter().any(|(_, one)| one.again);
        let worst = failures.into_iter().map(|(_, one)| one).max_by_key(|one| weight(one.check));
        let worst = worst.unwrap_or_else(|| Self::new(Check::Request, "there is nobody to ask"));
        Self { message, again, ..worst }
    }

    /// As it is told.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        let remedy = self.remedy.unwrap_or_else(|| remedy(self.check)).to_owned();
        Refusal { check: self.check, message: self.message, remedy, again: self.again }
    }
}

/// What somebody answered weighs more than that somebody else did not.
const fn weight(check: Check) -> u8 {
    match check {
        Check::Unreachable | Check::Time => 0,
        Check::Missing => 1,
        Check::Auth => 2,
        Check::Digest => 3,
        Check::Format => 4,
        Check::Signature => 5,
        _ => 6,
    }
}

const fn remedy(check: Check) -> &'static str {
    match check {
        Check::Request => "this is a mistake of whoever started the program; report it",
        Check::Folder => "wait until the other pull is over, or look at the file system of the folder",
        Check::Unreachable => {
            "look whether the machine reaches the registry (name, address, port, proxy), or name a mirror in `kind: Registry`"
        }
        Check::Time => "start it again: it goes on where it was; or allow more time",
        Check::Auth => "give user and password, or a token, in `kind: Registry` of this host",
        Check::Missing => "look at the reference: registry, repository, and tag or digest",
        Check::Digest => {
            "what is there was changed or damaged: push the image again, or remove the mirror that serves it"
        }
        Check::Signature => {
            "sign the image (`imager sign`, `cosign sign --key`) with a key that the machine trusts, or name the public key in \
             `kind: ImagePolicy`"
        }
        Check::Format => "take an image for this product and of a version that this machine can read",
        Check::Architecture => "take an image that was built for this architecture",
        Check::Floor => "take a newer version, or allow the downgrade explicitly: it is recorded in the audit",
        Check::Minimum => "upgrade to a version in between first",
        Check::Schema => "take a version that reads these documents, or apply documents that it reads first",
        Check::Size => "take another image, or allow more bytes",
        Check::Space => "make room on the disk",
        Check::Program => "the image was built wrongly: build, sign and push it again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_the_one_that_weighs_most() {
        let all = Failure::of_all(vec![
            ("m".into(), Failure::passing(Check::Unreachable, "no connection")),
            ("r".into(), Failure::new(Check::Signature, "nobody signed it").remedy("x")),
            ("s".into(), Failure::new(Check::Missing, "not there")),
        ]);
        assert_eq!(all.message, "m: no connection; r: nobody signed it; s: not there");
        assert_eq!((all.check, all.again, all.remedy), (Check::Signature, true, Some("x")));
        assert_eq!(all.refusal().remedy, "x");
        assert_eq!(Failure::of_all(Vec::new()).check, Check::Request);
    }
}
