//! How deep Cedar text is nested, found before Cedar's parser sees it: the parser calls itself for
//! each level, and a text of a few hundred would end the process by its stack.

use super::place::File;
use crate::diagnostic::Diagnostic;

/// Brackets and `if`s inside one another.
pub(super) const NESTING_MAX_LEVELS: usize = 64;

/// The problem of a text that is nested too deeply.
pub(super) fn refuse(file: &File<'_>, code: &'static str) -> Option<Diagnostic> {
    let at = too_deep(file.text)?;
    let message = format!("nested deeper than {NESTING_MAX_LEVELS} levels");
    let help = "split it into clauses or policies: `if`s and brackets inside one another count";
    Some(file.error(code, at, message).help(help))
}

/// The first byte that is one level too deep.
fn too_deep(text: &str) -> Option<usize> {
    // The `if`s of each open bracket; an `else if` is inside of the `if` before it.
    let mut ifs = vec![0_usize];
    let mut levels = 0_usize;
    let mut word = String::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, character)) = chars.next() {
        if character.is_alphanumeric() || character == '_' {
            word.push(character);
            let ends =
                chars.peek().is_none_or(|(_, next)| !(next.is_alphanumeric() || *next == '_'));
            if ends && std::mem::take(&mut word) == "if" {
                levels += 1;
                if let Some(count) = ifs.last_mut() {
                    *count += 1;
                }
            }
        } else {
            match character {
                '/' if chars.peek().is_some_and(|(_, next)| *next == '/') => {
                    while chars.next_if(|(_, next)| !matches!(next, '\n' | '\r')).is_some() {}
                }
                '"' => skip_string(&mut chars),
                '(' | '[' | '{' => {
                    levels += 1;
                    ifs.push(0);
                }
                ')' | ']' | '}' => levels = levels.saturating_sub(ifs.pop().unwrap_or(0) + 1),
                ';' => {
                    (ifs, levels) = (vec![0], 0);
                }
                _ => {}
            }
        }
        if levels > NESTING_MAX_LEVELS {
            return Some(at);
        }
    }
    None
}

/// Up to the quote that is not escaped.
fn skip_string(chars: &mut std::iter::Peekable<std::str::CharIndices<'_>>) {
    let mut escaped = false;
    for (_, character) in chars.by_ref() {
        match character {
            '"' if !escaped => return,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_end_at_the_limit() {
        let brackets = |levels: usize| format!("{}1{}", "(".repeat(levels), ")".repeat(levels));
        assert_eq!(too_deep(&brackets(NESTING_MAX_LEVELS)), None);
        assert_eq!(too_deep(&brackets(NESTING_MAX_LEVELS + 1)), Some(NESTING_MAX_LEVELS));
        let ifs = |levels: usize| "if a then b else ".repeat(levels);
        assert_eq!(too_deep(&ifs(NESTING_MAX_LEVELS)), None);
        assert!(too_deep(&ifs(NESTING_MAX_LEVELS + 1)).is_some());
    }

    #[test]
    fn what_stands_side_by_side_or_in_texts_is_not_deep() {
        for wide in [
            "(a) ",
            "[1], ",
            "// (((\n",
            "\"((( \\\" (((\" ",
            "(if a then b else c) ",
            "notif ",
            "permit(a) when { if a then b else c };",
        ] {
            assert_eq!(too_deep(&wide.repeat(1_000)), None, "{wide}");
        }
    }

    #[test]
    fn a_text_that_is_too_deep_never_reaches_the_parser() {
        let deep = format!(
            "permit(principal, action, resource) when {{ {}true{} }};",
            "(".repeat(20_000),
            ")".repeat(20_000)
        );
        let found = super::super::meaning::of_policies("x.cedar", &deep).unwrap_err();
        assert_eq!(found.len(), 1);
        assert!(found.iter().all(|found| found.line == 1 && found.message.contains("64 levels")));
        let deep =
            format!("entity A {{ a: {}Long{} }};", "{ a: ".repeat(20_000), "}".repeat(20_000));
        assert!(super::super::meaning::of_schema("x", &deep).is_err());
    }
}
