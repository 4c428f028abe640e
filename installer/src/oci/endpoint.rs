//! Addresses: of a registry, of a proxy, of where a registry leads to.

use std::fmt;

use config::image::pull::Check;
use http::Uri;

use super::failure::Failure;

/// Where something is on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Whether TLS is spoken.
    pub(super) secure: bool,
    /// Name or address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// As in the URL: host, and port when it was given.
    pub(super) authority: String,
    /// What stands behind that, without a slash at its end.
    pub(super) path: String,
}

impl Address {
    /// `http://host[:port][/path]` or `https://…`, without user, password and question.
    pub(super) fn parse(text: &str, what: &str) -> Result<Self, Failure> {
        let wrong = || {
            // what stands before an @ may be a password
            let shown = text.rsplit('@').next().unwrap_or_default();
            let message =
                format!("{shown} is no address of a {what}: expected http://HOST[:PORT] or https://HOST[:PORT]");
            Failure::new(Check::Request, message)
        };
        let url: Uri = text.parse().map_err(|_| wrong())?;
        if url.query().is_some() { Err(wrong()) } else { Self::of(&url).ok_or_else(wrong) }
    }

    /// The address in a URL.
    pub(super) fn of(url: &Uri) -> Option<Self> {
        let secure = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return None,
        };
        let authority = url.authority().filter(|all| !all.as_str().contains('@') && !all.host().is_empty())?;
        let port = match authority.port() {
            Some(port) => port.as_str().parse().ok().filter(|&port| port > 0)?,
            None if secure => 443,
            None => 80,
        };
        Some(Self {
            secure,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port,
            authority: authority.to_string(),
            path: url.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Whether what is secret to one may be told to the other.
    pub(super) fn same_origin(&self, other: &Self) -> bool {
        (self.secure, &self.host, self.port) == (other.secure, &other.host, other.port)
    }

    /// `host:port`, for CONNECT.
    pub(super) fn with_port(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// A URL there.
    pub(super) fn url(&self, path: &str) -> Result<Uri, Failure> {
        let url = format!("{}://{}{path}", self.scheme(), self.authority);
        url.parse().map_err(|_| Failure::new(Check::Request, format!("{path} cannot be asked for at {self}")))
    }

    /// Where a redirect leads: a whole address, or another path of the same server; never from HTTPS to HTTP.
    pub(super) fn follow(&self, to: &str) -> Option<Uri> {
        let whole = if to.starts_with('/') && !to.starts_with("//") {
            format!("{}://{}{to}", self.scheme(), self.authority)
        } else {
            to.to_owned()
        };
        let url: Uri = whole.parse().ok()?;
        let next = Self::of(&url)?;
        (next.secure || !self.secure).then_some(url)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let parse = |text: &str| Address::parse(text, "registry");
        let all = parse("https://[fd00::1]:5000/proxy/").unwrap();
        assert_eq!(
            (all.host.as_str(), all.with_port().as_str(), all.path.as_str()),
            ("fd00::1", "[fd00::1]:5000", "/proxy")
        );
        assert_eq!((all.to_string().as_str(), all.port), ("https://[fd00::1]:5000/proxy", 5000));
        assert_eq!(parse("http://r.example").unwrap().port, 80);
        for wrong in [
            "r.example",
            "ftp://r.example",
            "https://u:secret@r.example",
            "https://r.example?x",
            "https://",
            "http://r:0",
        ] {
            let said = parse(wrong).unwrap_err().message;
            assert!(said.contains("is no address of a registry") && !said.contains("secret"), "{said}");
        }
        assert!(parse("https://r.example").unwrap().same_origin(&parse("https://r.example:443/x").unwrap()));
        assert!(!parse("http://r.example:443").unwrap().same_origin(&parse("https://r.example").unwrap()));
    }

    #[test]
    fn redirects() {
        let from = Address::parse("https://r.example:5000/p", "registry").unwrap();
        let to = |text: &str| from.follow(text).map(|url| url.to_string());
        assert_eq!(to("/v2/x?y=z").as_deref(), Some("https://r.example:5000/v2/x?y=z"));
        assert_eq!(to("https://store.example/x").as_deref(), Some("https://store.example/x"));
        for refused in
            ["http://r.example:5000/x", "//evil.example/x", "file:///etc/passwd", "https://u:p@r.example/", ""]
        {
            assert_eq!(to(refused), None, "{refused}");
        }
    }
}
