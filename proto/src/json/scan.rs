//! Bytes to tree. Everything that two readers could understand differently is
//! refused: duplicate names, lone surrogates, numbers that a double or a 64-bit
//! integer cannot hold exactly, excessive depth.

use std::collections::HashSet;

use super::node::{Member, Node, Number, Span, Value};

/// Deepest nesting that is read; one more is refused.
pub const MAX_DEPTH_LEVELS: usize = 64;
/// Most significant decimal digits of a number.
pub const MAX_SIGNIFICANT_DIGITS: usize = 17;
/// Objects with more members than this use a hash set to find duplicates.
const SMALL_OBJECT_MEMBERS: usize = 16;

/// Why a text was refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {at}")]
pub struct ScanError {
    /// What is wrong.
    pub kind: ScanErrorKind,
    /// Offset in bytes from the start of the text.
    pub at: usize,
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanErrorKind {
    /// Not JSON by RFC 8259, or not UTF-8.
    #[error("not valid JSON: {0}")]
    Syntax(&'static str),
    /// A member name occurs twice after unescaping.
    #[error("duplicate member `{0}`: send each name once")]
    DuplicateKey(String),
    /// `\ud800` without its partner.
    #[error("lone surrogate in a string: send valid Unicode")]
    LoneSurrogate,
    /// A number that would be rounded.
    #[error("number `{0}` cannot be represented exactly: send it as a string")]
    NumberInexact(String),
    /// Nested deeper than [`MAX_DEPTH_LEVELS`].
    #[error("nested deeper than 64 levels")]
    TooDeep,
}

impl ScanError {
    /// The reason id of this refusal.
    #[must_use]
    pub fn reason_id(&self) -> &'static str {
        match self.kind {
            ScanErrorKind::Syntax(_) => "body_invalid",
            ScanErrorKind::DuplicateKey(_) => "duplicate_key",
            ScanErrorKind::LoneSurrogate => "lone_surrogate",
            ScanErrorKind::NumberInexact(_) => "number_inexact",
            ScanErrorKind::TooDeep => "too_deep",
        }
    }
}

/// Reads exactly one JSON value, with white space around it.
///
/// # Errors
/// [`ScanError`] says what was refused and at which byte.
pub fn scan(bytes: &[u8]) -> Result<Node, ScanError> {
    let text = std::str::from_utf8(bytes).map_err(|error| ScanError {
        kind: ScanErrorKind::Syntax("not UTF-8"),
        at: error.valid_up_to(),
    })?;
    let mut scanner = Scanner { text, bytes, at: 0 };
    scanner.skip_space();
    let node = scanner.value(0)?;
    scanner.skip_space();
    if scanner.at < bytes.len() {
        return Err(scanner.syntax("something follows the value"));
    }
    Ok(node)
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn syntax(&self, what: &'static str) -> ScanError {
        self.error(ScanErrorKind::Syntax(what))
    }

    fn error(&self, kind: ScanErrorKind) -> ScanError {
        ScanError { kind, at: self.at }
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn slice(&self, start: usize, end: usize) -> Result<&'a str, ScanError> {
        self.text.get(start..end).ok_or_else(|| self.syntax("cut inside a character"))
    }

    /// `depth` counts the arrays and objects around this value.
    fn value(&mut self, depth: usize) -> Result<Node, ScanError> {
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.object(depth + 1)?,
            Some(b'[') => self.array(depth + 1)?,
            Some(b'"') => Value::String(self.string()?),
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(_) => return Err(self.syntax("a value was expected")),
            None => return Err(self.syntax("the text ends early")),
        };
        Ok(Node { span: Span { start, end: self.at }, value })
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, ScanError> {
        let end = self.at + word.len();
        if self.bytes.get(self.at..end) != Some(word.as_bytes()) {
            return Err(self.syntax("a value was expected"));
        }
        self.at = end;
        Ok(value)
    }

    fn enter(&mut self, depth: usize) -> Result<(), ScanError> {
        if depth > MAX_DEPTH_LEVELS {
            return Err(self.error(ScanErrorKind::TooDeep));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<Value, ScanError> {
        self.enter(depth)?;
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.after_item(b']')? {
                return Ok(Value::Array(items));
            }
        }
    }

    /// Consumes `,` (false) or the closing bracket (true).
    fn after_item(&mut self, close: u8) -> Result<bool, ScanError> {
        self.skip_space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.skip_space();
                Ok(false)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => Err(self.syntax("`,` or a closing bracket was expected")),
            None => Err(self.syntax("the text ends early")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, ScanError> {
        self.enter(depth)?;
        let mut members: Vec<Member> = Vec::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(members));
        }
        loop {
            members.push(self.member(depth)?);
            if self.after_item(b'}')? {
                break;
            }
        }
        refuse_duplicates(&members)?;
        Ok(Value::Object(members))
    }

    fn member(&mut self, depth: usize) -> Result<Member, ScanError> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.syntax("a member name was expected"));
        }
        let key = self.string()?;
        let key_span = Span { start, end: self.at };
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.syntax("`:` was expected"));
        }
        self.at += 1;
        self.skip_space();
        let value = self.value(depth)?;
        Ok(Member { key, key_span, value })
    }

    fn string(&mut self) -> Result<Box<str>, ScanError> {
        self.at += 1;
        let start = self.at;
        self.plain_run();
        if self.peek() == Some(b'"') {
            let text = self.slice(start, self.at)?;
            self.at += 1;
            return Ok(text.into());
        }
        let mut out = String::from(self.slice(start, self.at)?);
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out.into_boxed_str());
                }
                Some(b'\\') => self.escape(&mut out)?,
                Some(0x00..=0x1f) => return Err(self.syntax("control character in a string")),
                Some(_) => {
                    let run = self.at;
                    self.plain_run();
                    out.push_str(self.slice(run, self.at)?);
                }
                None => return Err(self.syntax("the text ends inside a string")),
            }
        }
    }

    fn plain_run(&mut self) {
        while let Some(byte) = self.peek() {
            if byte == b'"' || byte == b'\\' || byte < 0x20 {
                break;
            }
            self.at += 1;
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), ScanError> {
        self.at += 1;
        let plain = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(out),
            _ => return Err(self.syntax("unknown escape")),
        };
        self.at += 1;
        out.push(plain);
        Ok(())
    }

    fn unicode_escape(&mut self, out: &mut String) -> Result<(), ScanError> {
        let first = self.hex4()?;
        let code = match first {
            0xd800..=0xdbff => {
                if self.bytes.get(self.at..self.at + 2) != Some(b"\\u") {
                    return Err(self.error(ScanErrorKind::LoneSurrogate));
                }
                self.at += 1;
                let second = self.hex4()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(self.error(ScanErrorKind::LoneSurrogate));
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            other => other,
        };
        // Only a low surrogate by itself is not a character here.
        let character =
            char::from_u32(code).ok_or_else(|| self.error(ScanErrorKind::LoneSurrogate))?;
        out.push(character);
        Ok(())
    }

    /// Reads `uXXXX`, with `at` on the `u`.
    fn hex4(&mut self) -> Result<u32, ScanError> {
        let digits = self.bytes.get(self.at + 1..self.at + 5);
        let mut code = 0u32;
        for byte in digits.ok_or_else(|| self.syntax("the text ends inside an escape"))? {
            let digit = (*byte as char).to_digit(16);
            code = code * 16 + digit.ok_or_else(|| self.syntax("bad `\\u` escape"))?;
        }
        self.at += 5;
        Ok(code)
    }

    fn number(&mut self) -> Result<Value, ScanError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.syntax("a digit was expected")),
        }
        let mut integer = true;
        if self.peek() == Some(b'.') {
            integer = false;
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            integer = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        let text = self.slice(start, self.at)?;
        if !exact(text, integer) {
            let shown: String = text.chars().take(40).collect();
            return Err(ScanError { kind: ScanErrorKind::NumberInexact(shown), at: start });
        }
        Ok(Value::Number(Number(text.into())))
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<(), ScanError> {
        let start = self.at;
        self.digits();
        if self.at == start { Err(self.syntax("a digit was expected")) } else { Ok(()) }
    }
}

fn refuse_duplicates(members: &[Member]) -> Result<(), ScanError> {
    let duplicate = |member: &Member| ScanError {
        kind: ScanErrorKind::DuplicateKey(member.key.to_string()),
        at: member.key_span.start,
    };
    if members.len() <= SMALL_OBJECT_MEMBERS {
        for (index, member) in members.iter().enumerate() {
            if members.iter().take(index).any(|earlier| earlier.key == member.key) {
                return Err(duplicate(member));
            }
        }
        return Ok(());
    }
    let mut seen = HashSet::with_capacity(members.len());
    match members.iter().find(|member| !seen.insert(&*member.key)) {
        Some(member) => Err(duplicate(member)),
        None => Ok(()),
    }
}

/// Whether every reader gets the same value: an integer must fit 64 bits, any
/// other number must fit a double with all of its significant digits.
fn exact(text: &str, integer: bool) -> bool {
    if integer {
        return text != "-0" && (text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok());
    }
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let significant = digits.trim_start_matches('0').trim_end_matches('0').len();
    if significant > MAX_SIGNIFICANT_DIGITS {
        return false;
    }
    match text.parse::<f64>() {
        // A non-zero text that underflows to zero has lost its value.
        Ok(value) => value.is_finite() && ((value == 0.0) == (significant == 0)),
        Err(_) => false,
    }
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
