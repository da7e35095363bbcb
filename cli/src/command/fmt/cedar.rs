//! The layout of Cedar policies: Cedar's own formatter for each policy, as `cedar format -l 100`
//! runs it. What stands around the policies is laid out here, since the formatter throws away the
//! empty lines that set a file's heading apart.

use cedar_policy_formatter::{Config, policies_str_to_pretty};

use super::tokens::{Token, tokens};

/// As in data: the scope and the condition of most policies fit a line each.
const LINE_CHARS: usize = 100;
/// Cedar's own default.
const INDENT_SPACES: isize = 2;

/// A policy with what belongs to it.
#[derive(Debug, Default)]
struct Piece<'a> {
    /// Comments before it, and whether an empty line stands before each.
    above: Vec<(&'a str, bool)>,
    /// Whether an empty line stands between those and the policy.
    apart: bool,
    /// From its first token to its semicolon.
    body: &'a str,
    /// The comment behind its semicolon.
    behind: Option<&'a str>,
}

/// The text in its layout; the text must be Cedar policies.
///
/// # Errors
/// What the formatter says where it gives up.
pub(super) fn layout(text: &str) -> Result<String, String> {
    let config = Config { line_width: LINE_CHARS, indent_width: INDENT_SPACES };
    let (pieces, last) = pieces(text);
    let mut out = String::new();
    for piece in &pieces {
        if !out.is_empty() {
            out.push('\n');
        }
        above(&piece.above, &mut out);
        if piece.apart {
            out.push('\n');
        }
        let body = policies_str_to_pretty(piece.body, &config);
        let body = body.map_err(|error| format!("Cedar's formatter: {error}"))?;
        out.push_str(body.trim_end());
        if let Some(comment) = piece.behind {
            out.push(' ');
            out.push_str(comment);
        }
        out.push('\n');
    }
    if !(out.is_empty() || last.is_empty()) {
        out.push('\n');
    }
    above(&last, &mut out);
    Ok(out)
}

fn above(comments: &[(&str, bool)], out: &mut String) {
    for (index, (comment, apart)) in comments.iter().enumerate() {
        if index > 0 && *apart {
            out.push('\n');
        }
        out.push_str(comment);
        out.push('\n');
    }
}

/// The policies, and the comments behind the last one.
fn pieces(text: &str) -> (Vec<Piece<'_>>, Vec<(&str, bool)>) {
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    let mut open = Piece::default();
    let mut start = None;
    for token in tokens(text) {
        if start.is_none() && token.is_comment() {
            match pieces.last_mut().filter(|_| is_behind(&token, &open)) {
                Some(policy) => policy.behind = Some(token.text),
                None => open.above.push((token.text, token.lines_before > 1)),
            }
            continue;
        }
        let first = *start.get_or_insert_with(|| {
            open.apart = !open.above.is_empty() && token.lines_before > 1;
            token.span.start
        });
        if token.is_mark(';') {
            open.body = text.get(first..token.span.end).unwrap_or_default();
            pieces.push(std::mem::take(&mut open));
            start = None;
        }
    }
    (pieces, open.above)
}

/// Whether a comment stands on the line of the semicolon before it.
fn is_behind(comment: &Token<'_>, open: &Piece<'_>) -> bool {
    comment.lines_before == 0 && open.above.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_policies_keeps_its_place() {
        let text = "\n\n// The file.\n// Two lines.\n\n\n// The policy.\n@id(\"a\")  permit(principal,action,resource); // behind\n// next\n\nforbid(principal,action,resource);\n\n\n// the\n\n\n// end\n\n";
        let expected = "// The file.\n// Two lines.\n\n// The policy.\n@id(\"a\")\npermit (principal, action, resource); // behind\n\n// next\n\nforbid (principal, action, resource);\n\n// the\n\n// end\n";
        assert_eq!(layout(text).unwrap(), expected);
        assert_eq!(layout(expected).unwrap(), expected);
    }

    #[test]
    fn a_file_without_policies_keeps_its_comments() {
        assert_eq!(layout("").unwrap(), "");
        assert_eq!(layout("\n  // a\n\n\n\n// b").unwrap(), "// a\n\n// b\n");
    }

    #[test]
    fn a_semicolon_in_a_string_ends_nothing() {
        let text = "permit (principal, action, resource)\nwhen { context.a == \";\" };\n";
        assert_eq!(pieces(text).0.len(), 1);
        let laid_out = layout(text).unwrap();
        assert!(laid_out.ends_with("when { context.a == \";\" };\n"), "{laid_out}");
    }
}
