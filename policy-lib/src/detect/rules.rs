//! Runs pattern rules: one pass over the text finds keywords, and only rules whose keyword is there run their
//! pattern.

use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use lictor_proto::call::Origin;
use lictor_proto::decision::Severity;
use regex::bytes::{Captures, Regex};

use super::allow::{Allowlist, Candidate, byte_regex, entropy, lines_around};
use super::hit::Active;

/// Why a rule did not look, as it stands in a hit's name.
const TOO_MANY_MATCHES: &str = "too_many_matches";
const TOO_MUCH_WORK: &str = "too_much_work";

/// Most matches of one pattern that are judged in one text; the rest of the text is then reported as not
/// inspected. Keeps the work linear for texts made to match everywhere.
pub(crate) const MAX_MATCHES_PER_RULE: usize = 4096;

/// How much patterns may read for one text and all texts behind it: bytes of text times patterns that run, and
/// [`MATCH_COST`] for each matched byte. A text that wakes every rule spends this on some 300 KB.
pub(crate) const MAX_PATTERN_WORK_BYTES: usize = 64 << 20;

/// What a matched byte costs, in bytes that are only read.
const MATCH_COST: usize = 16;

/// What is left of [`MAX_PATTERN_WORK_BYTES`].
#[derive(Debug)]
pub(crate) struct Work(usize);

impl Work {
    /// All of it.
    pub(crate) fn whole() -> Self {
        Self(MAX_PATTERN_WORK_BYTES)
    }

    /// Takes the cost of reading `bytes`; `false` when there is too little left, and from then on.
    fn spend(&mut self, bytes: usize) -> bool {
        let left = self.0.checked_sub(bytes);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

/// What a rule is made from.
pub(crate) struct RuleSpec {
    pub(crate) name: Arc<str>,
    pub(crate) category: Arc<str>,
    pub(crate) score: f64,
    pub(crate) active: Active,
    pub(crate) pattern: String,
    pub(crate) keywords: Vec<String>,
    pub(crate) part: Part,
    pub(crate) entropy: Option<f64>,
    pub(crate) allow: Vec<Allowlist>,
    /// The allowlist for all secrets counts for it too.
    pub(crate) common_allow: bool,
    /// Its hits give way to those of other rules of its category on the same bytes.
    pub(crate) yields: bool,
}

/// Which part of a match is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// The first group that is not empty, or all of it.
    FirstGroup,
    /// This group.
    Group(usize),
}

/// A compiled rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: Arc<str>,
    pub(crate) category: Arc<str>,
    pub(crate) score: f64,
    pub(crate) yields: bool,
    active: Active,
    regex: Regex,
    part: Part,
    entropy: Option<f64>,
    allow: Vec<Allowlist>,
    common_allow: bool,
}

/// Why a rule does not compile: the rule's name and the problem.
pub(crate) type RuleProblem = (Arc<str>, String);

/// Compiled rules behind one keyword filter.
#[derive(Debug)]
pub(crate) struct RuleSet {
    rules: Vec<Rule>,
    keywords: Option<AhoCorasick>,
    /// For each keyword, the rules that it wakes.
    wakes: Vec<Vec<usize>>,
    /// Rules without keywords.
    always: Vec<usize>,
    common_allow: Option<Allowlist>,
    all_keywords: String,
}

/// What a rule reports, in offsets of the scanned text.
pub(crate) enum Sighting<'a> {
    /// A match.
    Match { rule: &'a Rule, severity: Severity, start: usize, end: usize },
    /// A rule did not look at this stretch.
    Unread { why: &'static str, start: usize, end: usize },
}

/// The keyword filter did not run.
#[derive(Debug)]
pub(crate) struct Failed;

impl RuleSet {
    /// Compiles the rules.
    pub(crate) fn compile(
        specs: Vec<RuleSpec>,
        common_allow: Option<Allowlist>,
    ) -> Result<Self, RuleProblem> {
        let mut words: Vec<String> = Vec::new();
        let mut wakes: Vec<Vec<usize>> = Vec::new();
        let mut always = Vec::new();
        let mut rules = Vec::with_capacity(specs.len());
        for (index, spec) in specs.into_iter().enumerate() {
            if spec.keywords.is_empty() {
                always.push(index);
            }
            for keyword in &spec.keywords {
                let keyword = keyword.to_ascii_lowercase();
                match words.iter().zip(wakes.iter_mut()).find(|(known, _)| **known == keyword) {
                    Some((_, woken)) => woken.push(index),
                    None => {
                        words.push(keyword);
                        wakes.push(vec![index]);
                    }
                }
            }
            rules.push(Rule::compile(spec)?);
        }
        Ok(Self {
            keywords: keyword_filter(&words).map_err(|problem| (Arc::from("keywords"), problem))?,
            rules,
            wakes,
            always,
            common_allow,
            all_keywords: words.join(" \n"),
        })
    }

    /// A text that wakes every rule.
    pub(crate) fn all_keywords(&self) -> &str {
        &self.all_keywords
    }

    /// Whether any rule runs at `origin`.
    pub(crate) fn any_at(&self, origin: Origin) -> bool {
        self.rules.iter().any(|rule| rule.active.at(origin).is_some())
    }

    /// Runs the rules of `origin` once and forgets the outcome.
    pub(crate) fn warm(&self, origin: Origin, text: &str) {
        for rule in &self.rules {
            if rule.active.at(origin).is_some() {
                rule.regex.captures_iter(text.as_bytes()).for_each(drop);
            }
        }
    }

    /// Reports what the rules that run at `origin` see in `text`.
    pub(crate) fn scan<'a>(
        &'a self,
        origin: Origin,
        text: &str,
        work: &mut Work,
        mut report: impl FnMut(Sighting<'a>),
    ) -> Result<(), Failed> {
        let awake = self.awake(text)?;
        for (rule, awake) in self.rules.iter().zip(awake) {
            if let (true, Some(severity)) = (awake, rule.active.at(origin)) {
                rule.scan(severity, text.as_bytes(), self.common_allow.as_ref(), work, &mut report);
            }
        }
        Ok(())
    }

    /// For each rule, whether one of its keywords is in the text.
    fn awake(&self, text: &str) -> Result<Vec<bool>, Failed> {
        let mut awake = vec![false; self.rules.len()];
        for index in &self.always {
            *awake.get_mut(*index).ok_or(Failed)? = true;
        }
        let Some(keywords) = &self.keywords else {
            return Ok(awake);
        };
        let mut seen = vec![false; self.wakes.len()];
        for found in keywords.try_find_overlapping_iter(text).map_err(|_| Failed)? {
            let seen = seen.get_mut(found.pattern().as_usize()).ok_or(Failed)?;
            if !*seen {
                *seen = true;
                for index in self.wakes.get(found.pattern().as_usize()).ok_or(Failed)? {
                    *awake.get_mut(*index).ok_or(Failed)? = true;
                }
            }
        }
        Ok(awake)
    }
}

impl Rule {
    fn compile(spec: RuleSpec) -> Result<Self, RuleProblem> {
        match byte_regex(&spec.pattern) {
            Err(problem) => Err((spec.name, problem)),
            Ok(regex) if regex.is_match(b"") => {
                let problem = "matches empty text, so it would match everywhere; ask for at least one character";
                Err((spec.name, problem.to_owned()))
            }
            Ok(regex) => Ok(Self {
                name: spec.name,
                category: spec.category,
                score: spec.score,
                yields: spec.yields,
                active: spec.active,
                regex,
                part: spec.part,
                entropy: spec.entropy,
                allow: spec.allow,
                common_allow: spec.common_allow,
            }),
        }
    }

    fn scan<'a>(
        &'a self,
        severity: Severity,
        text: &[u8],
        common: Option<&Allowlist>,
        work: &mut Work,
        report: &mut impl FnMut(Sighting<'a>),
    ) {
        let end = text.len();
        let unread = |why, start| Sighting::Unread { why, start, end };
        if !work.spend(end) {
            report(unread(TOO_MUCH_WORK, 0));
            return;
        }
        for (count, captures) in self.regex.captures_iter(text).enumerate() {
            let Some(whole) = captures.get(0) else {
                continue;
            };
            let why = match () {
                () if count == MAX_MATCHES_PER_RULE => Some(TOO_MANY_MATCHES),
                () if !work.spend(whole.len() * MATCH_COST) => Some(TOO_MUCH_WORK),
                () => None,
            };
            if let Some(why) = why {
                report(unread(why, whole.start()));
                return;
            }
            if let Some((start, end)) = self.judge(text, &captures, common) {
                report(Sighting::Match { rule: self, severity, start, end });
            }
        }
    }

    /// The span to report, unless the match is harmless.
    fn judge(
        &self,
        text: &[u8],
        captures: &Captures<'_>,
        common: Option<&Allowlist>,
    ) -> Option<(usize, usize)> {
        let whole = captures.get(0)?;
        let trimmed = trim_line_breaks(whole.as_bytes());
        let lead = whole.as_bytes().iter().take_while(|b| **b == b'\n').count();
        let (start, secret) = match self.part {
            Part::Whole => None,
            Part::Group(group) => Some(captures.get(group)?),
            Part::FirstGroup => captures.iter().skip(1).flatten().find(|m| !m.is_empty()),
        }
        .map_or((whole.start() + lead, trimmed), |m| (m.start(), m.as_bytes()));
        if secret.is_empty() || self.entropy.is_some_and(|least| entropy(secret) <= least) {
            return None;
        }
        let candidate = Candidate {
            secret,
            whole: trimmed,
            lines: lines_around(text, whole.start() + lead, whole.start() + lead + trimmed.len()),
        };
        let common = common.filter(|_| self.common_allow);
        let harmless = common.into_iter().chain(&self.allow).any(|list| list.allows(&candidate));
        (!harmless).then_some((start, start + secret.len()))
    }
}

fn trim_line_breaks(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_prefix(b"\n") {
        bytes = rest;
    }
    while let Some(rest) = bytes.strip_suffix(b"\n") {
        bytes = rest;
    }
    bytes
}

fn keyword_filter(words: &[String]) -> Result<Option<AhoCorasick>, String> {
    if words.is_empty() {
        return Ok(None);
    }
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .kind(Some(AhoCorasickKind::DFA))
        .build(words)
        .map(Some)
        .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, pattern: &str, keywords: &[&str]) -> RuleSpec {
        let mut active = Active::default();
        active.raise(&[Origin::User], Severity::Low);
        RuleSpec {
            name: Arc::from(name),
            category: Arc::from("test"),
            score: 1.0,
            active,
            pattern: pattern.to_owned(),
            keywords: keywords.iter().map(|k| (*k).to_owned()).collect(),
            part: Part::FirstGroup,
            entropy: None,
            allow: Vec::new(),
            common_allow: false,
            yields: false,
        }
    }

    fn seen(specs: Vec<RuleSpec>, origin: Origin, text: &str) -> Vec<(String, usize, usize)> {
        let set = RuleSet::compile(specs, None).unwrap();
        with_work(&set, origin, text, &mut Work::whole())
    }

    fn with_work(
        set: &RuleSet,
        origin: Origin,
        text: &str,
        work: &mut Work,
    ) -> Vec<(String, usize, usize)> {
        let mut out = Vec::new();
        set.scan(origin, text, work, |s| match s {
            Sighting::Match { rule, start, end, .. } => {
                out.push((rule.name.to_string(), start, end))
            }
            Sighting::Unread { why, start, end } => out.push((why.to_owned(), start, end)),
        })
        .unwrap();
        out
    }

    #[test]
    fn work_has_a_limit_that_is_said() {
        let set = RuleSet::compile(vec![spec("a", "ab", &[]), spec("b", "zz", &[])], None).unwrap();
        let text = "..ab..ab..";
        let whole = 2 * text.len() + 2 * 2 * MATCH_COST;
        let seen = |bytes| {
            let found = with_work(&set, Origin::User, text, &mut Work(bytes));
            found.into_iter().map(|(name, start, _)| format!("{name} {start}")).collect::<Vec<_>>()
        };
        assert_eq!(seen(whole), ["a 2", "a 6"]);
        assert_eq!(seen(whole - 1), ["a 2", "a 6", "too_much_work 0"]);
        assert_eq!(
            seen(text.len() + 3 * MATCH_COST),
            ["a 2", "too_much_work 6", "too_much_work 0"]
        );
        assert_eq!(seen(0), ["too_much_work 0", "too_much_work 0"]);
    }

    #[test]
    fn a_keyword_wakes_its_rules_and_no_other() {
        let rules = || {
            vec![
                spec("a", "[0-9]{3}", &["Alpha", "shared"]),
                spec("b", "[0-9]{3}", &["SHARED"]),
                spec("c", "[0-9]{3}", &[]),
            ]
        };
        let names = |text| -> Vec<String> {
            seen(rules(), Origin::User, text).into_iter().map(|s| s.0).collect()
        };
        assert_eq!(names("123"), ["c"]);
        assert_eq!(names("123 aLPHA"), ["a", "c"]);
        assert_eq!(names("shareD 123"), ["a", "b", "c"]);
        assert!(seen(rules(), Origin::System, "alpha 123").is_empty());
    }

    #[test]
    fn the_asked_part_is_reported() {
        let part = |part, pattern: &str| {
            let mut rule = spec("a", pattern, &[]);
            rule.part = part;
            seen(vec![rule], Origin::User, "x key=abc\n").first().map(|s| (s.1, s.2))
        };
        assert_eq!(part(Part::Whole, "key=([a-z]+)\n"), Some((2, 9)));
        assert_eq!(part(Part::FirstGroup, "key=([0-9]*)([a-z]+)"), Some((6, 9)));
        assert_eq!(part(Part::FirstGroup, "key=[a-z]+"), Some((2, 9)));
        assert_eq!(part(Part::Group(1), "(key)=([a-z]+)"), Some((2, 5)));
        assert_eq!(part(Part::Group(1), "(zzz)?=([a-z]+)"), None);
    }

    #[test]
    fn entropy_must_be_above_the_bound() {
        let mut rule = spec("a", "<([a-z]+)>", &[]);
        rule.entropy = Some(1.0);
        assert_eq!(seen(vec![rule], Origin::User, "<abab> <abcd>"), [("a".to_owned(), 8, 12)]);
    }

    #[test]
    fn more_matches_than_are_judged_are_said() {
        let text = "ab ".repeat(MAX_MATCHES_PER_RULE);
        assert_eq!(
            seen(vec![spec("a", "ab", &[])], Origin::User, &text).len(),
            MAX_MATCHES_PER_RULE
        );
        let more = format!("{text}ab rest");
        let found = seen(vec![spec("a", "ab", &[])], Origin::User, &more);
        assert_eq!(found.len(), MAX_MATCHES_PER_RULE + 1);
        assert_eq!(found.last(), Some(&(TOO_MANY_MATCHES.to_owned(), text.len(), more.len())));
    }

    #[test]
    fn a_pattern_that_matches_nothing_at_all_is_refused() {
        for pattern in ["a*", "", "(a|)", "(", "(?=a)"] {
            assert!(RuleSet::compile(vec![spec("a", pattern, &[])], None).is_err(), "{pattern}");
        }
    }
}
