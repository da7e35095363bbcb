//! What of its authority an agent hands on: patterns of actions and resources, read once a bundle.

use std::collections::BTreeMap;

use lictor_proto::call::Call;

use crate::diagnostic::suggest;
use crate::plan::ACTIONS;

/// What stands for anything, alone or at the end of a name.
const ANY: char = '*';

/// One entry of `transferable`: an action and what it is done to, each whole or up to a `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    action: Pattern,
    /// `None`: on anything, also on nothing.
    resource: Option<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Whole(String),
    Prefix(String),
}

impl Pattern {
    fn read(text: &str) -> Option<Self> {
        match text.strip_suffix(ANY) {
            Some(prefix) if !prefix.contains(ANY) => Some(Self::Prefix(prefix.to_owned())),
            None if !text.is_empty() && !text.contains(ANY) => Some(Self::Whole(text.to_owned())),
            _ => None,
        }
    }

    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Whole(whole) => whole == name,
            Self::Prefix(prefix) => name.starts_with(prefix),
        }
    }
}

/// Why an entry grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GrantError {
    /// A name without `/` that is no scope.
    #[error("`{name}` is no scope of the registry{}", or_this(.near))]
    Scope {
        /// The name.
        name: String,
        /// The scope that may be meant.
        near: Option<String>,
    },
    /// No action that anybody can ask about.
    #[error("`{action}` is no action{}", or_this(.near))]
    Action {
        /// The action.
        action: String,
        /// The action that may be meant.
        near: Option<String>,
    },
    /// Not of the form.
    #[error(
        "`{text}` is neither `<action>` nor `<action> <resource>`: `*` may stand only at the end of either"
    )]
    Form {
        /// The text.
        text: String,
    },
}

fn or_this(near: &Option<String>) -> String {
    near.as_ref().map(|near| format!(": did you mean `{near}`?")).unwrap_or_default()
}

impl Grant {
    /// Reads an entry that is no scope's name.
    ///
    /// # Errors
    /// [`GrantError`] for what could never fit a call.
    pub(crate) fn read(text: &str) -> Result<Self, GrantError> {
        let form = || GrantError::Form { text: text.to_owned() };
        let (action, resource) = match text.split_once(' ') {
            Some((action, resource)) => (action, Some(resource)),
            None => (text, None),
        };
        let pattern = Pattern::read(action).ok_or_else(form)?;
        if !ACTIONS.iter().any(|known| pattern.fits(known)) {
            let near = suggest(action, ACTIONS).map(ToOwned::to_owned);
            return Err(GrantError::Action { action: action.to_owned(), near });
        }
        let resource = match resource {
            Some(resource) if resource.contains(char::is_whitespace) => return Err(form()),
            Some(resource) => Some(Pattern::read(resource).ok_or_else(form)?),
            None => None,
        };
        Ok(Self { action: pattern, resource })
    }

    /// Whether it covers what `call` is about.
    pub(crate) fn covers(&self, call: &Call) -> bool {
        let resource = call.resource.as_ref().map_or("", |resource| resource.id.as_str());
        self.action.fits(&call.action.name)
            && self.resource.as_ref().is_none_or(|pattern| pattern.fits(resource))
    }

    /// The resource that it names, if it names one whole.
    pub(crate) fn resource(&self) -> Option<&str> {
        match self.resource.as_ref()? {
            Pattern::Whole(id) => Some(id),
            Pattern::Prefix(_) => None,
        }
    }
}

/// The grants that one entry of `transferable` stands for.
///
/// # Errors
/// [`GrantError`] for a scope that `scopes` lacks, or a bad pattern.
pub(crate) fn grants_of(
    entry: &str,
    scopes: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<Grant>, GrantError> {
    if entry.contains(['/', ANY]) {
        return Ok(vec![Grant::read(entry)?]);
    }
    let Some(entries) = scopes.get(entry) else {
        let near = suggest(entry, scopes.keys().map(String::as_str)).map(ToOwned::to_owned);
        return Err(GrantError::Scope { name: entry.to_owned(), near });
    };
    entries.iter().map(|entry| Grant::read(entry)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lictor_proto::call::{Action, Resource, ResourceKind};

    fn call(action: &str, resource: Option<&str>) -> Call {
        let kind = ResourceKind::Tool;
        Call {
            action: Action { name: action.to_owned() },
            resource: resource.map(|id| Resource { kind, id: id.to_owned() }),
            ..Call::default()
        }
    }

    fn covers(entry: &str, action: &str, resource: Option<&str>) -> bool {
        Grant::read(entry).unwrap().covers(&call(action, resource))
    }

    #[test]
    fn patterns_cover_actions_and_resources() {
        assert!(covers("tools/call", "tools/call", Some("mail/send")));
        assert!(covers("tools/*", "tools/list", Some("mail")));
        assert!(!covers("tools/call", "tools/list", Some("mail")));
        assert!(covers("tools/call mail/*", "tools/call", Some("mail/send")));
        assert!(!covers("tools/call mail/*", "tools/call", Some("mailbox/send")));
        assert!(!covers("tools/call mail/send", "tools/call", Some("mail/send2")));
        assert!(covers("* mail", "tools/list", Some("mail")));
        assert!(covers("*", "session/open", None));
        assert!(covers("session/open", "session/open", None));
        assert!(covers("session/open *", "session/open", None));
        assert!(!covers("session/open mail", "session/open", None));
    }

    #[test]
    fn what_could_never_fit_is_refused() {
        let refused = |entry: &str| Grant::read(entry).unwrap_err().to_string();
        assert!(refused("tools/cal").contains("did you mean `tools/call`?"));
        assert!(refused("mail/*").contains("`mail/*` is no action"));
        for bad in
            ["tools/call a b", "tools/call ", "tools/call a*b", "to*ls/call", "tools/call **"]
        {
            assert!(refused(bad).contains("is neither"), "{bad}");
        }
    }

    #[test]
    fn a_scope_stands_for_its_patterns() {
        let entries = vec!["tools/call mail/*".to_owned(), "session/open".to_owned()];
        let scopes = BTreeMap::from([("mail".to_owned(), entries)]);
        assert_eq!(grants_of("mail", &scopes).unwrap().len(), 2);
        let unknown = grants_of("mial", &scopes).unwrap_err().to_string();
        assert_eq!(unknown, "`mial` is no scope of the registry: did you mean `mail`?");
        // A scope within a scope could lead back to itself.
        let nested = BTreeMap::from([("a".to_owned(), vec!["b".to_owned()])]);
        assert!(grants_of("a", &nested).is_err());
        assert_eq!(grants_of("tools/call", &scopes).unwrap().len(), 1);
    }
}
