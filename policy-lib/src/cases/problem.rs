//! What the readers of a case file say, in the words of its author.

use crate::diagnostic::suggest;

/// One complaint about a value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Complaint {
    pub(super) message: String,
    /// What to do; may be empty.
    pub(super) help: String,
    /// The member that it is about, if the reader named one.
    pub(super) member: Option<String>,
}

impl Complaint {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    pub(super) fn about(mut self, member: &str) -> Self {
        self.member = Some(member.to_owned());
        self
    }

    /// What a reader said: without names of types and places in a text that nobody
    /// wrote, with the nearest name where one is unknown.
    pub(super) fn read(text: &str) -> Self {
        let text = without_place(text);
        let quoted = quoted(text);
        let known = quoted.iter().copied().skip(1);
        let Some(first) = quoted.first().copied() else { return Self::new(plain(text)) };
        if text.contains("unknown field") {
            let known: Vec<&str> = known.collect();
            let help = match suggest(first, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known members: {}", known.join(", ")),
            };
            return Self::new(format!("unknown member `{first}`")).help(help).about(first);
        }
        if text.contains("unknown variant") {
            let known: Vec<&str> = known.collect();
            let message = format!("`{first}` is none of {}", known.join(", "));
            let near = suggest(first, known.iter().copied());
            let help = near.map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
            return Self { message, help, member: None };
        }
        if text.contains("missing field") {
            return Self::new(format!("the member `{first}` is missing"));
        }
        Self::new(plain(text))
    }
}

/// ` at line 1 column 35` of a text that was made on the way.
fn without_place(text: &str) -> &str {
    text.rsplit_once(" at line ").map_or(text, |(said, _)| said)
}

/// Everything between backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// `invalid type: string "x", expected struct Y` without the names of types.
fn plain(text: &str) -> String {
    let Some((said, expected)) = text.rsplit_once("expected ") else { return text.to_owned() };
    let sort = if expected.starts_with("struct ") || expected == "a map" {
        "an object"
    } else if expected == "a sequence" {
        "a list"
    } else {
        expected
    };
    format!("{said}expected {sort}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_readers_say_is_put_into_plain_words() {
        let unknown = Complaint::read(
            "the call has the wrong shape: unknown field `phse`, expected one of `phase`, `call_id` at line 1 column 9",
        );
        assert_eq!(unknown.message, "unknown member `phse`");
        assert_eq!(unknown.help, "did you mean `phase`?");
        assert_eq!(unknown.member.as_deref(), Some("phse"));
        let far = Complaint::read("unknown field `zzzzzz`, expected `name` or `call`");
        assert_eq!(far.help, "known members: name, call");
        let variant = Complaint::read("unknown variant `denny`, expected one of `allow`, `deny`");
        assert_eq!(variant.message, "`denny` is none of allow, deny");
        assert_eq!(variant.help, "did you mean `deny`?");
        assert_eq!(Complaint::read("missing field `name`").message, "the member `name` is missing");
        assert_eq!(
            Complaint::read("invalid type: integer `5`, expected struct File").message,
            "invalid type: integer `5`, expected an object"
        );
        assert_eq!(Complaint::read("no more").message, "no more");
    }
}
