//! Why a configuration of detectors is refused.

/// A configuration of detectors that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// A detector id that names neither a family nor a rule.
    #[error("`guardrails.detectors[{index}].id` names no detector: `{id}`{hint}")]
    UnknownDetector {
        /// Place in the list.
        index: usize,
        /// What was written.
        id: String,
        /// Empty, or what to write instead.
        hint: String,
    },
    /// A rule in `only` or `except` that the detector lacks.
    #[error("`guardrails.detectors[{index}].{member}`: `{id}` has no rule `{rule}`{hint}")]
    UnknownRule {
        /// Place in the list.
        index: usize,
        /// `only` or `except`.
        member: &'static str,
        /// The detector.
        id: String,
        /// What was written.
        rule: String,
        /// Empty, or what to write instead.
        hint: String,
    },
    /// An entry whose `only` and `except` leave no rule.
    #[error(
        "`guardrails.detectors[{index}]`: `only` and `except` leave no rule of `{id}`; remove the entry or name a rule"
    )]
    NothingLeft {
        /// Place in the list.
        index: usize,
        /// The detector.
        id: String,
    },
    /// Too many patterns of the bundle's own.
    #[error("`guardrails.regexes` has {found} patterns and may have {most}; join some with `|`")]
    TooManyRegexes {
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// An id that is not `custom/<name>`, or is taken.
    #[error("`guardrails.regexes[{index}].id`: `{id}` {problem}")]
    BadRegexId {
        /// Place in the list.
        index: usize,
        /// What was written.
        id: String,
        /// What is wrong and how to mend it.
        problem: &'static str,
    },
    /// A pattern that does not compile, is too large or matches empty text.
    #[error("`guardrails.regexes[{index}].pattern` of `{id}`: {problem}")]
    BadPattern {
        /// Place in the list.
        index: usize,
        /// The pattern's id.
        id: String,
        /// What is wrong.
        problem: String,
    },
    /// An empty keyword or category.
    #[error(
        "`guardrails.regexes[{index}].{member}` of `{id}` has an empty text; write one or remove it"
    )]
    EmptyText {
        /// Place in the list.
        index: usize,
        /// `keywords` or `category`.
        member: &'static str,
        /// The pattern's id.
        id: String,
    },
    /// The rules that come with the library do not load; the build is broken.
    #[error("the built-in rule set does not load: {problem}")]
    BuiltIn {
        /// What is wrong.
        problem: String,
    },
}
