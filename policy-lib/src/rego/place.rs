//! Places in policy texts. The engine reports them only inside its messages.

/// A place in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Name in the bundle.
    pub(crate) file: String,
    /// Line, from 1.
    pub(crate) line: u32,
    /// Column in characters, from 1.
    pub(crate) col: u32,
}

impl Place {
    /// The first place that a message of the engine names, as `--> file:line:col`
    /// or at the start of a line.
    pub(crate) fn find(message: &str) -> Option<Self> {
        message.lines().find_map(|line| match line.strip_prefix("--> ") {
            Some(place) => Self::parse(place),
            None => Self::parse(line.split_whitespace().next()?),
        })
    }

    fn parse(place: &str) -> Option<Self> {
        let (rest, col) = place.trim_end().trim_end_matches(':').rsplit_once(':')?;
        let (file, row) = rest.rsplit_once(':')?;
        let place = Self { file: file.to_owned(), line: row.parse().ok()?, col: col.parse().ok()? };
        (!place.file.is_empty()).then_some(place)
    }

    /// `file:line`, as decisions name a policy.
    pub(crate) fn policy(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// What a message of the engine says, without its drawing of the source.
pub(crate) fn engine_message(text: &str) -> String {
    let said = match text.split_once("recursion detected") {
        Some(_) => "the rule depends on itself",
        None => text.rsplit_once("error: ").map_or(text, |(_, said)| said),
    };
    // A second place may follow.
    let said = said.split("-->").next().unwrap_or(said);
    let mut line = String::new();
    for part in said.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(part);
    }
    line.chars().take(MAX_MESSAGE_CHARS).collect()
}

/// Longest message of the engine that is passed on, in characters.
const MAX_MESSAGE_CHARS: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_and_the_last_message_count() {
        let text = "\n--> rego/a/b.rego:12:3\n   |\n12 | x\n   |   ^\nerror: \n--> builtin:1:1\nerror: no  argument";
        let place = Place::find(text).unwrap();
        assert_eq!((place.policy().as_str(), place.col), ("rego/a/b.rego:12", 3));
        assert_eq!(engine_message(text), "no argument");
        assert_eq!(Place::find("nothing here"), None);
        assert_eq!(engine_message(&"x".repeat(1000)).len(), MAX_MESSAGE_CHARS);
    }
}
