//! One header that proves who we are.

use std::fmt;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use lictor_identity::Secret;
use zeroize::Zeroizing;

/// How a token stands in `Authorization`.
const BEARER: &str = "Bearer ";
/// Longest secret in a header, bytes.
pub const SECRET_MAX_BYTES: usize = 12 * 1024;
/// A header's name that starts like this is ours or the connection's.
const NOT_FOR_KEYS: [&str; 12] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "trailer",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// A header with a secret. Its bytes are wiped when the last copy is dropped; it prints as
/// `Credential(<name>)`.
#[derive(Clone)]
pub struct Credential {
    name: HeaderName,
    value: HeaderValue,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.name)
    }
}

impl Credential {
    /// `Authorization: Bearer <token>`; `None` for a text that a header cannot carry.
    #[must_use]
    pub fn bearer(token: &Secret) -> Option<Self> {
        let mut text = Zeroizing::new(String::with_capacity(BEARER.len() + token.len()));
        text.push_str(BEARER);
        text.push_str(token);
        Self::of(AUTHORIZATION, token, text)
    }

    /// `<name>: <key>`; `None` for a text that a header cannot carry.
    #[must_use]
    pub fn plain(name: HeaderName, key: &Secret) -> Option<Self> {
        Self::of(name, key, Zeroizing::new((**key).to_owned()))
    }

    fn of(name: HeaderName, secret: &Secret, text: Zeroizing<String>) -> Option<Self> {
        let visible = secret.bytes().all(|b| b.is_ascii_graphic());
        if !(1..=SECRET_MAX_BYTES).contains(&secret.len()) || !visible {
            return None;
        }
        let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(Wiped(text))).ok()?;
        value.set_sensitive(true);
        Some(Self { name, value })
    }

    /// Puts it in place of whatever stands there under its name.
    pub fn put(&self, headers: &mut HeaderMap) {
        headers.insert(self.name.clone(), self.value.clone());
    }

    /// Whether `body` repeats the secret, as some servers do in the texts of their errors.
    #[must_use]
    pub fn is_in(&self, body: &[u8]) -> bool {
        memchr::memmem::find(body, self.secret()).is_some()
    }

    /// Whether any of `headers` repeats the secret.
    #[must_use]
    pub fn is_in_headers(&self, headers: &HeaderMap) -> bool {
        headers.values().any(|value| self.is_in(value.as_bytes()))
    }

    /// For a body that comes in pieces.
    #[must_use]
    pub fn watcher(&self) -> Watcher {
        Watcher { credential: self.clone(), tail: Zeroizing::default() }
    }

    fn secret(&self) -> &[u8] {
        let value = self.value.as_bytes();
        value.strip_prefix(BEARER.as_bytes()).unwrap_or(value)
    }
}

/// Looks for a credential in a body that comes in pieces, also where it is cut in two.
#[derive(Debug)]
pub struct Watcher {
    credential: Credential,
    /// The end of what came before, one byte less than the secret is long.
    tail: Zeroizing<Vec<u8>>,
}

impl Watcher {
    /// Whether `piece`, or the end of what came before and its beginning, holds the secret.
    pub fn found(&mut self, piece: &[u8]) -> bool {
        let keep = self.credential.secret().len().saturating_sub(1);
        let mut seam = Zeroizing::new(Vec::with_capacity(2 * keep));
        seam.extend_from_slice(&self.tail);
        seam.extend(piece.iter().take(keep));
        let found = self.credential.is_in(&seam) || self.credential.is_in(piece);
        let from = if piece.len() >= keep { piece } else { &seam };
        let kept = from.iter().skip(from.len().saturating_sub(keep)).copied().collect();
        self.tail = Zeroizing::new(kept);
        found
    }
}

/// The header called `name`, if it can carry a key.
pub(super) fn key_header(name: &str) -> Option<HeaderName> {
    let name: HeaderName = name.parse().ok()?;
    let taken = NOT_FOR_KEYS.contains(&name.as_str())
        || name.as_str().starts_with("lictor-")
        || name.as_str().starts_with("mcp-");
    (!taken).then_some(name)
}

/// A text as bytes that are wiped when dropped.
struct Wiped(Zeroizing<String>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    #[test]
    fn it_is_never_printed() {
        let credential = Credential::bearer(&secret("hunter2")).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer callers"));
        credential.put(&mut headers);
        assert_eq!(headers.get(AUTHORIZATION).unwrap(), "Bearer hunter2");
        assert_eq!(headers.get_all(AUTHORIZATION).iter().count(), 1);
        let shown = format!("{credential:?} {headers:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn what_a_header_cannot_carry_is_no_credential() {
        for text in ["", "a b", "a\nb", "ä", "a\u{7f}", &"a".repeat(SECRET_MAX_BYTES + 1)] {
            assert!(Credential::bearer(&secret(text)).is_none(), "{text}");
        }
        assert!(Credential::bearer(&secret(&"a".repeat(SECRET_MAX_BYTES))).is_some());
    }

    #[test]
    fn its_secret_is_found_in_a_body() {
        for credential in [
            Credential::bearer(&secret("sk-secret")).unwrap(),
            Credential::plain(HeaderName::from_static("x-api-key"), &secret("sk-secret")).unwrap(),
        ] {
            assert!(credential.is_in(b"{\"message\":\"bad key sk-secret.\"}"));
            assert!(!credential.is_in(b"sk-secre") && !credential.is_in(b""));
        }
    }

    #[test]
    fn its_secret_is_found_wherever_it_is_cut() {
        let credential = Credential::bearer(&secret("sk-secret")).unwrap();
        let body = b"data: bad key sk-secret\n\n";
        for size in 1..=body.len() {
            let mut watcher = credential.watcher();
            let found = body.chunks(size).filter(|piece| watcher.found(piece)).count();
            assert_eq!(found, 1, "{size}");
            let mut watcher = credential.watcher();
            assert!(!b"sk-secre t sk-".chunks(size).any(|piece| watcher.found(piece)), "{size}");
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-echo", HeaderValue::from_static("a sk-secret b"));
        assert!(credential.is_in_headers(&headers));
        assert!(!credential.is_in_headers(&HeaderMap::new()));
    }

    #[test]
    fn headers_of_the_connection_carry_no_key() {
        for name in ["host", "Cookie", "lictor-session", "mcp-session-id", "a b", ""] {
            assert!(key_header(name).is_none(), "{name}");
        }
        assert_eq!(key_header("X-Api-Key").unwrap(), "x-api-key");
    }
}
