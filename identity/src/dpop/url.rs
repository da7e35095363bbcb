//! Whether two URLs are one place (RFC 3986, sections 6.2.2 and 6.2.3, as RFC 9449 asks): scheme,
//! host and port, and the path; query and fragment do not count.

/// Whether both are `http` or `https` URLs of one place.
pub(super) fn same_place(one: &str, other: &str) -> bool {
    match (Place::read(one), Place::read(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Place {
    scheme: &'static str,
    host: String,
    port: u16,
    path: String,
}

impl Place {
    fn read(url: &str) -> Option<Self> {
        if !url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return None;
        }
        let (scheme, rest) = url.split_once("://")?;
        let (scheme, default) = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => ("https", 443),
            _ if scheme.eq_ignore_ascii_case("http") => ("http", 80),
            _ => return None,
        };
        let rest = rest.split(['?', '#']).next()?;
        let cut = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(cut)?;
        let (host, port) = host_and_port(authority, default)?;
        let path = if path.is_empty() { "/".to_owned() } else { plain(path)? };
        Some(Self { scheme, host, port, path })
    }
}

fn host_and_port(authority: &str, default: u16) -> Option<(String, u16)> {
    let colon = authority.rfind(':').filter(|at| authority.rfind(']').is_none_or(|end| end < *at));
    let (host, port) = match colon {
        None => (authority, ""),
        Some(at) => (authority.get(..at)?, authority.get(at + 1..)?),
    };
    let port = match port {
        "" => default,
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        _ => return None,
    };
    let named = !host.is_empty() && !host.contains('@');
    named.then(|| (host.to_ascii_lowercase(), port))
}

/// The path with each character in its one spelling: `%7e` is `~`, `%2f` is `%2F`.
fn plain(path: &str) -> Option<String> {
    let mut parts = path.split('%');
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push_str(&digits.to_ascii_uppercase());
        }
        text.push_str(rest);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "https://gate.example/mcp/files";

    #[test]
    fn spellings_of_one_place_are_the_same() {
        for same in [
            OURS,
            "HTTPS://gate.example/mcp/files",
            "https://GATE.example:443/mcp/files",
            "https://gate.example:/mcp/files",
            "https://gate.example/mcp/files?x=1#y",
            "https://gate.example/mcp/%66iles",
        ] {
            assert!(same_place(same, OURS), "{same}");
        }
        assert!(same_place("http://[::1]:7090", "http://[::1]:7090/"));
        assert!(same_place("http://h:80/a%2fb", "http://h/a%2Fb"));
    }

    #[test]
    fn other_places_are_not() {
        for other in [
            "",
            "http://gate.example/mcp/files",
            "https://gate.example:8443/mcp/files",
            "https://gate.example.evil/mcp/files",
            "https://gate.example@evil.example/mcp/files",
            "https://u@gate.example/mcp/files",
            "https://gate.example/mcp/Files",
            "https://gate.example/mcp/files/",
            "https://gate.example/mcp",
            "https://gate.example//mcp/files",
            "https://gate.example/x/../mcp/files",
            "https://gate.example/mcp%2Ffiles",
            "https://gate.example/mcp/files%",
            "https://gate.example/mcp/files%+6",
            "https://gate.example:+443/mcp/files",
            "https://gate.example:443:443/mcp/files",
            "https:///mcp/files",
            "//gate.example/mcp/files",
            "/mcp/files",
            " https://gate.example/mcp/files",
            "https://gate.example\\mcp/files",
            "https://g\u{430}te.example/mcp/files",
            "ftp://gate.example/mcp/files",
        ] {
            assert!(!same_place(other, OURS), "{other}");
        }
    }
}
