//! The compiled detectors of one bundle.

use std::collections::BTreeSet;
use std::sync::Arc;

use lictor_proto::call::Origin;
use lictor_proto::decision::Severity;

use super::build::{allowlist, custom_specs, known_secret, secret_spec};
use super::catalogue::{Known, resolve};
use super::chars::Unseen;
use super::config::Config;
use super::error::CompileError;
use super::hit::{Active, Hit, ORIGINS};
use super::rules::{RuleProblem, RuleSet};
use super::scan::Scan;
use super::{gitleaks, media};

/// Longest text that is scanned.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// The rules that are no patterns.
const CARD: (&str, &str, Severity) = ("pii", "card", Severity::High);
const ZERO_WIDTH: (&str, &str, Severity) = ("hidden", "zero_width", Severity::Medium);
const BIDI: (&str, &str, Severity) = ("hidden", "bidi", Severity::Medium);
const TAGS: (&str, &str, Severity) = ("hidden", "tags", Severity::High);
const SELECTORS: (&str, &str, Severity) = ("hidden", "variation_selectors", Severity::High);

/// Compiled detectors of one bundle. Shared between threads.
#[derive(Debug)]
pub struct Detectors {
    /// Secrets and the bundle's own patterns.
    pub(crate) rules: RuleSet,
    /// Payment cards.
    pub(crate) card: BuiltIn,
    zero_width: BuiltIn,
    bidi: BuiltIn,
    tags: BuiltIn,
    selectors: BuiltIn,
    /// Whether anything runs there at all, for each of [`ORIGINS`].
    busy: [bool; ORIGINS.len()],
    /// What may be found.
    names: Names,
}

/// What a bundle's detectors may find, for checks of the policies that ask for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    /// `family/rule` of every rule that is switched on, and the families.
    pub(crate) detectors: BTreeSet<String>,
    /// Categories of what they find.
    pub(crate) categories: BTreeSet<String>,
}

impl Names {
    fn of(known: &[Known], active: &[Active], config: &Config) -> Self {
        let mut names = Self::default();
        for (rule, _) in known.iter().zip(active).filter(|(_, active)| active.anywhere()) {
            names.detectors.extend([rule.id(), rule.family.to_owned()]);
            names.categories.insert(rule.family.to_owned());
        }
        for regex in &config.regexes {
            names.detectors.insert(regex.id.clone());
            names.categories.insert(regex.category.clone());
        }
        names
    }
}

/// A rule that is no pattern: its names, and where it runs.
#[derive(Debug)]
pub(crate) struct BuiltIn {
    pub(crate) name: Arc<str>,
    pub(crate) category: Arc<str>,
    pub(crate) active: Active,
}

impl Detectors {
    /// Compiles what the bundle asks for. Takes some ten milliseconds.
    ///
    /// # Errors
    ///
    /// A name that is unknown, or a pattern that does not compile, is too large or matches empty text.
    pub fn compile(config: &Config) -> Result<Self, CompileError> {
        let file =
            gitleaks::rules().map_err(|e| CompileError::BuiltIn { problem: e.to_string() })?;
        let others = [CARD, ZERO_WIDTH, BIDI, TAGS, SELECTORS]
            .map(|(family, rule, severity)| Known { family, rule: rule.to_owned(), severity });
        let known: Vec<Known> = file.rules.iter().map(known_secret).chain(others).collect();
        let active = resolve(&config.detectors, &known)?;
        let built_in = |(family, rule, _): (&str, &str, Severity)| {
            let mut all = known.iter().zip(&active);
            let found = all.find(|(known, _)| known.family == family && known.rule == rule);
            BuiltIn {
                name: Arc::from(format!("{family}/{rule}")),
                category: Arc::from(family),
                active: found.map(|(_, active)| *active).unwrap_or_default(),
            }
        };
        let (card, zero_width, bidi) = (built_in(CARD), built_in(ZERO_WIDTH), built_in(BIDI));
        let (tags, selectors) = (built_in(TAGS), built_in(SELECTORS));
        let names = Names::of(&known, &active, config);
        let mut specs = custom_specs(&config.regexes)?;
        for (rule, active) in file.rules.into_iter().zip(active) {
            if active.anywhere() {
                specs.push(secret_spec(rule, active)?);
            }
        }
        let common = allowlist(&file.allow)?;
        let rules = RuleSet::compile(specs, Some(common));
        let rules = rules.map_err(|problem| bad_rule(config, problem))?;
        let others = [&card, &zero_width, &bidi, &tags, &selectors];
        let busy = ORIGINS.map(|origin| {
            rules.any_at(origin) || others.iter().any(|other| other.active.at(origin).is_some())
        });
        Ok(Self { busy, rules, card, zero_width, bidi, tags, selectors, names })
    }

    /// What may be found.
    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// Makes the matchers' working memory, so that the first texts do not wait for it. Takes some ten
    /// milliseconds, is worth a call on each thread that will scan, and changes no result.
    pub fn warm(&self) {
        for origin in ORIGINS {
            self.rules.warm(origin, self.rules.all_keywords());
        }
    }

    /// Whether [`Detectors::scan`] can have anything to say about such a part: a detector runs at
    /// its origin, or it cannot be read. Where it is `false`, nobody has to scan.
    #[must_use]
    pub fn wants(&self, origin: Origin, media: &str, text: &str) -> bool {
        self.runs_at(origin) || unread(media, text).is_some()
    }

    fn runs_at(&self, origin: Origin) -> bool {
        self.busy.get(origin as usize).copied().unwrap_or(true)
    }

    /// What the detectors for `origin` see in `text`, sorted by place and name. Offsets are UTF-8 bytes of
    /// `text` on character boundaries.
    ///
    /// A text that cannot be scanned gives a hit of category `uninspected` and no length, a stretch that
    /// would take too long one over that stretch, and a detector that failed one of category
    /// `detector_failed` over all of the text: never silence.
    #[must_use]
    pub fn scan(&self, origin: Origin, media: &str, text: &str) -> Vec<Hit> {
        match unread(media, text) {
            Some(why) => vec![Hit::uninspected(&why, 0, 0)],
            None if !self.runs_at(origin) => Vec::new(),
            None => Scan::of(self, origin, text),
        }
    }

    /// The detector for characters of this kind.
    pub(crate) fn hidden(&self, kind: Unseen) -> &BuiltIn {
        match kind {
            Unseen::ZeroWidth => &self.zero_width,
            Unseen::Bidi => &self.bidi,
            Unseen::Tag => &self.tags,
            Unseen::Variation => &self.selectors,
        }
    }
}

/// Why a text is not scanned at all.
fn unread(media: &str, text: &str) -> Option<String> {
    let too_large = || (text.len() > MAX_TEXT_BYTES).then(|| "too_large".to_owned());
    media::unread(media).or_else(too_large)
}

/// Says in the bundle author's words which rule does not compile.
fn bad_rule(config: &Config, (name, problem): RuleProblem) -> CompileError {
    match config.regexes.iter().position(|regex| *regex.id == *name) {
        Some(index) => CompileError::BadPattern { index, id: name.to_string(), problem },
        None => CompileError::BuiltIn { problem: format!("`{name}`: {problem}") },
    }
}
