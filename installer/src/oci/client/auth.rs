//! How a registry asks who we are (RFC 9110, section 11; distribution specification, "token authentication"): Basic, or a token
//! of another service.

use config::image::pull::{Auth, Check, Login};
use http::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri};
use serde::Deserialize;

use super::{Client, connect, nothing};
use crate::oci::endpoint::Address;
use crate::oci::failure::Failure;

/// Tokens have one to four kilobytes.
const TOKEN: u64 = 64 * 1024;

/// A token as a header.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    connect::secret(&format!("Bearer {token}"))
}

impl Client {
    /// Does what a registry asks for that refused a question.
    pub(super) async fn authorize(&mut self, headers: &HeaderMap) -> Result<(), Failure> {
        let refused = |why: &str| Failure::new(Check::Auth, format!("{}: {why}", self.address));
        let login = match &self.auth {
            Some(Auth::Token(_)) => return Err(refused("the token is not taken")),
            Some(Auth::Login(login)) => Some(login),
            None => None,
        };
        let asked = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<Challenge> = asked.flat_map(challenges).collect();
        if let Some(challenge) = challenges.iter().find(|one| one.scheme == "bearer") {
            self.authorization = Some(self.token(challenge, login).await?);
            return Ok(());
        }
        let Some(login) = login else { return Err(refused("the registry wants a user and a password")) };
        if !challenges.iter().any(|one| one.scheme == "basic") {
            return Err(refused("the registry wants something else than a password or a token"));
        }
        let basic = connect::basic(login)?;
        if self.authorization.as_ref() == Some(&basic) {
            return Err(refused("user and password are not taken"));
        }
        self.authorization = Some(basic);
        Ok(())
    }

    /// Gets a token where the registry says.
    async fn token(&self, challenge: &Challenge, login: Option<&Login>) -> Result<HeaderValue, Failure> {
        let refused = |why: String| Failure::new(Check::Auth, format!("{}: {why}", self.address));
        let realm = challenge.get("realm").unwrap_or_default();
        let realm: Uri = realm.parse().map_err(|_| refused("there is no address for tokens".to_owned()))?;
        let service = Address::of(&realm).ok_or_else(|| refused("there is no address for tokens".to_owned()))?;
        // what was asked over TLS is not answered in the clear
        if self.address.secure && !service.secure {
            return Err(refused(format!("tokens would come from {service}, in the clear")));
        }
        let mut path = realm.path_and_query().map_or("/", PathAndQuery::as_str).to_owned();
        for name in ["service", "scope"] {
            if let Some(value) = challenge.get(name) {
                path.push(if path.contains('?') { '&' } else { '?' });
                path.push_str(&format!("{name}={}", escaped(value)));
            }
        }
        let url = service.url(&path)?;
        let authorization = login.map(connect::basic).transpose()?;
        let mut answer = self.send(&Method::GET, &url, &[], authorization, nothing()).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if login.is_some() => {
                return Err(refused(format!("{service} does not take user and password")));
            }
            _ => return Err(answer.failure(&service.to_string())),
        }
        let token: Token = serde_json::from_slice(&answer.body.whole(TOKEN).await?)
            .map_err(|_| refused(format!("{service} gives no token")))?;
        let token = token.token.or(token.access_token).filter(|token| !token.is_empty());
        bearer(&token.ok_or_else(|| refused(format!("{service} gives no token")))?)
    }
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: Option<String>,
    /// The name of OAuth 2.
    #[serde(default)]
    access_token: Option<String>,
}

/// One way in that a server offers.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    /// In lower case.
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// All in one header: `Bearer realm="https://…",service="…", Basic realm="…"`. What is not understood is left out.
fn challenges(text: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = word(rest);
        if word.is_empty() {
            return found;
        }
        match after.trim_start().strip_prefix('=') {
            Some(value) => {
                let (value, after) = quoted(value.trim_start());
                if let Some(last) = found.last_mut() {
                    last.parameters.push((word.to_ascii_lowercase(), value));
                }
                rest = after;
            }
            None => {
                found.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
                rest = after;
            }
        }
    }
}

/// The token at the start, and what is behind it.
fn word(text: &str) -> (&str, &str) {
    let end = text.find(|one: char| !(one.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(one)));
    text.split_at(end.unwrap_or(text.len()))
}

/// A value in quotation marks, or a token.
fn quoted(text: &str) -> (String, &str) {
    let Some(inner) = text.strip_prefix('"') else {
        let (word, rest) = word(text);
        return (word.to_owned(), rest);
    };
    let (mut value, mut escape) = (String::new(), false);
    for (at, one) in inner.char_indices() {
        match one {
            _ if escape => {
                value.push(one);
                escape = false;
            }
            '\\' => escape = true,
            '"' => return (value, &inner[at + 1..]),
            _ => value.push(one),
        }
    }
    (value, "")
}

/// For the query of a URL.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_asks_for() {
        let read = challenges(
            r#"Negotiate, Bearer realm="https://t.example/token?x",service="a \"b\"" , scope="repository:s:pull,push",error=x, BASIC realm=r"#,
        );
        assert_eq!(read.iter().map(|one| one.scheme.as_str()).collect::<Vec<_>>(), ["negotiate", "bearer", "basic"]);
        assert_eq!(read[1].get("realm"), Some("https://t.example/token?x"));
        assert_eq!(read[1].get("service"), Some("a \"b\""));
        assert_eq!(read[1].get("scope"), Some("repository:s:pull,push"));
        assert_eq!(read[2].get("realm"), Some("r"));
        assert_eq!(challenges("\u{e9} =\""), []);
        assert_eq!(escaped("repository:a/b:pull,push x"), "repository:a/b:pull%2Cpush%20x");
    }

    fuzz::targets! {
        registry_challenge: |bytes| drop(challenges(&String::from_utf8_lossy(bytes))),
    }
}
