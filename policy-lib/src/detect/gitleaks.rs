//! Reads the gitleaks rule file that comes with the library. A member that this reader does not know is an
//! error, so that an update of the file cannot lose meaning in silence.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The rule file (MIT; see `data/gitleaks/NOTICE`).
const RULE_FILE: &str = include_str!("../../data/gitleaks/gitleaks.toml");

/// The rules that look at text, and the allowlist for all of them.
#[derive(Debug)]
pub(crate) struct RuleFile {
    pub(crate) rules: Vec<SecretRule>,
    pub(crate) allow: AllowSpec,
}

/// One rule.
#[derive(Debug)]
pub(crate) struct SecretRule {
    pub(crate) id: String,
    pub(crate) pattern: String,
    pub(crate) keywords: Vec<String>,
    /// The group that holds the secret; `None` means the first one that took part.
    pub(crate) group: Option<usize>,
    /// The secret's entropy in bits per byte must be above this.
    pub(crate) entropy: Option<f64>,
    pub(crate) allow: Vec<AllowSpec>,
    /// The rule was written for files of one kind; it is used on all texts, with less trust.
    pub(crate) for_one_file_kind: bool,
}

/// What makes a match harmless.
#[derive(Debug, Default)]
pub(crate) struct AllowSpec {
    /// Every criterion must hold, instead of one.
    pub(crate) all: bool,
    pub(crate) target: Target,
    pub(crate) patterns: Vec<String>,
    pub(crate) stopwords: Vec<String>,
}

/// What an allowlist's patterns look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    /// The secret alone.
    #[default]
    Secret,
    /// The whole match.
    Match,
    /// The lines that the match touches.
    Line,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(rename = "title")]
    _title: IgnoredAny,
    #[serde(rename = "minVersion")]
    _min_version: IgnoredAny,
    allowlist: RawAllow,
    rules: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: String,
    #[serde(rename = "description")]
    _description: IgnoredAny,
    regex: Option<String>,
    path: Option<IgnoredAny>,
    #[serde(rename = "secretGroup")]
    secret_group: Option<usize>,
    entropy: Option<f64>,
    #[serde(default)]
    keywords: Vec<String>,
    #[serde(default)]
    allowlists: Vec<RawAllow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAllow {
    #[serde(rename = "description")]
    _description: Option<IgnoredAny>,
    condition: Option<Condition>,
    #[serde(default, rename = "regexTarget")]
    target: Target,
    #[serde(default)]
    regexes: Vec<String>,
    #[serde(default)]
    stopwords: Vec<String>,
    #[serde(default)]
    paths: Vec<IgnoredAny>,
}

#[derive(Deserialize, PartialEq)]
enum Condition {
    #[serde(alias = "AND", alias = "&&")]
    And,
    #[serde(alias = "OR", alias = "||")]
    Or,
}

/// The rules that come with the library. Rules that look at file names alone are left out.
pub(crate) fn rules() -> Result<RuleFile, toml::de::Error> {
    let file: RawFile = toml::from_str(RULE_FILE)?;
    Ok(RuleFile {
        rules: file.rules.into_iter().filter_map(secret_rule).collect(),
        allow: allow_spec(file.allowlist).unwrap_or_default(),
    })
}

fn secret_rule(raw: RawRule) -> Option<SecretRule> {
    Some(SecretRule {
        pattern: escape_literal_braces(&raw.regex?),
        id: raw.id,
        keywords: raw.keywords,
        group: raw.secret_group,
        entropy: raw.entropy,
        allow: raw.allowlists.into_iter().filter_map(allow_spec).collect(),
        for_one_file_kind: raw.path.is_some(),
    })
}

/// `None` for an allowlist that can never hold for a text: one about file names alone, or one that asks for
/// a file name and something else.
fn allow_spec(raw: RawAllow) -> Option<AllowSpec> {
    let all = raw.condition == Some(Condition::And);
    let about_text = !raw.regexes.is_empty() || !raw.stopwords.is_empty();
    let needs_path = all && !raw.paths.is_empty();
    (about_text && !needs_path).then(|| AllowSpec {
        all,
        target: raw.target,
        patterns: raw.regexes.iter().map(|p| escape_literal_braces(p)).collect(),
        stopwords: raw.stopwords,
    })
}

/// The rule file's dialect takes a `{` that begins no repetition as itself; ours wants it escaped.
fn escape_literal_braces(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut in_class = false;
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let (piece, after) = match c {
            '\\' => split_escape(rest),
            _ => rest.split_at(c.len_utf8()),
        };
        match c {
            '[' => in_class = true,
            ']' => in_class = false,
            '{' if !in_class && !is_repetition(rest) => out.push('\\'),
            _ => {}
        }
        out.push_str(piece);
        rest = after;
        // A bracket right after the opening of a class is a member of it.
        if c == '[' {
            let members =
                if rest.starts_with("^]") { 2 } else { usize::from(rest.starts_with(']')) };
            let (piece, after) = rest.split_at(members);
            out.push_str(piece);
            rest = after;
        }
    }
    out
}

/// Splits off a backslash and what belongs to it, such as `\x{60}`.
fn split_escape(rest: &str) -> (&str, &str) {
    let mut chars = rest.char_indices().skip(1);
    let Some((_, escaped)) = chars.next() else {
        return (rest, "");
    };
    let braced = matches!(escaped, 'x' | 'p' | 'P') && rest.chars().nth(2) == Some('{');
    let end = if braced { rest.find('}').map(|at| at + 1) } else { chars.next().map(|(at, _)| at) };
    rest.split_at(end.unwrap_or(rest.len()))
}

/// Whether the text begins with `{n}`, `{n,}` or `{n,m}`.
fn is_repetition(rest: &str) -> bool {
    let Some((inner, _)) = rest.strip_prefix('{').and_then(|r| r.split_once('}')) else {
        return false;
    };
    let (low, high) = inner.split_once(',').unwrap_or((inner, ""));
    !low.is_empty() && [low, high].iter().all(|n| n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_loads_whole() {
        let file = rules().unwrap();
        assert_eq!(file.rules.len(), 221);
        assert!(file.rules.iter().all(|r| !r.keywords.is_empty()));
        assert_eq!(file.rules.iter().filter(|r| r.entropy.is_some()).count(), 130);
        assert_eq!(file.rules.iter().filter(|r| r.group.is_some()).count(), 1);
        assert_eq!(file.rules.iter().filter(|r| r.for_one_file_kind).count(), 4);
        assert_eq!(file.allow.patterns.len(), 13);
        assert_eq!(file.allow.stopwords.len(), 2);
        let generic = file.rules.iter().find(|r| r.id == "generic-api-key").unwrap();
        assert_eq!(generic.allow.len(), 3, "the one that asks for a path cannot hold");
        assert!(generic.allow.iter().any(|a| a.stopwords.len() == 1446));
    }

    #[test]
    fn literal_braces_are_escaped_and_repetitions_stay() {
        for (from, to) in [
            ("a{3}b{2,}c{2,5}", "a{3}b{2,}c{2,5}"),
            (r"{{[^}]+}}", r"\{\{[^}]+}}"),
            (r"import[ \t]+{[ \t]+}", r"import[ \t]+\{[ \t]+}"),
            (r"\{a", r"\{a"),
            (r"[{$]", "[{$]"),
            (r"[^]{]{", r"[^]{]\{"),
            (r"[]{]{,3}", r"[]{]\{,3}"),
            (r"\x{60}{2}\x60", r"\x{60}{2}\x60"),
            (r"^\$(?:\d+|{\d+})$", r"^\$(?:\d+|\{\d+})$"),
            ("é{é", r"é\{é"),
            ("a\\", "a\\"),
        ] {
            assert_eq!(escape_literal_braces(from), to);
        }
    }

    #[test]
    fn an_unknown_member_is_refused() {
        assert!(toml::from_str::<RawRule>("id='a'\ndescription='b'\nregex='c'").is_ok());
        assert!(
            toml::from_str::<RawRule>("id='a'\ndescription='b'\nregex='c'\nrequired=1").is_err()
        );
    }
}
