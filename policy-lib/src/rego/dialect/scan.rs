//! Words, marks and texts of a file. Nothing is refused here: what cannot be read
//! is passed over, and left to the parser.

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name, a keyword or a number.
    Word,
    /// A text in quotes or backticks.
    Text,
    /// `$"` or `` $` ``, with what follows it to the closing quote.
    Template,
    /// Anything else, `:=` as one.
    Mark,
}

/// One piece of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Line and column in characters, from 1.
    pub(super) line: u32,
    pub(super) col: u32,
}

impl Piece<'_> {
    /// Whether an operator may follow.
    pub(super) fn ends_expression(&self) -> bool {
        match self.kind {
            Kind::Word => !is_keyword(self.text),
            Kind::Text | Kind::Template => true,
            Kind::Mark => matches!(self.text, ")" | "]" | "}"),
        }
    }

    /// Whether it may follow an operator.
    pub(super) fn begins_expression(&self) -> bool {
        match self.kind {
            Kind::Word | Kind::Text | Kind::Template => true,
            Kind::Mark => matches!(self.text, "(" | "[" | "{" | "-"),
        }
    }
}

/// Whether Rego v1 keeps the word for itself.
pub(super) fn is_keyword(word: &str) -> bool {
    matches!(
        word,
        "as" | "contains"
            | "default"
            | "else"
            | "every"
            | "if"
            | "import"
            | "in"
            | "not"
            | "package"
            | "some"
            | "with"
    )
}

/// The pieces of `text`, without blanks and comments.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut scanner = Scanner { text, at: 0, line: 1, col: 1, found: Vec::new() };
    while let Some(c) = scanner.peek() {
        scanner.step(c);
    }
    scanner.found
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    col: u32,
    found: Vec<Piece<'a>>,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn advance(&mut self, c: char) {
        self.at += c.len_utf8();
        if c == '\n' {
            self.line += 1;
            self.col = 1;
        } else {
            self.col += 1;
        }
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) {
        while let Some(c) = self.peek().filter(|c| keep(*c)) {
            self.advance(c);
        }
    }

    /// Reads one piece, which begins with `c`.
    fn step(&mut self, c: char) {
        let (start, line, col) = (self.at, self.line, self.col);
        self.advance(c);
        let kind = match c {
            '#' => {
                self.take_while(|c| c != '\n');
                return;
            }
            c if c.is_whitespace() => return,
            '"' => {
                self.quoted();
                Kind::Text
            }
            '`' => {
                self.raw();
                Kind::Text
            }
            '$' if matches!(self.peek(), Some('"' | '`')) => {
                self.template();
                Kind::Template
            }
            c if c == '_' || c.is_alphanumeric() => {
                self.take_while(|c| c == '_' || c.is_alphanumeric());
                Kind::Word
            }
            ':' if self.peek() == Some('=') => {
                self.advance('=');
                Kind::Mark
            }
            '=' | '!' | '<' | '>' if self.peek() == Some('=') => {
                self.advance('=');
                Kind::Mark
            }
            _ => Kind::Mark,
        };
        if let Some(text) = self.text.get(start..self.at) {
            self.found.push(Piece { kind, text, line, col });
        }
    }

    /// To the closing quote, or the end of the line.
    fn quoted(&mut self) {
        while let Some(c) = self.peek().filter(|c| *c != '\n') {
            self.advance(c);
            match c {
                '"' => return,
                '\\' => {
                    if let Some(escaped) = self.peek().filter(|c| *c != '\n') {
                        self.advance(escaped);
                    }
                }
                _ => {}
            }
        }
    }

    fn raw(&mut self) {
        self.take_while(|c| c != '`');
        if let Some(c) = self.peek() {
            self.advance(c);
        }
    }

    /// Expressions in braces may hold texts of their own.
    fn template(&mut self) {
        let Some(quote) = self.peek() else { return };
        self.advance(quote);
        let mut depth = 0usize;
        while let Some(c) = self.peek() {
            if c == '\n' && quote == '"' {
                return;
            }
            self.advance(c);
            match c {
                '\\' if depth == 0 => {
                    if let Some(escaped) = self.peek() {
                        self.advance(escaped);
                    }
                }
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                '"' if depth > 0 => self.quoted(),
                '`' if depth > 0 => self.raw(),
                c if c == quote && depth == 0 => return,
                _ => {}
            }
        }
    }
}
