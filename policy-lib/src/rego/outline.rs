//! What a Rego file says, rule by rule, whatever its layout.

use regorus::unstable::Rule;

use super::names::{Decision, data_path};
use super::source::{Policy, Token, parse_all};
use super::walk::head_name;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outline {
    /// `data.<package>.<name>`.
    pub(crate) path: String,
    /// The rule's name if it takes part in decisions.
    pub(crate) decision: Option<&'static str>,
    /// The id that its head states; empty if none.
    pub(crate) id: String,
    /// The whole rule in one layout, without comments.
    pub(crate) rule: String,
    /// `rego/<unit>/<file>.rego:<line>`.
    pub(crate) place: String,
}

/// The rules of all files but tests, in the order written. Files that do not parse are left
/// out. What a file imports stands before the rules that use the names.
pub(crate) fn outlines(files: &[(&str, &str)]) -> Vec<Outline> {
    let policies = parse_all(files, &mut Vec::new());
    policies.iter().filter(|policy| !policy.test).flat_map(outlines_of).collect()
}

fn outlines_of(policy: &Policy) -> Vec<Outline> {
    let mut starts: Vec<usize> =
        policy.module.policy.iter().map(|rule| rule.span().start as usize).collect();
    starts.push(policy.text.len());
    let rules = policy.module.policy.iter().zip(starts.iter().skip(1));
    rules.filter_map(|(rule, end)| outline(policy, rule, *end)).collect()
}

fn outline(policy: &Policy, rule: &Rule, end: usize) -> Option<Outline> {
    let (name, _) = head_name(rule)?;
    let start = rule.span().start as usize;
    let tokens = policy.tokens.iter().filter(|t| t.start >= start && t.end <= end);
    let tokens: Vec<&Token> = tokens.collect();
    let mut path = policy.package.clone();
    path.push(name.to_owned());
    let decision = policy.unit.as_ref().and_then(|_| Decision::from_name(name));
    Some(Outline {
        path: data_path(&path),
        decision: decision.map(Decision::name),
        id: id_of(policy, &tokens),
        rule: layout(policy, &tokens),
        place: format!("{}:{}", policy.name, rule.span().line),
    })
}

/// `x` of `"id": "x"` or of `contains "x"`.
fn id_of(policy: &Policy, tokens: &[&Token]) -> String {
    let texts: Vec<&str> = tokens.iter().map(|token| policy.token_text(token)).collect();
    let stated = texts.windows(3).find_map(|window| match window {
        ["\"id\"", ":", value] => Some(*value),
        _ => None,
    });
    let plain = texts.windows(2).next().and_then(|_| match texts.get(1..3) {
        Some(["contains", value]) => Some(*value),
        _ => None,
    });
    let quoted = stated.or(plain).filter(|text| text.starts_with('"'));
    quoted.map(|text| text.trim_matches('"').to_owned()).unwrap_or_default()
}

/// The tokens in one line. A line break that separates statements is a `;`.
fn layout(policy: &Policy, tokens: &[&Token]) -> String {
    let mut text = String::new();
    let mut before: Option<(&str, u32)> = None;
    for token in tokens {
        let this = policy.token_text(token);
        if let Some((last, line)) = before {
            let broken = token.line > line && ends(last) && begins(this);
            text.push_str(if broken { "; " } else { between(last, this) });
        }
        text.push_str(this);
        before = Some((this, token.line + lines_in(this)));
    }
    while text.contains(";;") || text.contains("; ;") {
        text = text.replace("; ;", ";").replace(";;", ";");
    }
    text
}

/// What stands between two tokens of a statement.
fn between(last: &str, this: &str) -> &'static str {
    let after_name = ends(last) && !matches!(last, "}");
    let close = matches!(this, "." | "," | ":" | ";" | ")" | "]")
        || matches!(last, "." | "(" | "[")
        || (matches!(this, "(" | "[") && after_name);
    if close { "" } else { " " }
}

fn lines_in(token: &str) -> u32 {
    u32::try_from(token.matches('\n').count()).unwrap_or_default()
}

/// Whether a statement can end with a token.
fn ends(token: &str) -> bool {
    let word = token.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '"' | '`'));
    let keyword =
        matches!(token, "if" | "contains" | "in" | "with" | "as" | "not" | "some" | "every");
    matches!(token, ")" | "]" | "}") || (word && !keyword)
}

/// Whether a statement can begin with a token.
fn begins(token: &str) -> bool {
    let word = token.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '"' | '`'));
    let keyword = matches!(token, "if" | "contains" | "in" | "with" | "as");
    matches!(token, "(" | "[" | "{") || token.starts_with('-') || (word && !keyword)
}

#[cfg(test)]
mod tests {
    use super::outlines;

    fn rules(text: &str) -> Vec<(String, String, String)> {
        let outlines = outlines(&[("rego/a/a.rego", text)]);
        outlines.into_iter().map(|rule| (rule.path, rule.id, rule.rule)).collect()
    }

    #[test]
    fn layout_and_comments_say_nothing() {
        let one = "package lictor.a\n\nallow if {\n\tinput.x == 1 # why\n\n\tinput.y\n}\n";
        let two = "package lictor.a\nallow if { input.x == 1; input.y }\n";
        assert_eq!(rules(one), rules(two));
        let other = "package lictor.a\nallow if { input.x == 2; input.y }\n";
        assert_ne!(rules(one), rules(other));
    }

    #[test]
    fn a_break_within_a_statement_is_no_end_of_it() {
        let one = "package lictor.a\nallow if {\n\tinput.x ==\n\t\t1\n\tf(1,\n\t2)\n}\n";
        let two = "package lictor.a\nallow if {\n\tinput.x == 1\n\tf(1, 2)\n}\n";
        assert_eq!(rules(one), rules(two));
        let joined = "package lictor.a\nallow if {\n\tx := input.x\n\t-1 == x\n}\n";
        let minus = "package lictor.a\nallow if {\n\tx := input.x -1 == x\n}\n";
        assert_ne!(rules(joined), rules(minus));
    }

    #[test]
    fn ids_are_those_of_the_head() {
        let text = "package lictor.a\ndeny contains {\"id\": \"a.b\", \"message\": \"no\"} if input.x\nallow contains \"a.c\" if input.x\nallow if input.y\n";
        let ids: Vec<String> = rules(text).into_iter().map(|(_, id, _)| id).collect();
        assert_eq!(ids, ["a.b", "a.c", ""]);
    }
}
