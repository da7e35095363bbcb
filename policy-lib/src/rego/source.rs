//! Texts to parsed policies, with every token's place.

use std::collections::BTreeSet;

use lictor_proto::json::Node;
use regorus::unstable::{Expr, Lexer, Module, Ref, Source, Span, TokenKind};

use super::depth::{MAX_OPERATORS, long_chain};
use super::dialect;
use super::names::{ROOT, is_unit};
use super::place::{Place, engine_message};
use super::recover;
use super::walk::{Part, flatten};
use crate::diagnostic::Diagnostic;

/// Largest policy file, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 1 << 20;

/// One parsed file.
pub(crate) struct Policy {
    /// Name in the bundle.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) module: Ref<Module>,
    pub(crate) tokens: Vec<Token>,
    /// The package, without `data`.
    pub(crate) package: Vec<String>,
    /// The policy unit, if the package is one.
    pub(crate) unit: Option<String>,
    /// Whether the file is left out of the serving engine.
    pub(crate) test: bool,
    /// Names of rules that are missing because they do not parse.
    pub(crate) lost: BTreeSet<String>,
}

/// One token of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) word: bool,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) line: u32,
    pub(crate) col: u32,
}

impl Policy {
    /// An error at `span`.
    pub(crate) fn error(
        &self,
        code: &'static str,
        span: &Span,
        message: impl Into<String>,
    ) -> Diagnostic {
        self.at(Diagnostic::error(code, &self.name, message), span)
    }

    /// A warning at `span`.
    pub(crate) fn warning(
        &self,
        code: &'static str,
        span: &Span,
        message: impl Into<String>,
    ) -> Diagnostic {
        self.at(Diagnostic::warning(code, &self.name, message), span)
    }

    /// The diagnostic at the first line of `span`.
    fn at(&self, diagnostic: Diagnostic, span: &Span) -> Diagnostic {
        let (mut start, mut end) = (span.start as usize, span.end as usize);
        let (before, behind) = (start.checked_sub(1), self.text.as_bytes().get(end));
        // The engine's spans of strings lie between the quotes.
        if let (Some(before), Some(quote @ (b'"' | b'`'))) = (before, behind)
            && self.text.as_bytes().get(before) == Some(quote)
        {
            start = before;
            end += 1;
        }
        let said = self.text.get(start..end).unwrap_or_default();
        let said = said.lines().next().unwrap_or_default().trim_end();
        let col = column(&self.text, start);
        let width = u32::try_from(said.chars().count()).unwrap_or(0);
        diagnostic.at(span.line, col).to(col.saturating_add(width))
    }

    /// The text of a token.
    pub(crate) fn token_text(&self, token: &Token) -> &str {
        self.text.get(token.start..token.end).unwrap_or_default()
    }

    /// Whether the file belongs to a policy unit (test files do not make one).
    pub(crate) fn is_unit(&self) -> bool {
        self.unit.is_some() && !self.test
    }
}

/// The column of a byte, in characters from 1. The engine counts a tab as four.
pub(crate) fn column(text: &str, byte: usize) -> u32 {
    let before = text.get(..byte).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    u32::try_from(line.chars().count() + 1).unwrap_or(u32::MAX)
}

/// Parses every file; of a file that does not parse, what does is kept, and the rest reported.
pub(crate) fn parse_all(files: &[(&str, &str)], problems: &mut Vec<Diagnostic>) -> Vec<Policy> {
    let mut policies = Vec::new();
    for (name, text) in files {
        match read(name, text) {
            Ok(policy) => policies.push(policy),
            Err(found) => {
                let (rest, found) = recover::rest(name, text, found);
                problems.extend(found);
                policies.extend(rest);
            }
        }
    }
    policies
}

/// What is of another dialect is said by name, and not as an error of the parser.
fn read(name: &str, text: &str) -> Result<Policy, Vec<Diagnostic>> {
    if text.len() <= MAX_FILE_BYTES {
        let foreign = dialect::always(name, text);
        if !foreign.is_empty() {
            return Err(foreign);
        }
    }
    parse(name, text).map_err(|problem| {
        let parse = problem.code == "rego_parse";
        let old = if parse { dialect::explain(name, text) } else { Vec::new() };
        if old.is_empty() { vec![problem] } else { old }
    })
}

/// Parses one file.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(name: &str, text: &str) -> Result<Policy, Diagnostic> {
    if text.len() > MAX_FILE_BYTES {
        let message =
            format!("the file has {} bytes, at most {MAX_FILE_BYTES} are read", text.len());
        return Err(Diagnostic::error("rego_size", name, message).help("split it"));
    }
    let tokens = tokens(name, text)?;
    if let Some(token) = long_chain(text, &tokens) {
        let message = format!("more than {MAX_OPERATORS} operators in a row");
        let problem = Diagnostic::error("rego_size", name, message).at(token.line, token.col);
        return Err(problem.help("use brackets, or a collection"));
    }
    let mut engine = regorus::Engine::new();
    engine
        .add_policy(name.to_owned(), text.to_owned())
        .map_err(|error| parse_error(name, text, &error.to_string()))?;
    let Some(module) = engine.get_modules().first().cloned() else {
        return Err(Diagnostic::error("rego_parse", name, "the file has no module"));
    };
    let test = name.ends_with("_test.rego");
    let package = package_of(&module.package.refr).ok_or_else(|| {
        at_span("rego_package", name, &module.package.span, "the package is not a plain path")
    })?;
    if module.target.is_some() {
        let message = "`__target__` is not part of Rego policies here";
        return Err(at_span("rego_parse", name, &module.package.span, message).help("remove it"));
    }
    let unit = match package.as_slice() {
        [root, unit] if root == ROOT && is_unit(unit) => Some(unit.clone()),
        _ => None,
    };
    let lost = BTreeSet::new();
    let (name, text) = (name.to_owned(), text.to_owned());
    Ok(Policy { name, text, tokens, package, unit, test, module, lost })
}

fn at_span(code: &'static str, name: &str, span: &Span, message: &str) -> Diagnostic {
    Diagnostic::error(code, name, message).at(span.line, span.col)
}

fn parse_error(name: &str, text: &str, message: &str) -> Diagnostic {
    let Place { line, col, .. } = Place::find(message).unwrap_or_default();
    Diagnostic::error("rego_parse", name, engine_message(message))
        .at(line, own_column(text, line, col))
}

/// The column in characters of a column of the engine's, which counts a tab as four.
pub(crate) fn own_column(text: &str, line: u32, engine_col: u32) -> u32 {
    let index = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
    let mut at = 1;
    let mut col = 1;
    for character in text.lines().nth(index).unwrap_or_default().chars() {
        if at >= engine_col {
            break;
        }
        at += if character == '\t' { 4 } else { 1 };
        col += 1;
    }
    if engine_col == 0 { 0 } else { col }
}

fn package_of(refr: &Expr) -> Option<Vec<String>> {
    let (_, parts) = flatten(refr)?;
    parts
        .into_iter()
        .map(|part| match part {
            Part::Name(name) => Some(name.to_owned()),
            Part::Dynamic => None,
        })
        .collect()
}

fn tokens(name: &str, text: &str) -> Result<Vec<Token>, Diagnostic> {
    let failed = |error: &dyn std::fmt::Display| parse_error(name, text, &error.to_string());
    let source = Source::from_contents(name.to_owned(), text.to_owned()).map_err(|e| failed(&e))?;
    let mut lexer = Lexer::new(&source);
    let mut found = Vec::new();
    loop {
        let token = lexer.next_token().map_err(|e| failed(&e))?;
        if token.0 == TokenKind::Eof {
            return Ok(found);
        }
        // The engine's spans of strings lie between the quotes.
        let quote = usize::from(matches!(token.0, TokenKind::String | TokenKind::RawString));
        let start = (token.1.start as usize).saturating_sub(quote);
        found.push(Token {
            word: token.0 == TokenKind::Ident,
            start,
            end: token.1.end as usize + quote,
            line: token.1.line,
            col: column(text, start),
        });
    }
}

/// The bundle's data, read strictly.
pub(crate) fn parse_data(text: &str, problems: &mut Vec<Diagnostic>) -> Node {
    match lictor_proto::json::scan(text.as_bytes()) {
        Ok(node) if node.is_object() => node,
        Ok(_) => {
            problems.push(Diagnostic::error("rego_data", "data.json", "the data is not an object"));
            Node::empty_object()
        }
        Err(error) => {
            let message = format!("the data cannot be read: {error}");
            problems.push(Diagnostic::error("rego_data", "data.json", message));
            Node::empty_object()
        }
    }
}
