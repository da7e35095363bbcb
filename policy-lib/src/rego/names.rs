//! The closed vocabulary of a policy unit, and the names that are the loader's own.

/// The package that holds policy units.
pub(crate) const ROOT: &str = "lictor";
/// Every name that starts so belongs to the loader.
pub(crate) const RESERVED: &str = "_lictor";

/// A rule that takes part in decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Decision {
    Allow,
    Deny,
    Ask,
    Obligations,
    Limits,
    Labels,
    List,
}

impl Decision {
    pub(crate) const ALL: [Self; 7] = [
        Self::Allow,
        Self::Deny,
        Self::Ask,
        Self::Obligations,
        Self::Limits,
        Self::Labels,
        Self::List,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Ask => "ask",
            Self::Obligations => "obligations",
            Self::Limits => "limits",
            Self::Labels => "labels",
            Self::List => "list",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|decision| decision.name() == name)
    }

    /// How the rule is written.
    pub(crate) fn form(self) -> &'static str {
        match self {
            Self::Allow => "`allow if ...` or `allow contains \"id\" if ...`",
            Self::Deny => "`deny contains {\"id\": ..., \"message\": ...} if ...`",
            Self::Ask => {
                "`ask contains {\"id\": ..., \"message\": ..., \"approvers\": [...]} if ...`"
            }
            Self::Obligations => {
                "`obligations contains {\"id\": ..., \"type\": ..., \"properties\": {...}} if ...`"
            }
            Self::Limits => "`limits contains {\"id\": ..., \"key\": ...} if ...`",
            Self::Labels => "`labels contains \"...\" if ...`",
            Self::List => "`list if ...`",
        }
    }

    /// `allow` and `list` may be plain conditions.
    pub(crate) fn may_be_condition(self) -> bool {
        matches!(self, Self::Allow | Self::List)
    }

    /// All but `list` may be sets.
    pub(crate) fn may_be_set(self) -> bool {
        self != Self::List
    }
}

/// `test_x` or `todo_test_x`.
pub(crate) fn is_test(name: &str) -> bool {
    name.starts_with("test_") || name.starts_with("todo_test_")
}

/// `[a-z][a-z0-9_]*`
pub(crate) fn is_unit(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// `[a-z0-9_.]+`, the form of every id in a decision.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.')
}

/// A name that needs no quotes in a Rego reference.
pub(crate) fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `data.a.b["c-d"]`
pub(crate) fn data_path(parts: &[String]) -> String {
    let mut path = String::from("data");
    for part in parts {
        if is_identifier(part) {
            path.push('.');
            path.push_str(part);
        } else {
            path.push('[');
            lictor_proto::json::text::quote(&mut path, part);
            path.push(']');
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_forms() {
        assert!(is_unit("expense2_x") && !is_unit("2x") && !is_unit("Expense") && !is_unit(""));
        assert!(is_id("a.b_2") && !is_id("a-b") && !is_id("") && !is_id("A"));
        assert!(is_test("test_x") && is_test("todo_test_x") && !is_test("tests"));
        assert_eq!(data_path(&["a".to_owned(), "b-c".to_owned()]), "data.a[\"b-c\"]");
        for decision in Decision::ALL {
            assert_eq!(Decision::from_name(decision.name()), Some(decision));
        }
    }
}
