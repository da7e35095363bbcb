//! Makes the pattern rules out of the built-in file and the bundle's own patterns.

use std::collections::HashSet;
use std::sync::Arc;

use lictor_proto::decision::Severity;

use super::allow::Allowlist;
use super::catalogue::Known;
use super::config::RegexConfig;
use super::error::CompileError;
use super::gitleaks::{AllowSpec, SecretRule};
use super::hit::Active;
use super::rules::{Part, RuleSpec};

/// Most patterns that a bundle may bring.
pub(crate) const MAX_REGEXES: usize = 256;
/// Longest pattern that a bundle may bring.
pub(crate) const MAX_PATTERN_BYTES: usize = 4096;
/// Longest name after `custom/`.
const MAX_NAME_BYTES: usize = 64;

/// The rule that looks for anything that is called a key or a password.
const GENERIC_RULE: &str = "generic-api-key";
/// How rules begin that need the vendor's name near the secret.
const NEEDS_CONTEXT: &str = r"(?i)[\w.-]{0,50}?(?:";

/// Sure of a format of its own.
const SCORE_FORMAT: f64 = 1.0;
/// A random-looking text with the vendor's name near.
const SCORE_CONTEXT: f64 = 0.8;
/// A random-looking text with a word such as `key` near, or a rule used outside of its kind of file.
const SCORE_GENERIC: f64 = 0.6;

/// Whether the rule judges by a general word alone.
fn is_weak(rule: &SecretRule) -> bool {
    rule.id == GENERIC_RULE || rule.for_one_file_kind
}

/// The catalogue entry of a rule of the file.
pub(crate) fn known_secret(rule: &SecretRule) -> Known {
    Known {
        family: "secret",
        rule: rule.id.clone(),
        severity: if is_weak(rule) { Severity::Medium } else { Severity::High },
    }
}

/// A rule of the file, ready to compile.
pub(crate) fn secret_spec(rule: SecretRule, active: Active) -> Result<RuleSpec, CompileError> {
    let score = match () {
        () if is_weak(&rule) => SCORE_GENERIC,
        () if rule.pattern.starts_with(NEEDS_CONTEXT) => SCORE_CONTEXT,
        () => SCORE_FORMAT,
    };
    Ok(RuleSpec {
        name: Arc::from(format!("secret/{}", rule.id)),
        category: Arc::from("secret"),
        score,
        active,
        yields: rule.id == GENERIC_RULE,
        part: rule.group.map_or(Part::FirstGroup, Part::Group),
        entropy: rule.entropy,
        allow: rule.allow.iter().map(allowlist).collect::<Result<_, _>>()?,
        common_allow: true,
        pattern: rule.pattern,
        keywords: rule.keywords,
    })
}

/// An allowlist of the file, compiled.
pub(crate) fn allowlist(spec: &AllowSpec) -> Result<Allowlist, CompileError> {
    Allowlist::compile(spec).map_err(|problem| CompileError::BuiltIn { problem })
}

/// The bundle's own patterns, ready to compile.
pub(crate) fn custom_specs(regexes: &[RegexConfig]) -> Result<Vec<RuleSpec>, CompileError> {
    if regexes.len() > MAX_REGEXES {
        return Err(CompileError::TooManyRegexes { found: regexes.len(), most: MAX_REGEXES });
    }
    let mut taken = HashSet::new();
    let specs = regexes.iter().enumerate().map(|(index, regex)| {
        check_id(index, &regex.id, &mut taken)?;
        check_texts(index, regex)?;
        Ok(custom_spec(regex))
    });
    specs.collect()
}

fn custom_spec(regex: &RegexConfig) -> RuleSpec {
    let mut active = Active::default();
    active.raise(&regex.origins, regex.severity);
    RuleSpec {
        name: Arc::from(regex.id.as_str()),
        category: Arc::from(regex.category.as_str()),
        score: SCORE_FORMAT,
        active,
        pattern: regex.pattern.clone(),
        keywords: regex.keywords.clone(),
        part: Part::Whole,
        entropy: None,
        allow: Vec::new(),
        common_allow: false,
        yields: false,
    }
}

fn check_id<'a>(
    index: usize,
    id: &'a str,
    taken: &mut HashSet<&'a str>,
) -> Result<(), CompileError> {
    let well_formed = id.strip_prefix("custom/").is_some_and(|name| {
        (1..=MAX_NAME_BYTES).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
    });
    let problem = if !well_formed {
        "is not `custom/` and a name of at most 64 of the characters a-z, 0-9, `_` and `-`"
    } else if !taken.insert(id) {
        "is taken by an earlier pattern; give each one a name of its own"
    } else {
        return Ok(());
    };
    let id = id.to_owned();
    Err(CompileError::BadRegexId { index, id, problem })
}

fn check_texts(index: usize, regex: &RegexConfig) -> Result<(), CompileError> {
    let id = regex.id.clone();
    if regex.pattern.len() > MAX_PATTERN_BYTES {
        let problem = format!("is longer than {MAX_PATTERN_BYTES} bytes; split it");
        return Err(CompileError::BadPattern { index, id, problem });
    }
    let member = if regex.category.is_empty() {
        "category"
    } else if regex.keywords.iter().any(String::is_empty) {
        "keywords"
    } else {
        return Ok(());
    };
    Err(CompileError::EmptyText { index, member, id })
}
