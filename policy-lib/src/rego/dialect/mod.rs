//! What of newer and older Rego is not evaluated here, by name: the engine's parser
//! stops at the first of them with words that do not say so.
//!
//! # Layout
//!
//! - this file: what is refused, and what to write instead.
//! - `scan`: texts to words and marks, whatever dialect they are in.

use crate::diagnostic::Diagnostic;

mod scan;

#[cfg(test)]
mod tests;

use scan::{Kind, Piece, is_keyword, pieces};

/// The code of every refusal.
const CODE: &str = "rego_dialect";

/// What is refused in any file: it may parse, and not mean what it means in OPA.
pub(crate) fn always(name: &str, text: &str) -> Vec<Diagnostic> {
    let pieces = pieces(text);
    let mut found = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        match piece.kind {
            Kind::Template => found.push(problem(
                name,
                piece,
                "template strings are not evaluated".to_owned(),
                "write `sprintf(\"... %v\", [x])`".to_owned(),
            )),
            Kind::Word if piece.text == "import" && starts_statement(&pieces, at) => {
                found.extend(import(name, pieces.get(at + 1..).unwrap_or_default()));
            }
            _ => {}
        }
    }
    found.extend(infix_words(name, &pieces));
    found
}

/// Why a file does not parse, if that is for its age.
pub(crate) fn explain(name: &str, text: &str) -> Vec<Diagnostic> {
    old_rules(name, &pieces(text))
}

fn problem(name: &str, piece: &Piece<'_>, message: String, help: String) -> Diagnostic {
    Diagnostic::error(CODE, name, message).at(piece.line, piece.col).help(help)
}

/// The first piece of its line, or behind `;`.
fn starts_statement(pieces: &[Piece<'_>], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| pieces.get(before));
    let piece = pieces.get(at);
    before.is_none_or(|before| {
        before.text == ";" || piece.is_some_and(|piece| piece.line > before.line)
    })
}

/// Keywords that `import future.keywords` may name: all are on already, and `not`
/// means here what the import makes of it in OPA.
const KNOWN_KEYWORDS: &[&str] = &["contains", "every", "if", "in", "not"];

fn import(name: &str, path: &[Piece<'_>]) -> Option<Diagnostic> {
    let words: Vec<&Piece<'_>> = path
        .iter()
        .scan(true, |word_next, piece| {
            let fits = if *word_next { piece.kind == Kind::Word } else { piece.text == "." };
            *word_next = !*word_next;
            fits.then_some(piece)
        })
        .filter(|piece| piece.kind == Kind::Word)
        .collect();
    let texts: Vec<&str> = words.iter().map(|word| word.text).collect();
    let last = words.last()?;
    match texts.as_slice() {
        ["rego", "v1"] | ["future", "keywords"] => None,
        ["future", "keywords", keyword] if KNOWN_KEYWORDS.contains(keyword) => None,
        ["future", "keywords", keyword] => Some(problem(
            name,
            last,
            format!("the keyword `{keyword}` is not evaluated"),
            infix_help(keyword),
        )),
        ["rego", version] => Some(problem(
            name,
            last,
            format!("`import rego.{version}` is not evaluated: the language is Rego v1"),
            "write `import rego.v1`, or no such import, and what v1 has instead".to_owned(),
        )),
        _ => None,
    }
}

fn infix_help(keyword: &str) -> String {
    match keyword {
        "and" => "write two statements, one after the other",
        "or" => "write two rules, or two bodies of a helper: either may hold",
        _ => "write it in Rego v1",
    }
    .to_owned()
}

/// `and` and `or` between two expressions.
fn infix_words(name: &str, pieces: &[Piece<'_>]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for window in pieces.windows(3) {
        let [before, word, after] = window else { continue };
        if word.kind == Kind::Word
            && matches!(word.text, "and" | "or")
            && before.line == word.line
            && before.ends_expression()
            && after.begins_expression()
        {
            let message = format!("the keyword `{}` is not evaluated", word.text);
            found.push(problem(name, word, message, infix_help(word.text)));
        }
    }
    found
}

/// Rules of the time before `if` and `contains`.
fn old_rules(name: &str, pieces: &[Piece<'_>]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut depth = 0usize;
    let mut at = 0usize;
    while let Some(piece) = pieces.get(at) {
        if depth == 0 && piece.kind == Kind::Word && starts_statement(pieces, at) {
            let head = head(pieces.get(at..).unwrap_or_default());
            found.extend(head.old.map(|(message, help)| problem(name, piece, message, help)));
            at += head.length.max(1);
            continue;
        }
        depth = match piece.text {
            "{" | "(" | "[" => depth + 1,
            "}" | ")" | "]" => depth.saturating_sub(1),
            // What follows a body directly is a head of its own.
            "else" if depth == 0 && piece.kind == Kind::Word => {
                let head = head(pieces.get(at..).unwrap_or_default());
                found.extend(head.old.map(|(message, help)| problem(name, piece, message, help)));
                at += head.length.max(1);
                continue;
            }
            _ => depth,
        };
        at += 1;
    }
    found
}

/// Whether a brace behind this opens a body, and not an object or a set.
fn opens_body(before: &Piece<'_>) -> bool {
    before.text == "else" || before.ends_expression()
}

struct Head {
    /// Pieces up to its body, or to the end of the statement.
    length: usize,
    old: Option<(String, String)>,
}

/// Looks at the head of a rule, which begins with a word.
fn head(pieces: &[Piece<'_>]) -> Head {
    let Some(first) = pieces.first() else { return Head { length: 0, old: None } };
    if first.text != "else" && is_keyword(first.text) {
        return Head { length: 1, old: None };
    }
    let mut depth = 0usize;
    let (mut modern, mut assigned, mut key) = (false, None, None);
    for (length, piece) in pieces.iter().enumerate() {
        let before = length.checked_sub(1).and_then(|before| pieces.get(before));
        let new_line = before.is_some_and(|before| piece.line > before.line);
        if depth == 0 && new_line && piece.kind == Kind::Word && piece.text != "if" {
            return Head { length, old: None };
        }
        match piece.text {
            "if" | "contains" if depth == 0 && piece.kind == Kind::Word && length > 0 => {
                modern = true
            }
            "=" | ":=" if depth == 0 => assigned = assigned.or(Some(length)),
            "{" if depth == 0 && (modern || before.is_some_and(opens_body)) => {
                return Head { length, old: with_body(first, modern, assigned, key) };
            }
            "[" if depth == 0 && assigned.is_none() && length > 0 => {
                key = key.or(Some(length));
                depth += 1;
            }
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Head { length: pieces.len(), old: None }
}

fn with_body(
    first: &Piece<'_>,
    modern: bool,
    assigned: Option<usize>,
    key: Option<usize>,
) -> Option<(String, String)> {
    if modern {
        return None;
    }
    let name = first.text;
    let message = format!("`{name} {{ ... }}` is Rego v0: a body is written behind `if`");
    let help = match (assigned, key) {
        _ if name == "else" => "write `else := x if { ... }`".to_owned(),
        (None, Some(_)) => format!("write `{name} contains x if {{ ... }}`"),
        (Some(_), Some(_)) => format!("write `{name}[key] := value if {{ ... }}`"),
        (Some(_), None) => format!("write `{name} := value if {{ ... }}`"),
        (None, None) => format!("write `{name} if {{ ... }}`"),
    };
    Some((message, help))
}
