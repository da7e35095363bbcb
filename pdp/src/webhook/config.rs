//! `[pdp.approvals]` of `lictor.toml`.

use std::path::{Path, PathBuf};

use reqwest::Url;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::event::Event;

/// Most receivers.
pub const WEBHOOKS_MAX: usize = 16;
/// Longest time that a receiver may be given for one answer, milliseconds.
pub const TIMEOUT_MAX_MS: u64 = 60_000;

/// `[pdp.approvals]`: who is told of approvals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApprovalsConfig {
    /// Receivers of events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<WebhookConfig>,
    /// Address of this decision point for the people who answer, as they reach it; it completes
    /// the command that an event names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pdp_url: Option<String>,
    /// Where people answer in a browser; an event names `<answer_url>/<id>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_url: Option<String>,
}

/// One receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where events are posted to: `https`, or `http` on a loopback address.
    pub url: String,
    /// File with the secret that signs what is sent, `whsec_` and a key of 24 to 64 bytes in
    /// base64; readable by its owner only.
    pub secret_file: PathBuf,
    /// Which events.
    #[serde(default = "all_events")]
    pub events: Vec<Event>,
    /// In which form.
    #[serde(default)]
    pub format: Format,
    /// How long the receiver may take for one answer, milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// Whether the call's arguments are told too. They may be confidential.
    #[serde(default)]
    pub include_args: bool,
}

/// The form of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object with everything by name.
    #[default]
    Json,
    /// A message for Slack, and for whoever takes its incoming webhooks.
    Slack,
}

fn all_events() -> Vec<Event> {
    Event::ALL.to_vec()
}

fn default_timeout_ms() -> u64 {
    5_000
}

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not an address.
    #[error("`{0}` in [pdp.approvals] is not a URL")]
    Url(String),
    /// Others on the network could read and answer.
    #[error(
        "the webhook `{0}` is refused: use https, or http on a loopback address, and no user or password in the URL"
    )]
    Insecure(String),
    /// Twice the same.
    #[error("the webhook `{0}` is there twice: name every receiver once")]
    Twice(String),
    /// No time, or too much.
    #[error("`timeout_ms` of the webhook `{0}` is not between 1 and {TIMEOUT_MAX_MS}")]
    Timeout(String),
    /// Nothing to tell.
    #[error("the webhook `{0}` has no `events`: leave the key out for all of them")]
    NoEvents(String),
    /// Too many.
    #[error("more than {WEBHOOKS_MAX} webhooks")]
    TooMany,
}

impl ApprovalsConfig {
    /// Makes relative paths ones below `base`.
    pub fn take_paths_from(&mut self, base: &Path) {
        for hook in &mut self.webhooks {
            hook.secret_file = base.join(&hook.secret_file);
        }
    }

    /// Checks every receiver.
    ///
    /// # Errors
    /// [`ConfigError`] says which to change.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.webhooks.len() > WEBHOOKS_MAX {
            return Err(ConfigError::TooMany);
        }
        for (index, hook) in self.webhooks.iter().enumerate() {
            hook.check()?;
            if self.webhooks.iter().skip(index + 1).any(|other| other.url == hook.url) {
                return Err(ConfigError::Twice(hook.shown()));
            }
        }
        for url in [&self.pdp_url, &self.answer_url].into_iter().flatten() {
            let plain = url.chars().all(|c| c.is_ascii_graphic() && !"'\"`\\$;&|<>()".contains(c));
            if !plain || Url::parse(url).is_err() {
                return Err(ConfigError::Url(url.clone()));
            }
        }
        Ok(())
    }
}

impl WebhookConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let url = Url::parse(&self.url).map_err(|_| ConfigError::Url(self.shown()))?;
        let safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
        if !safe || !url.username().is_empty() || url.password().is_some() {
            return Err(ConfigError::Insecure(self.shown()));
        }
        if self.timeout_ms == 0 || self.timeout_ms > TIMEOUT_MAX_MS {
            return Err(ConfigError::Timeout(self.shown()));
        }
        if self.events.is_empty() {
            return Err(ConfigError::NoEvents(self.shown()));
        }
        Ok(())
    }

    /// Names the receiver on disk, also after a change of everything but its address.
    #[must_use]
    pub fn id(&self) -> String {
        let digest = hex::encode(Sha256::digest(self.url.as_bytes()));
        digest.chars().take(16).collect()
    }

    /// Scheme and host alone: the rest of such an address is often a secret.
    #[must_use]
    pub fn shown(&self) -> String {
        let url = Url::parse(&self.url).ok();
        let host = url.as_ref().and_then(|url| url.host_str());
        match (&url, host) {
            (Some(url), Some(host)) => format!("{}://{host}/…", url.scheme()),
            _ => "<not a URL>".to_owned(),
        }
    }

    /// Whether the receiver is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        Url::parse(&self.url).is_ok_and(|url| is_loopback(&url))
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(url: &str) -> ApprovalsConfig {
        let text = format!("[[webhooks]]\nurl = \"{url}\"\nsecret_file = \"s\"\n");
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn it_is_printed_as_it_is_read_and_paths_are_below_its_folder() {
        let mut config = one("https://hooks.example.com/x");
        let printed = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<ApprovalsConfig>(&printed).unwrap(), config);
        assert_eq!(config.webhooks[0].events, Event::ALL);
        config.take_paths_from(Path::new("/etc/lictor"));
        assert_eq!(config.webhooks[0].secret_file, Path::new("/etc/lictor/s"));
        let nothing = toml::to_string(&ApprovalsConfig::default()).unwrap();
        assert_eq!(
            toml::from_str::<ApprovalsConfig>(&nothing).unwrap(),
            ApprovalsConfig::default()
        );
        assert!(toml::from_str::<ApprovalsConfig>("hooks = []").is_err());
    }

    #[test]
    fn others_on_the_network_never_see_an_event() {
        for url in
            ["https://a.example/x", "http://127.0.0.1:1/x", "http://[::1]/", "http://localhost/"]
        {
            assert!(one(url).check().is_ok(), "{url}");
        }
        for url in
            ["http://a.example/x", "http://10.0.0.1/", "ftp://localhost/", "https://u:p@a.example/"]
        {
            assert!(matches!(one(url).check(), Err(ConfigError::Insecure(_))), "{url}");
        }
        assert!(matches!(one("nothing").check(), Err(ConfigError::Url(_))));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut twice = one("https://a.example/x");
        twice.webhooks.push(twice.webhooks[0].clone());
        assert!(matches!(twice.check(), Err(ConfigError::Twice(_))));
        for (timeout_ms, good) in
            [(0, false), (1, true), (TIMEOUT_MAX_MS, true), (TIMEOUT_MAX_MS + 1, false)]
        {
            let mut config = one("https://a.example/x");
            config.webhooks[0].timeout_ms = timeout_ms;
            assert_eq!(config.check().is_ok(), good, "{timeout_ms}");
        }
        let mut config = one("https://a.example/x");
        config.webhooks[0].events.clear();
        assert!(matches!(config.check(), Err(ConfigError::NoEvents(_))));
        let pdp_url = Some("https://pdp.example/'; rm".to_owned());
        let config = ApprovalsConfig { pdp_url, ..one("https://a.example/x") };
        assert!(matches!(config.check(), Err(ConfigError::Url(_))));
    }

    #[test]
    fn the_number_of_receivers_is_bounded() {
        let hook = |n: usize| one(&format!("https://a.example/{n}")).webhooks.remove(0);
        let of = |n| ApprovalsConfig { webhooks: (0..n).map(hook).collect(), ..Default::default() };
        assert!(of(WEBHOOKS_MAX).check().is_ok());
        assert!(matches!(of(WEBHOOKS_MAX + 1).check(), Err(ConfigError::TooMany)));
    }

    #[test]
    fn an_address_is_named_without_its_secret_part() {
        assert_eq!(
            one("https://hooks.example.com/T0/SECRET").webhooks[0].shown(),
            "https://hooks.example.com/…"
        );
    }
}
