//! Lines of a case file. The YAML reader gives values without places, so they are
//! looked up in the text.

/// The text of a case file by line.
pub(super) struct Places<'t> {
    lines: Vec<&'t str>,
}

/// Lines from the first to the last, from 1, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Range {
    pub(super) first: u32,
    pub(super) last: u32,
}

impl<'t> Places<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self { lines: text.lines().collect() }
    }

    /// Where each item of the list `section` at the top of the file stands. `count` is
    /// how many there are: an item that is written in a way that this does not see,
    /// such as `[{...}, {...}]` on one line, gets the lines of the whole section.
    pub(super) fn items(&self, section: &str, count: usize) -> Vec<Range> {
        let whole = self.section(section).unwrap_or(Range { first: 1, last: self.last() });
        let starts = self.item_lines(whole);
        if starts.len() != count {
            return vec![whole; count];
        }
        let ends = starts.iter().skip(1).map(|next| next.saturating_sub(1)).chain([whole.last]);
        starts.iter().zip(ends).map(|(first, last)| Range { first: *first, last }).collect()
    }

    /// Lines of a member at the top of the file, up to the next one.
    pub(super) fn section(&self, name: &str) -> Option<Range> {
        let first = self.numbered().find(|(_, line)| top_key(line) == Some(name))?.0;
        let next =
            self.numbered().find(|(number, line)| *number > first && top_key(line).is_some());
        Some(Range { first, last: next.map_or(self.last(), |(number, _)| number - 1) })
    }

    /// Lines in `range` at which an item of the outermost list begins.
    fn item_lines(&self, range: Range) -> Vec<u32> {
        let inside =
            || self.numbered().filter(|(number, _)| (range.first..=range.last).contains(number));
        let Some(indent) = inside().find(|(_, line)| is_item(line)).map(|(_, line)| indent(line))
        else {
            return Vec::new();
        };
        let of_list = |line: &str| is_item(line) && self::indent(line) == indent;
        inside().filter(|(_, line)| of_list(line)).map(|(number, _)| number).collect()
    }

    /// Line and column of the first member named `key` in `range`; column in characters.
    pub(super) fn key(&self, key: &str, range: Range) -> Option<(u32, u32)> {
        let mut inside =
            self.numbered().filter(|(number, _)| (range.first..=range.last).contains(number));
        inside.find_map(|(number, line)| Some((number, key_column(line, key)?)))
    }

    fn numbered(&self) -> impl Iterator<Item = (u32, &'t str)> {
        (1..).zip(self.lines.iter().copied())
    }

    fn last(&self) -> u32 {
        u32::try_from(self.lines.len()).unwrap_or(u32::MAX)
    }
}

/// The name of a member that begins in the first column.
fn top_key(line: &str) -> Option<&str> {
    if line.starts_with([' ', '\t', '-', '#', '}', ']']) {
        return None;
    }
    let (name, _) = line.split_once(':')?;
    Some(name.trim_end().trim_matches(['"', '\'']))
}

fn is_item(line: &str) -> bool {
    let line = line.trim_start_matches(' ');
    line == "-" || line.starts_with("- ")
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The column of `key` where a colon follows it and nothing of a longer word is before.
fn key_column(line: &str, key: &str) -> Option<u32> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let mut from = 0;
    while let Some(found) = line.get(from..)?.find(key) {
        let start = from + found;
        let before = line.get(..start)?.chars().next_back();
        let after = line.get(start + key.len()..)?.trim_start_matches(['"', '\'']);
        let begins = before.is_none_or(|c| matches!(c, ' ' | '{' | ',' | '"' | '\''));
        if begins && after.trim_start().starts_with(':') {
            return u32::try_from(line.get(..start)?.chars().count() + 1).ok();
        }
        from = start + key.len().max(1);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# cases:\nnow: x\ncases:\n  - name: a\n    call: {phase: list}\n  # - name: no\n  -\n    name: b\n    facts:\n      - x\nmatrix:\n- name: m\n  agents:\n    a-1: [allow]\n";

    #[test]
    fn items_are_found_by_their_indentation() {
        let places = Places::of(TEXT);
        let range = |first, last| Range { first, last };
        assert_eq!(places.items("cases", 2), [range(4, 6), range(7, 10)]);
        assert_eq!(places.items("matrix", 1), [range(12, 14)]);
        assert_eq!(places.items("cases", 3), vec![range(3, 10); 3]);
        assert_eq!(places.items("none", 1), [range(1, 14)]);
    }

    #[test]
    fn members_are_found_in_their_item_only() {
        let places = Places::of(TEXT);
        let all = Range { first: 1, last: 14 };
        assert_eq!(places.key("phase", all), Some((5, 12)));
        assert_eq!(places.key("hase", all), None);
        assert_eq!(places.key("phase", Range { first: 7, last: 10 }), None);
        assert_eq!(places.key("a-1", all), Some((14, 5)));
        assert_eq!(places.key("list", all), None);
        assert_eq!(key_column("{\"ä\": 1, \"key\" : 2}", "key"), Some(11));
    }
}
