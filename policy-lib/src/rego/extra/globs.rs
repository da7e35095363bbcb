//! `regex.globs_match`: whether any text that is not empty matches two patterns of
//! characters, `.`, `[a-z]`, each perhaps followed by `*` or `+`.
//!
//! Both patterns are walked together: a state is a place in each, and a text is
//! found where both can end. OPA's own search gives up early on some pairs that
//! have a common text; this one does not.

use std::iter::Peekable;
use std::str::Chars;

use regorus::Value;

use super::{Fault, text};
use crate::rego::guards::Refusal;

/// Most pairs of places.
const MAX_PAIRS: usize = 1 << 18;

pub(super) fn bounded(args: &[Value]) -> Result<(), Refusal> {
    let (Ok(a), Ok(b)) = (text(args, 0), text(args, 1)) else { return Ok(()) };
    let pairs = (a.len() + 1).checked_mul(b.len() + 1);
    if pairs.is_some_and(|pairs| pairs <= MAX_PAIRS) { Ok(()) } else { Err(Refusal::TooLong) }
}

enum Class {
    Any,
    One(char),
    /// Ranges, ends included.
    Ranges(Vec<(char, char)>),
}

struct Token {
    class: Class,
    /// May be passed over.
    optional: bool,
    /// May be taken again.
    repeated: bool,
}

pub(super) fn matches(args: &[Value]) -> Result<Value, Fault> {
    let (a, b) = (tokens(text(args, 0)?)?, tokens(text(args, 1)?)?);
    Ok(Value::from(meet(&a, &b)))
}

/// Whether some text of at least one character matches both.
fn meet(a: &[Token], b: &[Token]) -> bool {
    let width = b.len() + 1;
    let mut seen = vec![false; (a.len() + 1) * width * 2];
    let mut todo = vec![(0usize, 0usize, false)];
    while let Some((i, j, taken)) = todo.pop() {
        let Some(seen) = seen.get_mut((i * width + j) * 2 + usize::from(taken)) else { continue };
        if std::mem::replace(seen, true) {
            continue;
        }
        let (x, y) = (a.get(i), b.get(j));
        if x.is_none() && y.is_none() && taken {
            return true;
        }
        if x.is_some_and(|token| token.optional) {
            todo.push((i + 1, j, taken));
        }
        if y.is_some_and(|token| token.optional) {
            todo.push((i, j + 1, taken));
        }
        if let (Some(x), Some(y)) = (x, y)
            && overlap(&x.class, &y.class)
        {
            let from = |at: usize, token: &Token| {
                if token.repeated { at..=at + 1 } else { at + 1..=at + 1 }
            };
            for next_i in from(i, x) {
                todo.extend(from(j, y).map(|next_j| (next_i, next_j, true)));
            }
        }
    }
    false
}

fn overlap(a: &Class, b: &Class) -> bool {
    let ranges = |class: &Class| match class {
        Class::Any => vec![('\0', char::MAX)],
        Class::One(c) => vec![(*c, *c)],
        Class::Ranges(ranges) => ranges.clone(),
    };
    let (a, b) = (ranges(a), ranges(b));
    a.iter().any(|(low, high)| b.iter().any(|(from, to)| low <= to && from <= high))
}

fn tokens(pattern: &str) -> Result<Vec<Token>, Fault> {
    let mut chars = pattern.chars().peekable();
    let mut found: Vec<Token> = Vec::new();
    while let Some(c) = chars.next() {
        let class = match c {
            '.' => Class::Any,
            '[' => Class::Ranges(ranges(&mut chars)?),
            ']' => return Err(bad("`]` without `[`")),
            '*' | '+' => return Err(bad("`*` or `+` without anything before it")),
            '\\' => Class::One(chars.next().ok_or_else(|| bad("it ends with a backslash"))?),
            c => Class::One(c),
        };
        let flag = chars.next_if(|next| matches!(next, '*' | '+'));
        found.push(Token { class, optional: flag == Some('*'), repeated: flag.is_some() });
    }
    Ok(found)
}

fn bad(what: &str) -> Fault {
    Fault::value(format!("the pattern is not understood: {what}"))
}

fn ranges(chars: &mut Peekable<Chars<'_>>) -> Result<Vec<(char, char)>, Fault> {
    let unclosed = || bad("`[` without `]`");
    let mut found = Vec::new();
    let mut last = None;
    loop {
        match chars.next().ok_or_else(unclosed)? {
            ']' => return Ok(found),
            '-' => {
                let low = last.take().ok_or_else(|| bad("`-` without anything before it"))?;
                let high = match chars.next().ok_or_else(unclosed)? {
                    ']' | '-' => return Err(bad("`-` without anything behind it")),
                    '\\' => chars.next().ok_or_else(unclosed)?,
                    c => c,
                };
                if high < low {
                    return Err(bad("a range is out of order"));
                }
                found.push((low, high));
            }
            '\\' => {
                let c = chars.next().ok_or_else(unclosed)?;
                found.push((c, c));
                last = Some(c);
            }
            c => {
                found.push((c, c));
                last = Some(c);
            }
        }
    }
}
