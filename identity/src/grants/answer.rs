//! The strict reading of what a token endpoint answers (RFC 6749 section 5, RFC 8693 section 2.2).

use serde::Deserialize;
use zeroize::Zeroizing;

use super::client::Issued;
use super::grant::{Grant, TokenType};
use crate::secret::Secret;

/// Largest answer that is read, bytes.
pub const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// Longest token that is taken, bytes: upstreams bound their headers.
pub const ACCESS_TOKEN_MAX_BYTES: usize = 12 * 1024;
/// Longest life that is believed, seconds. A token that lives longer is asked for again then.
pub const LIFE_MAX_S: u64 = 86_400;
/// Life of a token whose answer does not say it, seconds.
pub const LIFE_UNSAID_S: u64 = 60;

/// Why a token that came back is not used.
pub(super) const ECHOED: &str = "it is the token that was sent";

#[derive(Deserialize)]
struct Raw {
    access_token: Option<Token>,
    token_type: Option<String>,
    issued_token_type: Option<String>,
    expires_in: Option<serde_json::Number>,
    scope: Option<String>,
    error: Option<serde::de::IgnoredAny>,
}

/// Wiped also where the rest of the answer is not used.
#[derive(Deserialize)]
#[serde(from = "String")]
struct Token(Zeroizing<String>);

impl From<String> for Token {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

/// What the server said in `error`, of an answer that is no token.
#[derive(Deserialize)]
struct RawError {
    error: String,
}

/// The code in the body of a refusal; `None` where there is none.
pub(super) fn error_code(body: &[u8]) -> Option<&'static str> {
    let raw: RawError = serde_json::from_slice(body).ok()?;
    Some(super::error::known_code(&raw.error))
}

/// The token in `body`, as the answer to `grant`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn issued(body: &[u8], grant: &Grant<'_>) -> Result<Issued, &'static str> {
    let unreadable = "it is not the JSON object of a token (or names a member twice)";
    let raw: Raw = serde_json::from_slice(body).map_err(|_| unreadable)?;
    if raw.error.is_some() {
        return Err("it names an error with status 200");
    }
    let Token(token) = raw.access_token.ok_or("it has no `access_token`")?;
    sendable(&token)?;
    if grant.sent_token() == Some(token.as_str()) {
        return Err(ECHOED);
    }
    let scheme = raw.token_type.ok_or("it has no `token_type`")?;
    let requested = grant.requested();
    // What is not an access token is marked as such, and an assertion is nothing else.
    let expected = if requested == Some(TokenType::IdJag) { "N_A" } else { "Bearer" };
    if !scheme.eq_ignore_ascii_case(expected) {
        return Err("its `token_type` is not the one that can be used");
    }
    if requested.map(TokenType::urn) != raw.issued_token_type.as_deref()
        && (requested.is_some() || raw.issued_token_type.is_some())
    {
        return Err("its `issued_token_type` is not what was asked for");
    }
    if !within(raw.scope.as_deref(), grant.scope()) {
        return Err("its `scope` holds more than was asked for");
    }
    Ok(Issued { token: Secret::new(token), life_s: life_s(raw.expires_in.as_ref())? })
}

/// The characters of a bearer token (RFC 6750 section 2.1).
fn sendable(token: &str) -> Result<(), &'static str> {
    if token.len() > ACCESS_TOKEN_MAX_BYTES {
        return Err("its `access_token` is too long");
    }
    let body = token.trim_end_matches('=');
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
    if body.is_empty() || !body.bytes().all(plain) {
        return Err("its `access_token` is empty or has characters that a header cannot carry");
    }
    Ok(())
}

fn within(granted: Option<&str>, asked: Option<&str>) -> bool {
    let (Some(granted), Some(asked)) = (granted, asked) else {
        return true;
    };
    granted.split_ascii_whitespace().all(|one| asked.split_ascii_whitespace().any(|a| a == one))
}

fn life_s(said: Option<&serde_json::Number>) -> Result<u64, &'static str> {
    let Some(said) = said else {
        return Ok(LIFE_UNSAID_S);
    };
    match said.as_u64() {
        None | Some(0) => Err("its `expires_in` is not a number of seconds above 0"),
        Some(seconds) => Ok(seconds.min(LIFE_MAX_S)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::grant::{Subject, Wanted};
    use super::*;

    const WANTED: Wanted<'static> = Wanted { scope: Some("a b"), audience: None, resource: None };
    const OWN: Grant<'static> = Grant::ClientCredentials(WANTED);

    fn exchange(requested: TokenType) -> Grant<'static> {
        let subject = Subject { token: "sub.ject.token", kind: TokenType::AccessToken };
        Grant::Exchange { subject, requested, wanted: WANTED }
    }

    fn read(body: &str, grant: &Grant<'_>) -> Result<(String, u64), &'static str> {
        issued(body.as_bytes(), grant).map(|issued| (issued.token.to_string(), issued.life_s))
    }

    #[test]
    fn a_token_and_its_life_are_read() {
        let good = r#"{"access_token":"t","token_type":"bearer","expires_in":90,"x":1}"#;
        assert_eq!(read(good, &OWN), Ok(("t".to_owned(), 90)));
        let narrower = r#"{"access_token":"t=","token_type":"Bearer","scope":"b"}"#;
        assert_eq!(read(narrower, &OWN), Ok(("t=".to_owned(), LIFE_UNSAID_S)));
        for (said, kept) in [(LIFE_MAX_S, LIFE_MAX_S), (LIFE_MAX_S + 1, LIFE_MAX_S), (1, 1)] {
            let body =
                format!(r#"{{"access_token":"t","token_type":"Bearer","expires_in":{said}}}"#);
            assert_eq!(read(&body, &OWN).unwrap().1, kept);
        }
    }

    #[test]
    fn an_exchange_gives_what_was_asked_for() {
        let of = |token: &str, kind: &str, scheme: &str| {
            format!(
                r#"{{"access_token":"{token}","issued_token_type":"{kind}","token_type":"{scheme}"}}"#
            )
        };
        let access = TokenType::AccessToken.urn();
        let jag = TokenType::IdJag.urn();
        let asked = exchange(TokenType::AccessToken);
        assert!(read(&of("t", access, "Bearer"), &asked).is_ok());
        assert!(read(&of("t", jag, "Bearer"), &asked).is_err());
        assert!(read(&of("t", access, "N_A"), &asked).is_err());
        assert_eq!(read(&of("sub.ject.token", access, "Bearer"), &asked), Err(ECHOED));
        assert!(read(r#"{"access_token":"t","token_type":"Bearer"}"#, &asked).is_err());
        let asked = exchange(TokenType::IdJag);
        assert!(read(&of("t", jag, "N_A"), &asked).is_ok());
        assert!(read(&of("t", jag, "Bearer"), &asked).is_err());
        assert!(read(&of("t", access, "Bearer"), &asked).is_err());
    }

    #[test]
    fn hostile_answers_are_refused() {
        let long = "t".repeat(ACCESS_TOKEN_MAX_BYTES + 1);
        let long = format!(r#"{{"access_token":"{long}","token_type":"Bearer"}}"#);
        for body in [
            "",
            "null",
            "[]",
            "{}",
            "not json",
            r#"{"access_token":"t"}"#,
            r#"{"token_type":"Bearer"}"#,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            r#"{"access_token":"==","token_type":"Bearer"}"#,
            r#"{"access_token":7,"token_type":"Bearer"}"#,
            r#"{"access_token":"t\r\nx: y","token_type":"Bearer"}"#,
            r#"{"access_token":"a b","token_type":"Bearer"}"#,
            r#"{"access_token":"tä","token_type":"Bearer"}"#,
            r#"{"access_token":"t","access_token":"u","token_type":"Bearer"}"#,
            r#"{"access_token":"t","token_type":"Bearer"} {}"#,
            r#"{"access_token":"t","token_type":"DPoP"}"#,
            r#"{"access_token":"t","token_type":"mac"}"#,
            r#"{"access_token":"t","token_type":"N_A"}"#,
            r#"{"access_token":"t","token_type":"Bearer","expires_in":0}"#,
            r#"{"access_token":"t","token_type":"Bearer","expires_in":-1}"#,
            r#"{"access_token":"t","token_type":"Bearer","expires_in":1.5}"#,
            r#"{"access_token":"t","token_type":"Bearer","expires_in":1e99}"#,
            r#"{"access_token":"t","token_type":"Bearer","expires_in":"60"}"#,
            r#"{"access_token":"t","token_type":"Bearer","scope":"a b admin"}"#,
            r#"{"access_token":"t","token_type":"Bearer","scope":["a"]}"#,
            r#"{"access_token":"t","token_type":"Bearer","error":"invalid_grant"}"#,
            r#"{"access_token":"t","token_type":"Bearer","issued_token_type":"x"}"#,
            &long,
        ] {
            assert!(read(body, &OWN).is_err(), "{body}");
        }
        let longest = "t".repeat(ACCESS_TOKEN_MAX_BYTES);
        let body = format!(r#"{{"access_token":"{longest}","token_type":"Bearer"}}"#);
        assert!(read(&body, &OWN).is_ok());
    }

    #[test]
    fn a_foreign_error_is_not_repeated() {
        assert_eq!(error_code(br#"{"error":"invalid_scope"}"#), Some("invalid_scope"));
        assert_eq!(error_code(br#"{"error":"hunter2"}"#), Some("an error of its own"));
        assert_eq!(error_code(b"<html>"), None);
        assert_eq!(error_code(br#"{"error":7}"#), None);
    }
}
