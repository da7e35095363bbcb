//! The layout of Cedar schemas, for which Cedar has no formatter that keeps comments.
//!
//! One declaration on each line where it fits; braces and brackets that do not fit, that hold
//! comments or that the author opened have one element on each line. Tokens stay as they are.

use super::tokens::{Kind, Token, tokens};

/// Longest line that is filled, in characters.
const LINE_CHARS: usize = 100;
/// Spaces for each level.
const INDENT_SPACES: usize = 2;

/// The text in its layout; the text must be a Cedar schema.
pub(super) fn layout(text: &str) -> String {
    let mut reader = Reader { tokens: tokens(text).into_iter().peekable() };
    let declarations = reader.declarations();
    let mut page = Page { out: String::new() };
    page.declarations(&declarations, 0);
    page.out
}

/// Comments, each with whether an empty line stands before it.
type Above<'a> = Vec<(&'a str, bool)>;

/// Declarations and the comments behind the last one.
#[derive(Debug, Default)]
struct Declarations<'a> {
    all: Vec<Declaration<'a>>,
    last: Above<'a>,
}

/// Up to a semicolon, or a namespace.
#[derive(Debug, Default)]
struct Declaration<'a> {
    above: Above<'a>,
    /// Whether an empty line stands before its first token.
    apart: bool,
    nodes: Vec<Node<'a>>,
    /// What a namespace holds.
    block: Option<Declarations<'a>>,
    behind: Option<&'a str>,
}

#[derive(Debug)]
enum Node<'a> {
    Token(Token<'a>),
    Group(Group<'a>),
}

/// Braces or brackets.
#[derive(Debug)]
struct Group<'a> {
    open: &'a str,
    close: &'static str,
    /// Whether the author put the first element on a line of its own.
    opened: bool,
    elements: Vec<Element<'a>>,
    last: Above<'a>,
}

/// Between two commas.
#[derive(Debug, Default)]
struct Element<'a> {
    above: Above<'a>,
    nodes: Vec<Node<'a>>,
    comma: bool,
    behind: Option<&'a str>,
}

struct Reader<'a> {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token<'a>>>,
}

impl<'a> Reader<'a> {
    /// Up to the end or to the brace that closes a namespace, which is consumed.
    fn declarations(&mut self) -> Declarations<'a> {
        let mut found = Declarations::default();
        let mut open = Declaration::default();
        while let Some(token) = self.tokens.next() {
            if token.is_comment() {
                open.above.push((token.text, token.lines_before > 1));
                continue;
            }
            if open.nodes.is_empty() {
                if token.is_mark('}') {
                    break;
                }
                open.apart = token.lines_before > 1;
            }
            let is_namespace =
                matches!(open.nodes.first(), Some(Node::Token(first)) if first.text == "namespace");
            let ends = token.is_mark(';');
            if token.is_mark('{') && is_namespace {
                open.block = Some(self.declarations());
            } else {
                let node = self.node(token);
                open.nodes.push(node);
            }
            if ends || open.block.is_some() {
                open.behind = self.behind();
                found.all.push(std::mem::take(&mut open));
            }
        }
        found.last = open.above;
        found
    }

    fn node(&mut self, token: Token<'a>) -> Node<'a> {
        match token.kind {
            Kind::Mark('{') => Node::Group(self.group(token.text, '}', "}")),
            Kind::Mark('[') => Node::Group(self.group(token.text, ']', "]")),
            _ => Node::Token(token),
        }
    }

    fn group(&mut self, open: &'a str, end: char, close: &'static str) -> Group<'a> {
        let opened = self.tokens.peek().is_some_and(|first| first.lines_before > 0);
        let mut elements = Vec::new();
        let mut element = Element::default();
        // Comments behind the last token so far: above what follows, or at the end of the group.
        let mut late = Above::new();
        while let Some(token) = self.tokens.next() {
            if token.is_comment() {
                late.push((token.text, token.lines_before > 1));
            } else if token.is_mark(end) {
                break;
            } else if token.is_mark(',') {
                element.above.append(&mut late);
                element.comma = true;
                element.behind = self.behind();
                elements.push(std::mem::take(&mut element));
            } else {
                element.above.append(&mut late);
                let node = self.node(token);
                element.nodes.push(node);
                let closes = self.tokens.peek().is_some_and(|next| !next.is_mark(','));
                element.behind = if closes { self.behind() } else { None };
            }
        }
        if !element.nodes.is_empty() {
            elements.push(element);
        }
        Group { open, close, opened: opened && !elements.is_empty(), elements, last: late }
    }

    /// A comment on the line that was just read.
    fn behind(&mut self) -> Option<&'a str> {
        let behind = |next: &Token<'_>| next.is_comment() && next.lines_before == 0;
        self.tokens.next_if(behind).map(|comment| comment.text)
    }
}

struct Page {
    out: String,
}

impl Page {
    fn line(&mut self, level: usize) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out.extend(std::iter::repeat_n(' ', level * INDENT_SPACES));
    }

    fn comments(&mut self, above: &[(&str, bool)], level: usize, mut first: bool) {
        for (comment, apart) in above {
            if *apart && !first {
                self.out.push('\n');
            }
            self.line(level);
            self.out.push_str(comment);
            first = false;
        }
    }

    fn declarations(&mut self, declarations: &Declarations<'_>, level: usize) {
        for (index, declaration) in declarations.all.iter().enumerate() {
            self.comments(&declaration.above, level, index == 0);
            if declaration.apart && (index > 0 || !declaration.above.is_empty()) {
                self.out.push('\n');
            }
            self.line(level);
            self.nodes(&declaration.nodes, level, true);
            if let Some(block) = &declaration.block {
                self.out.push_str(" {");
                self.declarations(block, level + 1);
                self.line(level);
                self.out.push('}');
            }
            self.behind(declaration.behind);
        }
        self.comments(&declarations.last, level, declarations.all.is_empty());
        if level == 0 && !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    fn behind(&mut self, comment: Option<&str>) {
        if let Some(comment) = comment {
            self.out.push(' ');
            self.out.push_str(comment);
        }
    }

    /// `annotated`: annotations at the beginning have a line each.
    fn nodes(&mut self, nodes: &[Node<'_>], level: usize, annotated: bool) {
        let mut before: Option<&Node<'_>> = None;
        let mut in_annotation = false;
        let mut open = 0_usize;
        for node in nodes {
            if let Node::Token(token) = node {
                let starts = token.is_mark('@');
                let argument = token.is_mark('(') || open > 0;
                let name = matches!(before, Some(Node::Token(at)) if at.is_mark('@'));
                if in_annotation && annotated && !(argument || name) {
                    self.line(level);
                    before = None;
                }
                in_annotation = starts || (in_annotation && (argument || name));
                open = (open + usize::from(token.is_mark('(')))
                    .saturating_sub(usize::from(token.is_mark(')')));
            }
            if spaced(before, node) {
                self.out.push(' ');
            }
            match node {
                Node::Token(token) => self.out.push_str(token.text),
                Node::Group(group) => self.group(group, level),
            }
            before = Some(node);
        }
    }

    fn group(&mut self, group: &Group<'_>, level: usize) {
        let mut inline = String::new();
        let used = self.out.rsplit('\n').next().map_or(0, |line| line.chars().count());
        // A semicolon or a comma follows.
        if write_inline(group, &mut inline).is_some() && used + inline.chars().count() < LINE_CHARS
        {
            self.out.push_str(&inline);
            return;
        }
        self.out.push_str(group.open);
        for (index, element) in group.elements.iter().enumerate() {
            self.comments(&element.above, level + 1, index == 0);
            self.line(level + 1);
            self.nodes(&element.nodes, level + 1, false);
            if element.comma {
                self.out.push(',');
            }
            self.behind(element.behind);
        }
        self.comments(&group.last, level + 1, group.elements.is_empty());
        self.line(level);
        self.out.push_str(group.close);
    }
}

/// `None` if the group has to have lines of its own.
fn write_inline(group: &Group<'_>, out: &mut String) -> Option<()> {
    if group.opened || !group.last.is_empty() {
        return None;
    }
    let padding = if group.close == "}" && !group.elements.is_empty() { " " } else { "" };
    out.push_str(group.open);
    out.push_str(padding);
    for (index, element) in group.elements.iter().enumerate() {
        if !element.above.is_empty() || element.behind.is_some() {
            return None;
        }
        if index > 0 {
            out.push(' ');
        }
        let mut before = None;
        for node in &element.nodes {
            if spaced(before, node) {
                out.push(' ');
            }
            match node {
                Node::Token(token) => out.push_str(token.text),
                Node::Group(inner) => write_inline(inner, out)?,
            }
            before = Some(node);
        }
        if element.comma {
            out.push(',');
        }
    }
    out.push_str(padding);
    out.push_str(group.close);
    Some(())
}

/// Whether a space stands between two nodes of one line.
fn spaced(before: Option<&Node<'_>>, node: &Node<'_>) -> bool {
    let Some(before) = before else {
        return false;
    };
    let after_glue = matches!(before, Node::Token(token)
        if token.kind == Kind::Path || matches!(token.kind, Kind::Mark('<' | '(' | '@')));
    let glued = matches!(node, Node::Token(token)
        if token.kind == Kind::Path
            || matches!(token.kind, Kind::Mark(',' | ';' | ':' | '?' | '>' | '<' | '(' | ')')));
    !(after_glue || glued)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(text: &str) -> String {
        let out = layout(text);
        assert_eq!(layout(&out), out, "again");
        let words = |text: &str| -> Vec<String> {
            tokens(text).into_iter().map(|token| token.text.to_owned()).collect()
        };
        assert_eq!(words(&out), words(text));
        out
    }

    #[test]
    fn declarations_have_a_line_each_with_even_spaces() {
        let text = "namespace  A :: B{entity  X,Y in[Z]={\"a\"?:Set< String >,b:Long}tags String;\n\n\n\
                    // about z\nentity Z ;type T=__cedar::Long;// behind\n}";
        assert_eq!(
            laid_out(text),
            "namespace A::B {\n  entity X, Y in [Z] = { \"a\"?: Set<String>, b: Long } tags String;\n\n  \
             // about z\n  entity Z;\n  type T = __cedar::Long; // behind\n}\n"
        );
    }

    #[test]
    fn what_is_long_opened_or_commented_has_an_element_a_line() {
        let long = format!("entity A {{ one: {}, two: Long }};", "x".repeat(90));
        assert_eq!(laid_out(&long).lines().count(), 4);
        let opened =
            "action \"a\" appliesTo {\n  principal: [A],\n  resource: B,\n  context: {}\n};\n";
        assert_eq!(laid_out(opened), opened);
        let commented = "entity A { // first\n one: Long, // behind\n // second\n two: Long // last\n // end\n};";
        assert_eq!(
            laid_out(commented),
            "entity A {\n  // first\n  one: Long, // behind\n  // second\n  two: Long // last\n  // end\n};\n"
        );
    }

    #[test]
    fn annotations_stand_above() {
        assert_eq!(
            laid_out("@doc(\"an // a\") @b entity A { @doc(\"x\") a: Long };"),
            "@doc(\"an // a\")\n@b\nentity A { @doc(\"x\") a: Long };\n"
        );
    }

    #[test]
    fn comments_alone_are_kept() {
        assert_eq!(laid_out(""), "");
        assert_eq!(laid_out("\n// a\n\n\n// b\n"), "// a\n\n// b\n");
    }
}
