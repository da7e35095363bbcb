//! What came with a request, before anything is believed.

use std::fmt;

/// A credential as presented.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presented<'a> {
    /// None.
    Missing,
    /// A signed token, an API key (also from `x-api-key`), or a door token.
    Bearer(&'a str),
    /// The peer of a Unix socket, as the kernel names it.
    Peer {
        /// User id of the peer.
        uid: u32,
    },
}

impl fmt::Debug for Presented<'_> {
    /// A bearer's text is a secret and is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("Missing"),
            Self::Bearer(text) => write!(f, "Bearer(<{} bytes>)", text.len()),
            Self::Peer { uid } => write!(f, "Peer {{ uid: {uid} }}"),
        }
    }
}

/// Reads the value of an `Authorization` header. A scheme other than `Bearer`
/// (in any case, RFC 9110) proves nothing here and counts as missing.
#[must_use]
pub fn bearer_of(header: Option<&str>) -> Presented<'_> {
    let Some((scheme, rest)) = header.and_then(|value| value.trim_matches(' ').split_once(' '))
    else {
        return Presented::Missing;
    };
    let token = rest.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        Presented::Bearer(token)
    } else {
        Presented::Missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bearer_scheme_counts() {
        assert_eq!(bearer_of(None), Presented::Missing);
        for value in ["", " ", "Bearer", "Bearer ", "Basic YTpi", "DPoP abc", "Bearerabc", "abc"] {
            assert_eq!(bearer_of(Some(value)), Presented::Missing, "{value:?}");
        }
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c  ", " Bearer a.b.c"] {
            assert_eq!(bearer_of(Some(value)), Presented::Bearer("a.b.c"), "{value:?}");
        }
        assert_eq!(bearer_of(Some("Bearer a, Bearer b")), Presented::Bearer("a, Bearer b"));
    }

    #[test]
    fn debug_hides_the_secret() {
        assert_eq!(format!("{:?}", Presented::Bearer("hunter2")), "Bearer(<7 bytes>)");
    }
}
