//! Guardrail detectors: text in, hits out. Pure: no I/O, no clock, no globals, and the same text gives the
//! same hits.
//!
//! # Layout
//!
//! The way of one text, each step where it lives:
//!
//! ```text
//! config     data.guardrails of a bundle          -> Config
//! catalogue  Config, names of the built-in rules  -> where each rule runs, with which severity
//! gitleaks   the rule file that comes with us     -> rules for secrets
//! build      rules and the bundle's own patterns  -> RuleSpec
//! media      media type                           -> read, or `uninspected/<media>`
//! hidden     text (chars: which characters)       -> stretches that do not show, the texts behind them
//! decode     text                                 -> the text with base64, hex and escapes undone
//! view       rewritten text                       -> spans of the original
//! rules      text (allow: what is harmless)       -> matches of patterns
//! cards      text                                 -> card numbers
//! scan       one run of all of these              -> hits, sorted
//! detectors  Config                               -> Detectors, the door
//! mask       text, spans                          -> masked text
//! ```
//!
//! `hit` has the words that all of them use, `error` the reasons why a configuration is refused.

mod allow;
mod build;
mod cards;
mod catalogue;
mod chars;
mod config;
mod decode;
mod detectors;
mod error;
mod gitleaks;
mod hidden;
mod hit;
mod mask;
mod media;
mod rules;
mod scan;
mod view;

#[cfg(test)]
mod tests;

pub use config::{Config, DetectorConfig, GUARDRAILS_SCHEMA, RegexConfig};
pub use detectors::{Detectors, MAX_TEXT_BYTES};
pub use error::CompileError;
pub use hit::Hit;
pub use lictor_proto::call::Origin;
pub use lictor_proto::decision::Severity;
pub use mask::mask;
pub use scan::MAX_HITS_PER_DETECTOR;
