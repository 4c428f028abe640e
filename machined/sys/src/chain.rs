//! An error with its causes, on one line: the way every program of a node prints one. No memory is allocated.

use std::error::Error;
use std::fmt;

/// Displays as `error: cause: cause of the cause`.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'e>(pub &'e (dyn Error + 'e));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn causes_follow_in_order() {
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::NotFound, "no disk"));
        assert_eq!(Chain(&wrapped).to_string(), "no disk");
        #[derive(Debug)]
        struct Outer(io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("cannot mount")
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        assert_eq!(Chain(&Outer(wrapped)).to_string(), "cannot mount: no disk");
    }
}
