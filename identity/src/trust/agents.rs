//! Which agent a name in a certificate stands for.

use std::collections::BTreeMap;

use super::TrustError;
use crate::error::shown;
use crate::jwt::id_fault;

/// Stands for any one label or part of a path.
const ANY_ONE: &str = "*";
/// Stands, at the end of a SPIFFE pattern, for one or more parts of a path.
const ANY_REST: &str = "**";

/// Agents by patterns of names. Where several fit, the one with the fewest stars wins, then the
/// one with the most parts.
#[derive(Debug, Clone, Default)]
pub struct AgentMap {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    pattern: Vec<String>,
    separator: char,
    agent: String,
}

impl AgentMap {
    /// Agents by patterns of DNS names: `*` stands for one label.
    ///
    /// # Errors
    /// [`TrustError::Pattern`], [`TrustError::Agent`].
    pub fn of_dns(agents: &BTreeMap<String, String>) -> Result<Self, TrustError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
        Self::read(agents, '.', |parts| {
            let fits = |part: &&str| *part == ANY_ONE || part.bytes().all(plain);
            if parts.iter().all(fits) { None } else { Some("it is not a DNS name in lower case") }
        })
    }

    /// Agents by patterns of the SPIFFE IDs of `trust_domain`: `*` stands for one part of the
    /// path, `**` at the end for one or more.
    ///
    /// # Errors
    /// As [`AgentMap::of_dns`].
    pub fn of_spiffe(
        agents: &BTreeMap<String, String>,
        trust_domain: &str,
    ) -> Result<Self, TrustError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        Self::read(agents, '/', |parts| {
            let ["spiffe:", "", domain, path @ .., last] = parts else {
                return Some("it does not begin with `spiffe://`, a trust domain and a path");
            };
            let fits = |part: &&str| *part == ANY_ONE || part.bytes().all(plain);
            if *domain != trust_domain {
                Some("it is of another trust domain")
            } else if !path.iter().all(fits) || !(fits(last) || *last == ANY_REST) {
                Some("its path has characters that no SPIFFE ID has")
            } else if path.contains(&"") || last.is_empty() {
                Some("its path has an empty part")
            } else {
                None
            }
        })
    }

    fn read(
        agents: &BTreeMap<String, String>,
        separator: char,
        fault: impl Fn(&[&str]) -> Option<&'static str>,
    ) -> Result<Self, TrustError> {
        let mut entries = Vec::new();
        for (pattern, agent) in agents {
            let parts: Vec<&str> = pattern.split(separator).collect();
            let empty = separator == '.' && parts.contains(&"");
            let why = empty.then_some("it has an empty label").or_else(|| fault(&parts));
            if let Some(why) = why {
                return Err(TrustError::Pattern { pattern: shown(pattern), why });
            }
            if let Some(why) = id_fault(agent) {
                return Err(TrustError::Agent { agent: shown(agent), why });
            }
            let pattern = parts.into_iter().map(str::to_owned).collect();
            entries.push(Entry { pattern, separator, agent: agent.clone() });
        }
        entries.sort_by_key(Entry::rank);
        Ok(Self { entries })
    }

    /// The agent that `name` stands for.
    #[must_use]
    pub fn agent_of(&self, name: &str) -> Option<&str> {
        let entry = self.entries.iter().find(|entry| entry.fits(name))?;
        Some(&entry.agent)
    }
}

impl Entry {
    /// Lower comes first: fewer wildcards, then more parts, then the text.
    fn rank(&self) -> (usize, usize, Vec<String>) {
        let wild = |part: &&String| *part == ANY_ONE || *part == ANY_REST;
        let wilds = self.pattern.iter().filter(wild).count();
        (wilds, usize::MAX.saturating_sub(self.pattern.len()), self.pattern.clone())
    }

    fn fits(&self, name: &str) -> bool {
        let mut parts = name.split(self.separator);
        for pattern in &self.pattern {
            match (pattern.as_str(), parts.next()) {
                (_, None) => return false,
                (ANY_REST, Some(_)) => return true,
                (ANY_ONE, Some(_)) => {}
                (literal, Some(part)) if literal == part => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_name_itself_wins_and_a_star_is_one_part() {
        let agents = AgentMap::of_spiffe(
            &map(&[
                ("spiffe://d/ns/a/sa/bot", "exact"),
                ("spiffe://d/ns/*/sa/bot", "bots"),
                ("spiffe://d/ns/a/**", "rest"),
            ]),
            "d",
        )
        .unwrap();
        assert_eq!(agents.agent_of("spiffe://d/ns/a/sa/bot"), Some("exact"));
        assert_eq!(agents.agent_of("spiffe://d/ns/b/sa/bot"), Some("bots"));
        assert_eq!(agents.agent_of("spiffe://d/ns/a/x"), Some("rest"));
        assert_eq!(agents.agent_of("spiffe://d/ns/a/x/y"), Some("rest"));
        for name in ["spiffe://d/ns/a", "spiffe://d/ns/b/c/sa/bot", "spiffe://e/ns/b/sa/bot", ""] {
            assert_eq!(agents.agent_of(name), None, "{name}");
        }
        let agents = AgentMap::of_dns(&map(&[("*.bots.example", "bots")])).unwrap();
        assert_eq!(agents.agent_of("a.bots.example"), Some("bots"));
        for name in ["bots.example", "a.b.bots.example", "a.bots.example.evil", "abots.example"] {
            assert_eq!(agents.agent_of(name), None, "{name}");
        }
    }

    #[test]
    fn patterns_that_could_not_work_are_refused() {
        let spiffe = |pattern| AgentMap::of_spiffe(&map(&[(pattern, "a")]), "d");
        for pattern in [
            "",
            "*",
            "spiffe://d",
            "spiffe://d/",
            "spiffe://e/a",
            "spiffe://*/a",
            "spiffe://d/**/a",
            "spiffe://d/a*",
            "spiffe://d//a",
            "spiffe://d/a/",
            "https://d/a",
            "spiffe://d/a b",
        ] {
            assert!(matches!(spiffe(pattern), Err(TrustError::Pattern { .. })), "{pattern}");
        }
        let dns = |pattern| AgentMap::of_dns(&map(&[(pattern, "a")]));
        for pattern in ["", ".", "a.", "A.example", "a*.example", "a b", "**", "**.example"] {
            assert!(matches!(dns(pattern), Err(TrustError::Pattern { .. })), "{pattern}");
        }
        assert!(matches!(AgentMap::of_dns(&map(&[("a", "")])), Err(TrustError::Agent { .. })));
    }
}
