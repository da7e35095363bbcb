//! `[pdp.fetch]`: how a bundle is fetched from a web server or a registry.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lictor_identity::tls::ClientTlsConfig;
use serde::{Deserialize, Serialize};

use super::ask::Pace;
use super::client::Credential;

/// Shortest pause between two questions that may be configured, milliseconds.
pub const POLL_LEAST_MS: u64 = 100;
/// Longest pause between two questions that may be configured, milliseconds.
pub const POLL_MOST_MS: u64 = 86_400_000;
/// Longest time for an answer that may be configured, milliseconds.
pub const TIMEOUT_MOST_MS: u64 = 300_000;
/// Longest time that a server may be asked to wait, seconds.
pub const LONG_POLL_MOST_S: u64 = 600;

/// `[pdp.fetch]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FetchConfig {
    /// Files with the authorities that may have issued the server's certificate (PEM); empty
    /// means those of the system. Read again for each question.
    pub ca: Vec<PathBuf>,
    /// File with our certificate and those between it and its authority (PEM), where we show one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// File with its private key (PEM, not encrypted), readable by nobody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// File with a bearer token, readable by nobody else. Read again for each question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// User name for HTTP Basic, or for a registry's token service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// File with the password of `username`, readable by nobody else. Read again for each
    /// question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// Shortest pause between two questions, in milliseconds.
    pub poll_min_ms: u64,
    /// Longest pause between two questions, after failures too, in milliseconds.
    pub poll_max_ms: u64,
    /// How long a web server that can (OPA's bundle protocol) is to wait for a new bundle, in
    /// seconds; 0 never asks it to.
    pub long_poll_timeout_s: u64,
    /// How long a server may take to begin its answer, beyond a wait that it was asked for, and
    /// then to end it, in milliseconds.
    pub timeout_ms: u64,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            ca: Vec::new(),
            cert: None,
            key: None,
            token_file: None,
            username: None,
            password_file: None,
            poll_min_ms: 60_000,
            poll_max_ms: 120_000,
            long_poll_timeout_s: 30,
            timeout_ms: 30_000,
        }
    }
}

/// Why `[pdp.fetch]` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchConfigError {
    /// A number is out of its range.
    #[error("`{key}` of `[pdp.fetch]` must be from {least} to {most}")]
    Range {
        /// Which.
        key: &'static str,
        /// Smallest.
        least: u64,
        /// Largest.
        most: u64,
    },
    /// The shortest pause is the longer one.
    #[error("`poll_min_ms` of `[pdp.fetch]` is larger than `poll_max_ms`")]
    Pauses,
    /// Half a pair.
    #[error("`{one}` of `[pdp.fetch]` needs `{other}` beside it")]
    Half {
        /// What is there.
        one: &'static str,
        /// What is not.
        other: &'static str,
    },
    /// Two ways to say who we are.
    #[error("`[pdp.fetch]` has both `token_file` and `username`: keep one of them")]
    TwoCredentials,
}

impl FetchConfig {
    /// Makes relative paths ones below `base`, the folder of the configuration file.
    pub fn take_paths_from(&mut self, base: &Path) {
        let own = [&mut self.cert, &mut self.key, &mut self.token_file, &mut self.password_file];
        let files = own.into_iter().flatten().chain(&mut self.ca);
        files.for_each(|path| *path = base.join(&*path));
    }

    /// Checks what belongs together.
    ///
    /// # Errors
    /// [`FetchConfigError`].
    pub fn check(&self) -> Result<(), FetchConfigError> {
        let ranges = [
            ("poll_min_ms", self.poll_min_ms, POLL_LEAST_MS, POLL_MOST_MS),
            ("poll_max_ms", self.poll_max_ms, POLL_LEAST_MS, POLL_MOST_MS),
            ("long_poll_timeout_s", self.long_poll_timeout_s, 0, LONG_POLL_MOST_S),
            ("timeout_ms", self.timeout_ms, 1, TIMEOUT_MOST_MS),
        ];
        for (key, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err(FetchConfigError::Range { key, least, most });
            }
        }
        if self.poll_min_ms > self.poll_max_ms {
            return Err(FetchConfigError::Pauses);
        }
        let pairs = [
            (("cert", self.cert.is_some()), ("key", self.key.is_some())),
            (
                ("username", self.username.is_some()),
                ("password_file", self.password_file.is_some()),
            ),
        ];
        for ((one, has_one), (other, has_other)) in pairs {
            match (has_one, has_other) {
                (true, false) => return Err(FetchConfigError::Half { one, other }),
                (false, true) => return Err(FetchConfigError::Half { one: other, other: one }),
                _ => {}
            }
        }
        if self.token_file.is_some() && self.username.is_some() {
            return Err(FetchConfigError::TwoCredentials);
        }
        Ok(())
    }

    pub(super) fn tls(&self) -> ClientTlsConfig {
        ClientTlsConfig {
            ca: self.ca.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            server_name: None,
        }
    }

    pub(super) fn credential(&self) -> Credential {
        match (&self.token_file, &self.username, &self.password_file) {
            (Some(file), _, _) => Credential::Token(file.clone()),
            (None, Some(user), Some(file)) => {
                Credential::Basic { username: user.clone(), password_file: file.clone() }
            }
            _ => Credential::None,
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub(super) fn pace(&self, long_poll: bool) -> Pace {
        let wait = Some(Duration::from_secs(self.long_poll_timeout_s));
        Pace {
            min: Duration::from_millis(self.poll_min_ms),
            max: Duration::from_millis(self.poll_max_ms),
            long_poll: wait.filter(|wait| long_poll && !wait.is_zero()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> FetchConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_defaults_hold_and_what_is_printed_is_read_again() {
        let config = read("");
        assert_eq!(config, FetchConfig::default());
        assert_eq!(config.check(), Ok(()));
        let text = "ca = ['a']\ncert = 'c'\nkey = 'k'\ntoken_file = 't'\npoll_min_ms = 1000\n";
        let mut config = read(text);
        assert_eq!(read(&toml::to_string(&config).unwrap()), config);
        assert_eq!(config.check(), Ok(()));
        config.take_paths_from(Path::new("/etc"));
        let paths = [Some(&config.ca[0]), config.key.as_ref(), config.token_file.as_ref()];
        assert_eq!(
            paths.map(|path| path.unwrap().to_str().unwrap()),
            ["/etc/a", "/etc/k", "/etc/t"]
        );
        assert!(toml::from_str::<FetchConfig>("verify = false").is_err());
    }

    #[test]
    fn every_number_has_a_range() {
        for (key, least, most) in [
            ("poll_max_ms", POLL_LEAST_MS, POLL_MOST_MS),
            ("long_poll_timeout_s", 0, LONG_POLL_MOST_S),
            ("timeout_ms", 1, TIMEOUT_MOST_MS),
        ] {
            let check = |value: u64| read(&format!("poll_min_ms = 100\n{key} = {value}")).check();
            assert_eq!((check(least), check(most)), (Ok(()), Ok(())), "{key}");
            let refused = Err(FetchConfigError::Range { key, least, most });
            assert_eq!(check(most + 1), refused, "{key}");
            if least > 0 {
                assert_eq!(check(least - 1), refused, "{key}");
            }
        }
        assert!(read("poll_min_ms = 99").check().is_err());
        assert_eq!(read("poll_min_ms = 120001").check(), Err(FetchConfigError::Pauses));
        assert_eq!(read("poll_min_ms = 120000").check(), Ok(()));
    }

    #[test]
    fn halves_and_doubles_are_refused() {
        for (text, one, other) in [
            ("cert = 'c'", "cert", "key"),
            ("key = 'k'", "key", "cert"),
            ("username = 'u'", "username", "password_file"),
            ("password_file = 'p'", "password_file", "username"),
        ] {
            assert_eq!(read(text).check(), Err(FetchConfigError::Half { one, other }));
        }
        let two = read("token_file = 't'\nusername = 'u'\npassword_file = 'p'");
        assert_eq!(two.check(), Err(FetchConfigError::TwoCredentials));
    }
}
