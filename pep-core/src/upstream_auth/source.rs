//! Where a secret comes from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lictor_identity::{Secret, files};

use super::command;
use super::config::AuthFault;

/// One place of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Does not change while we run.
    Variable(String),
    File(PathBuf),
    Command {
        argv: Vec<String>,
        refresh: Duration,
    },
}

/// The one place that is named.
pub(super) fn only(
    names: &'static str,
    env: Option<&str>,
    file: Option<&Path>,
    command: Option<(&[String], u32)>,
) -> Result<Source, AuthFault> {
    match (env, file, command) {
        (Some(name), None, None) => Ok(Source::Variable(name.to_owned())),
        (None, Some(path), None) => Ok(Source::File(path.to_owned())),
        (None, None, Some((argv, refresh_s))) => Ok(Source::Command {
            argv: argv.to_vec(),
            refresh: Duration::from_secs(refresh_s.into()),
        }),
        _ => Err(AuthFault::Places { names }),
    }
}

impl Source {
    /// For messages.
    pub(super) fn named(&self) -> String {
        match self {
            Self::Variable(name) => format!("the environment variable `{name}`"),
            Self::File(path) => format!("`{}`", path.display()),
            Self::Command { argv, .. } => {
                format!("what `{}` printed", argv.first().map_or("", String::as_str))
            }
        }
    }

    /// Whether a first failure is one that time may mend.
    pub(super) fn may_recover(&self) -> bool {
        matches!(self, Self::Command { .. })
    }

    /// Reads it, without the white space around. Blocks.
    ///
    /// # Errors
    /// [`AuthFault`].
    pub(super) fn read(&self) -> Result<Secret, AuthFault> {
        let text = match self {
            Self::Variable(name) => {
                let text = std::env::var(name).map_err(|_| AuthFault::Variable(name.clone()))?;
                Secret::from(text)
            }
            Self::File(path) => files::read_private(path)?,
            Self::Command { argv, .. } => command::output(argv, command::COMMAND_TIMEOUT)?,
        };
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(AuthFault::Text { from: self.named() });
        }
        Ok(if trimmed.len() == text.len() { text } else { Secret::from(trimmed.to_owned()) })
    }
}
