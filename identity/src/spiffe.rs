//! SPIFFE IDs: `spiffe://<trust domain>/<path>` (SPIFFE-ID, section 2).

use std::fmt;

/// Longest SPIFFE ID, bytes.
pub const SPIFFE_ID_MAX_BYTES: usize = 2048;
/// Longest trust domain, bytes.
pub const TRUST_DOMAIN_MAX_BYTES: usize = 255;

/// The id of a workload, in its one spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    text: String,
    /// Where the path begins.
    path_at: usize,
}

impl SpiffeId {
    /// Reads the id of a workload. Only the canonical spelling is accepted, so that two texts
    /// never name one workload.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > SPIFFE_ID_MAX_BYTES {
            return Err("it is longer than 2048 bytes");
        }
        let rest = text.strip_prefix("spiffe://").ok_or("it does not begin with `spiffe://`")?;
        let (domain, path) = rest.split_once('/').ok_or("it has no path and names no workload")?;
        check_trust_domain(domain)?;
        path.split('/').try_for_each(check_segment)?;
        let path_at = text.len().saturating_sub(path.len().saturating_add(1));
        Ok(Self { text: text.to_owned(), path_at })
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Who vouches for it.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        let domain = self.text.get("spiffe://".len()..self.path_at);
        domain.unwrap_or_default()
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Checks the name of a trust domain.
///
/// # Errors
/// What is wrong with it.
pub fn check_trust_domain(name: &str) -> Result<(), &'static str> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    if name.is_empty() {
        Err("its trust domain is empty")
    } else if name.len() > TRUST_DOMAIN_MAX_BYTES {
        Err("its trust domain is longer than 255 bytes")
    } else if !name.bytes().all(plain) {
        Err("its trust domain has characters other than a-z, 0-9, `.`, `_` and `-`")
    } else {
        Ok(())
    }
}

fn check_segment(segment: &str) -> Result<(), &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    match segment {
        "" => Err("its path has an empty part"),
        "." | ".." => Err("its path has a part `.` or `..`"),
        _ if !segment.bytes().all(plain) => {
            Err("its path has characters other than letters, digits, `.`, `_` and `-`")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id = SpiffeId::parse("spiffe://example.org/ns/a/sa/Agent_1.x").unwrap();
        assert_eq!(id.trust_domain(), "example.org");
        assert_eq!(id.to_string(), "spiffe://example.org/ns/a/sa/Agent_1.x");
        for text in [
            "",
            "example.org/a",
            "https://example.org/a",
            "SPIFFE://example.org/a",
            "spiffe://",
            "spiffe:///a",
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe://example.org/a/",
            "spiffe://example.org//a",
            "spiffe://example.org/a//b",
            "spiffe://example.org/./a",
            "spiffe://example.org/a/..",
            "spiffe://Example.org/a",
            "spiffe://user@example.org/a",
            "spiffe://example.org:443/a",
            "spiffe://example.org/a?b=c",
            "spiffe://example.org/a#b",
            "spiffe://example.org/a%2Fb",
            "spiffe://example.org/a b",
            "spiffe://example.org/ä",
            "spiffe://exämple.org/a",
            "spiffe://example.org/a\0",
            " spiffe://example.org/a",
            "spiffe://example.org/*",
        ] {
            assert!(SpiffeId::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn ids_and_trust_domains_are_bounded() {
        let domain = "d".repeat(TRUST_DOMAIN_MAX_BYTES);
        assert!(SpiffeId::parse(&format!("spiffe://{domain}/a")).is_ok());
        assert!(SpiffeId::parse(&format!("spiffe://{domain}d/a")).is_err());
        let head = "spiffe://d/";
        let path = "a".repeat(SPIFFE_ID_MAX_BYTES - head.len());
        assert!(SpiffeId::parse(&format!("{head}{path}")).is_ok());
        assert!(SpiffeId::parse(&format!("{head}{path}a")).is_err());
    }
}
