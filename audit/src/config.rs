//! `[audit]` of `lictor.toml`, the same for every program that keeps a log.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::writer::Durability;

/// `[audit]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Where the log files are.
    pub dir: PathBuf,
    /// How safe a record must be before what it records is released.
    pub durability: DurabilityRule,
    /// First part of the checkpoints' origin.
    pub deployment: String,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("audit"),
            durability: DurabilityRule::default(),
            deployment: "lictor".to_owned(),
        }
    }
}

impl AuditConfig {
    /// Makes a relative path one below `base`, the folder of the configuration file.
    pub fn take_paths_from(&mut self, base: &Path) {
        self.dir = base.join(&self.dir);
    }
}

/// How safe a record must be before what it records is released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DurabilityRule {
    /// On stable storage for what changes something, sends something out or runs code; within
    /// 10 ms or 4,096 records for the rest.
    #[default]
    ByEffect,
    /// Always on stable storage.
    Sync,
    /// Always within 10 ms or 4,096 records.
    Bounded,
}

impl DurabilityRule {
    /// The durability of a record about something that has an effect, or has none.
    #[must_use]
    pub fn of(self, has_effect: bool) -> Durability {
        match (self, has_effect) {
            (Self::Sync, _) | (Self::ByEffect, true) => Durability::Sync,
            (Self::Bounded, _) | (Self::ByEffect, false) => Durability::Bounded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_effect_is_the_default_and_syncs_only_effects() {
        let rule = DurabilityRule::default();
        assert_eq!(rule.of(true), Durability::Sync);
        assert_eq!(rule.of(false), Durability::Bounded);
        assert_eq!(DurabilityRule::Sync.of(false), Durability::Sync);
        assert_eq!(DurabilityRule::Bounded.of(true), Durability::Bounded);
        assert_eq!(serde_json::to_string(&rule).unwrap(), "\"by_effect\"");
    }
}
