//! Who may speak to the listener at all: `Host` and `Origin`, against web pages that reach
//! services of this machine (DNS rebinding).

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Uri};

use crate::config::Config;

/// Names of this machine, as they stand in `Host` and `Origin`.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The rule, from the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    loopback: bool,
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Guard {
    pub(crate) fn new(config: &Config, loopback: bool, public_url: &str) -> Self {
        let mut hosts = config.allowed_hosts.clone();
        let mut origins = config.allowed_origins.clone();
        if let Ok(uri) = public_url.parse::<Uri>()
            && let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority())
        {
            hosts.push(authority.to_string());
            origins.push(format!("{scheme}://{authority}"));
        }
        Self { loopback, hosts, origins }
    }

    /// Why a request may not be read any further, if so.
    pub(crate) fn refuses(&self, headers: &HeaderMap, uri: &Uri) -> Option<&'static str> {
        if self.loopback {
            let named =
                headers.get_all(HOST).iter().map(|value| value.to_str().unwrap_or_default());
            let asked = uri.authority().map(|authority| authority.as_str());
            let hosts: Vec<&str> = named.chain(asked).collect();
            // Wherever a host is named it must be one of ours: readers differ on which counts.
            let known = |host: &&str| is_local(host) || listed(&self.hosts, host);
            if hosts.is_empty() || !hosts.iter().all(known) {
                return Some("`Host` names no host that is served here");
            }
        }
        for origin in headers.get_all(ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            if !self.lets_in(origin) {
                return Some("`Origin` is not let in: add it to `pep_mcp.allowed_origins`");
            }
        }
        None
    }

    fn lets_in(&self, origin: &str) -> bool {
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        (self.loopback && host.is_some_and(is_local)) || listed(&self.origins, origin)
    }
}

fn listed(list: &[String], value: &str) -> bool {
    list.iter().any(|entry| entry.eq_ignore_ascii_case(value))
}

/// A name of this machine, with or without a port.
fn is_local(host: &str) -> bool {
    LOCAL.iter().any(|local| {
        let rest = host.get(..local.len()).filter(|name| name.eq_ignore_ascii_case(local));
        let rest = rest.and_then(|_| host.get(local.len()..));
        rest.is_some_and(|rest| {
            let port = rest.strip_prefix(':');
            rest.is_empty() || port.is_some_and(|p| p.parse::<u16>().is_ok())
        })
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn refused(guard: &Guard, host: Option<&str>, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        }
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        guard.refuses(&headers, &Uri::from_static("/mcp")).is_some()
    }

    #[test]
    fn on_loopback_only_local_names_pass() {
        let guard = Guard::new(&Config::default(), true, "http://127.0.0.1:7090");
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:7090", "[::1]:1"] {
            assert!(!refused(&guard, Some(host), None), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil:1", "localhost:x", ""]
        {
            assert!(refused(&guard, Some(host), None), "{host}");
        }
        assert!(refused(&guard, None, None));
        assert!(!refused(&guard, Some("localhost"), Some("http://localhost:3000")));
        for origin in ["http://evil.example", "null", "localhost", "http://localhost.evil"] {
            assert!(refused(&guard, Some("localhost"), Some(origin)), "{origin}");
        }
    }

    #[test]
    fn a_second_host_hides_nothing() {
        let guard = Guard::new(&Config::default(), true, "http://127.0.0.1:7090");
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_static("localhost"));
        let local = Uri::from_static("http://127.0.0.1:7090/mcp");
        assert!(guard.refuses(&headers, &local).is_none());
        assert!(guard.refuses(&headers, &Uri::from_static("http://evil.example/mcp")).is_some());
        headers.append(HOST, HeaderValue::from_static("evil.example"));
        assert!(guard.refuses(&headers, &local).is_some());
    }

    #[test]
    fn elsewhere_origins_must_be_listed() {
        let config =
            Config { allowed_origins: vec!["https://app.example".into()], ..Config::default() };
        let guard = Guard::new(&config, false, "https://mcp.example");
        assert!(!refused(&guard, Some("anything"), None));
        assert!(!refused(&guard, Some("anything"), Some("https://app.example")));
        assert!(!refused(&guard, Some("anything"), Some("https://mcp.example")));
        assert!(refused(&guard, Some("anything"), Some("http://localhost")));
    }
}
