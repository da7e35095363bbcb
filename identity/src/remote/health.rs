//! How the keys of each issuer on the network are doing.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How the keys of one issuer are doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// The issuer.
    pub iss: String,
    /// When its keys were last asked for with success, unix milliseconds.
    pub last_success_ms: Option<i64>,
    /// Why the latest fetch failed; `None` after a good one.
    pub last_error: Option<String>,
    /// Fetches that failed since start.
    pub failures: u64,
    /// The names of its present keys.
    pub key_ids: Vec<String>,
    /// How many different key sets there were since start.
    pub generation: u64,
}

/// The health that one task writes and everyone reads.
#[derive(Debug)]
pub(crate) struct Standing(Mutex<Health>);

impl Standing {
    pub(crate) fn of(iss: &str) -> Self {
        Self(Mutex::new(Health { iss: iss.to_owned(), ..Health::default() }))
    }

    pub(crate) fn now(&self) -> Health {
        self.lock().clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Health)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        // Every change is one assignment after the other of owned values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prometheus text about `healths` at `now_ms` (unix milliseconds); empty where there are none.
#[must_use]
pub fn metrics_text(healths: &[Health], now_ms: i64) -> String {
    let mut text = String::new();
    if healths.is_empty() {
        return text;
    }
    text.push_str("# TYPE lictor_issuer_keys_age_seconds gauge\n");
    for health in healths {
        let age = match health.last_success_ms {
            Some(success_ms) => (now_ms.saturating_sub(success_ms).max(0) / 1000).to_string(),
            None => "+Inf".to_owned(),
        };
        line(&mut text, "lictor_issuer_keys_age_seconds", &health.iss, &age);
    }
    text.push_str("# TYPE lictor_issuer_fetch_failures_total counter\n");
    for health in healths {
        let failures = health.failures.to_string();
        line(&mut text, "lictor_issuer_fetch_failures_total", &health.iss, &failures);
    }
    text
}

fn line(text: &mut String, name: &str, iss: &str, value: &str) {
    let iss = iss.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    // Writing to a string does not fail.
    let _ = writeln!(text, "{name}{{iss=\"{iss}\"}} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_failures_are_told_for_each_issuer() {
        let up =
            Health { iss: "https://a".into(), last_success_ms: Some(1_000), ..Health::default() };
        let down = Health { iss: "b\"\\".into(), failures: 3, ..Health::default() };
        let text = metrics_text(&[up, down], 62_999);
        for line in [
            "lictor_issuer_keys_age_seconds{iss=\"https://a\"} 61\n",
            "lictor_issuer_keys_age_seconds{iss=\"b\\\"\\\\\"} +Inf\n",
            "lictor_issuer_fetch_failures_total{iss=\"https://a\"} 0\n",
            "lictor_issuer_fetch_failures_total{iss=\"b\\\"\\\\\"} 3\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert_eq!(metrics_text(&[], 0), "");
    }
}
