//! Cedar text as tokens and comments, for policies and schemas alike. Cedar's own reader throws
//! comments away, and its formatter does not say when it loses one.

use std::ops::Range;

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name, a number or a string with its quotes.
    Word,
    /// A single mark of punctuation.
    Mark(char),
    /// `::`
    Path,
    /// A comment with its slashes, without white space at its end.
    Comment,
}

/// A piece of text that is not white space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// The bytes of the text.
    pub(super) span: Range<usize>,
    /// Line ends between the token before and this one.
    pub(super) lines_before: usize,
}

impl Token<'_> {
    pub(super) fn is_comment(&self) -> bool {
        self.kind == Kind::Comment
    }

    pub(super) fn is_mark(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }
}

/// The tokens and comments of `text` in order.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut chars = text.char_indices().peekable();
    let mut lines_before = 0;
    while let Some((start, first)) = chars.next() {
        if first.is_whitespace() {
            lines_before += usize::from(first == '\n');
            continue;
        }
        let kind = match first {
            '/' if chars.peek().is_some_and(|(_, next)| *next == '/') => {
                while chars.next_if(|(_, next)| !matches!(next, '\n' | '\r')).is_some() {}
                Kind::Comment
            }
            '"' => {
                let mut escaped = false;
                for (_, next) in chars.by_ref() {
                    match next {
                        '"' if !escaped => break,
                        '\\' => escaped = !escaped,
                        _ => escaped = false,
                    }
                }
                Kind::Word
            }
            first if is_word(first) => {
                while chars.next_if(|(_, next)| is_word(*next)).is_some() {}
                Kind::Word
            }
            ':' if chars.next_if(|(_, next)| *next == ':').is_some() => Kind::Path,
            mark => Kind::Mark(mark),
        };
        let end = chars.peek().map_or(text.len(), |(at, _)| *at);
        let piece = text.get(start..end).unwrap_or_default().trim_end();
        let span = start..start + piece.len();
        tokens.push(Token { kind, text: piece, span, lines_before });
        lines_before = 0;
    }
    tokens
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The comments of `text` in order, each with its line from 1.
pub(super) fn comments(text: &str) -> Vec<(&str, usize)> {
    let mut line = 1;
    let mut comments = Vec::new();
    for token in tokens(text) {
        line += token.lines_before;
        if token.is_comment() {
            comments.push((token.text, line));
        }
        line += token.text.matches('\n').count();
    }
    comments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_told_from_strings() {
        let text =
            "a \"x // y \\\" // z\" // one \nb // two\r\n\"\\\\\" // three\n\n\"a\nb\"\n// four";
        assert_eq!(comments(text), [("// one", 1), ("// two", 2), ("// three", 3), ("// four", 7)]);
    }

    #[test]
    fn nothing_but_white_space_is_between_tokens() {
        let text = "permit (principal,\n\n action in [A::\"b c\"]) // é\n;  ";
        let all = tokens(text);
        let mut at = 0;
        for token in &all {
            assert!(text.get(at..token.span.start).unwrap().chars().all(char::is_whitespace));
            assert_eq!(text.get(token.span.clone()), Some(token.text));
            at = token.span.end;
        }
        assert!(text.get(at..).unwrap().trim().is_empty());
        assert_eq!(all[4].lines_before, 2);
        assert_eq!(all[4].text, "action");
        assert!(all.iter().any(|token| token.kind == Kind::Path && token.text == "::"));
    }
}
