//! What was revoked, and whether a call has part in it. The decision point denies by it, and
//! enforcement points end what is under way: both ask the same [`Set`].

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::call::{Call, Resource, ResourceKind};
use crate::decision::Reason;
use crate::reason;

/// What can be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// An agent of the registry: as the one that acts, and anywhere in a delegation.
    Agent,
    /// On whose authority: the id of the subject.
    User,
    /// One token, key or certificate, by the digest that records show.
    Credential,
    /// One session, by the id that records show.
    Session,
    /// A tool, `<server>/<tool>`.
    Tool,
    /// A model, `<provider>/<model>`.
    Model,
    /// A server with everything on it.
    Server,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Agent,
        Self::User,
        Self::Credential,
        Self::Session,
        Self::Tool,
        Self::Model,
        Self::Server,
    ];

    /// The name in lists, on the command line and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::User => "user",
            Self::Credential => "credential",
            Self::Session => "session",
            Self::Tool => "tool",
            Self::Model => "model",
            Self::Server => "server",
        }
    }

    /// The kind called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The id of the reason to deny with.
    #[must_use]
    pub fn reason_id(self) -> &'static str {
        match self {
            Self::Agent => reason::AGENT_REVOKED,
            Self::User => reason::SUBJECT_REVOKED,
            Self::Credential => reason::CREDENTIAL_REVOKED,
            Self::Session => reason::SESSION_REVOKED,
            Self::Tool => reason::TOOL_REVOKED,
            Self::Model => reason::MODEL_REVOKED,
            Self::Server => reason::SERVER_REVOKED,
        }
    }

    /// Whether it says who acts, so that sessions and approvals end with it.
    #[must_use]
    pub fn is_who(self) -> bool {
        matches!(self, Self::Agent | Self::User | Self::Credential | Self::Session)
    }
}

/// One thing that is revoked. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What sort of thing.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// Why, for operators.
    pub reason: String,
    /// When it was revoked. It says nothing about when it begins to hold: that is at once.
    pub since_ms: i64,
    /// From when on it holds no more; `None` holds until it is taken back.
    pub until_ms: Option<i64>,
}

impl Entry {
    /// Whether it holds at `now_ms`.
    #[must_use]
    pub fn holds(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until_ms| now_ms < until_ms)
    }
}

/// Type of a party that is an agent.
const AGENT: &str = "agent";

/// Everything about a call by which it can be revoked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Involved {
    /// The agent, every actor of the delegation and a subject that is an agent, under each of
    /// their names.
    pub agents: Vec<String>,
    /// On whose authority.
    pub subject: Option<String>,
    /// How the caller proved itself.
    pub credential: Option<String>,
    /// The session.
    pub session: Option<String>,
    /// What is used.
    pub resource: Option<Resource>,
}

impl Involved {
    /// Who and what has part in `call`, which belongs to `session`.
    #[must_use]
    pub fn of(call: &Call, session: Option<&str>) -> Self {
        let mut involved = Self {
            agents: Vec::new(),
            subject: call.subject.as_ref().map(|party| party.id.clone()),
            credential: call.credential.as_ref().map(|credential| credential.id.clone()),
            session: session.map(str::to_owned),
            resource: call.resource.clone(),
        };
        involved.also(call);
        if let Some(resource) = call.resource.as_ref().filter(|r| r.kind == ResourceKind::Agent) {
            involved.agents.push(resource.id.clone());
        }
        involved
    }

    /// Adds the names that agents have in `call`, which may be others for the same agents.
    pub fn also(&mut self, call: &Call) {
        // An agent on whose authority others act has as much part in what they do.
        let subject = call.subject.iter().filter(|subject| subject.kind == AGENT);
        for party in call.agent.iter().chain(&call.delegation).chain(subject) {
            self.agents.push(party.id.clone());
        }
    }
}

/// An entry that a call has part in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What sort of thing is revoked.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// Why, for operators.
    pub why: String,
}

impl Found {
    /// The reason to deny with. Why it was revoked is for operators only.
    #[must_use]
    pub fn reason(&self) -> Reason {
        let message = format!("the {} `{}` is revoked", self.kind.as_str(), self.id);
        Reason::new(self.kind.reason_id(), message).with_detail(self.why.clone())
    }
}

/// Entries by kind and id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Set {
    by_kind: HashMap<Kind, HashMap<String, Entry>>,
}

impl FromIterator<Entry> for Set {
    /// Of two entries for one thing the one that holds longer counts.
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut set = Self::default();
        for entry in entries {
            let ids = set.by_kind.entry(entry.kind).or_default();
            let longer = ids.get(&entry.id).is_none_or(|known| lasts_longer(&entry, known));
            if longer {
                ids.insert(entry.id.clone(), entry);
            }
        }
        set
    }
}

fn lasts_longer(a: &Entry, b: &Entry) -> bool {
    let end = |entry: &Entry| entry.until_ms.unwrap_or(i64::MAX);
    end(a) > end(b)
}

impl Set {
    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_kind.is_empty()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_kind.values().map(HashMap::len).sum()
    }

    /// The entry for `id`.
    #[must_use]
    pub fn get(&self, kind: Kind, id: &str) -> Option<&Entry> {
        self.by_kind.get(&kind)?.get(id)
    }

    /// Every entry, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.by_kind.values().flat_map(HashMap::values)
    }

    /// The first entry that holds at `now_ms` and that whoever is `involved` has part in: who
    /// acts comes before what is used.
    #[must_use]
    pub fn find(&self, involved: &Involved, now_ms: i64) -> Option<Found> {
        if self.is_empty() {
            return None;
        }
        let entry = self.who(involved, now_ms).or_else(|| {
            let resource = involved.resource.as_ref()?;
            self.what(resource, now_ms)
        })?;
        Some(Found { kind: entry.kind, id: entry.id.clone(), why: entry.reason.clone() })
    }

    fn who(&self, involved: &Involved, now_ms: i64) -> Option<&Entry> {
        let agents = involved.agents.iter().map(|id| (Kind::Agent, id));
        let subject = involved.subject.iter().map(|id| (Kind::User, id));
        let credential = involved.credential.iter().map(|id| (Kind::Credential, id));
        let session = involved.session.iter().map(|id| (Kind::Session, id));
        let mut names = agents.chain(subject).chain(credential).chain(session);
        names.find_map(|(kind, id)| self.holding(kind, id, now_ms))
    }

    fn what(&self, resource: &Resource, now_ms: i64) -> Option<&Entry> {
        let id = resource.id.as_str();
        match resource.kind {
            ResourceKind::Model => self.holding(Kind::Model, id, now_ms),
            ResourceKind::Server => self.server(id, now_ms),
            ResourceKind::Tool => {
                self.holding(Kind::Tool, id, now_ms).or_else(|| self.server(id, now_ms))
            }
            ResourceKind::Resource | ResourceKind::Prompt => self.server(id, now_ms),
            ResourceKind::Agent | ResourceKind::Memory => None,
        }
    }

    /// A server, or the one that `id` is on: ids are `<server>/…`, and a server's own id may
    /// hold slashes.
    fn server(&self, id: &str, now_ms: i64) -> Option<&Entry> {
        self.by_kind.get(&Kind::Server)?;
        let ends = id.match_indices('/').map(|(at, _)| at).chain([id.len()]);
        let mut names = ends.filter_map(|end| id.get(..end));
        names.find_map(|server| self.holding(Kind::Server, server, now_ms))
    }

    fn holding(&self, kind: Kind, id: &str, now_ms: i64) -> Option<&Entry> {
        self.get(kind, id).filter(|entry| entry.holds(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Credential, CredentialKind, Party};

    fn entry(kind: Kind, id: &str) -> Entry {
        Entry { kind, id: id.into(), reason: "stolen".into(), since_ms: 0, until_ms: None }
    }

    fn call() -> Call {
        Call {
            subject: Some(Party::new("user", "alice")),
            agent: Some(Party::new("agent", "bot")),
            delegation: vec![Party::new("agent", "planner")],
            credential: Some(Credential {
                kind: CredentialKind::Jwt,
                id: "sha256:1".into(),
                issuer: String::new(),
            }),
            resource: Some(Resource { kind: ResourceKind::Tool, id: "mail/send".into() }),
            ..Call::default()
        }
    }

    fn found(entries: Vec<Entry>, call: &Call) -> Option<&'static str> {
        let set: Set = entries.into_iter().collect();
        set.find(&Involved::of(call, Some("s-1")), 100).map(|found| found.kind.reason_id())
    }

    #[test]
    fn each_kind_is_found_where_it_has_part() {
        for (kind, id, reason) in [
            (Kind::Agent, "bot", "agent_revoked"),
            (Kind::Agent, "planner", "agent_revoked"),
            (Kind::User, "alice", "subject_revoked"),
            (Kind::Credential, "sha256:1", "credential_revoked"),
            (Kind::Session, "s-1", "session_revoked"),
            (Kind::Tool, "mail/send", "tool_revoked"),
            (Kind::Server, "mail", "server_revoked"),
        ] {
            assert_eq!(found(vec![entry(kind, id)], &call()), Some(reason), "{kind:?} {id}");
        }
        let wrong = [
            (Kind::User, "bot"),
            (Kind::Agent, "alice"),
            (Kind::Tool, "mail/sen"),
            (Kind::Server, "mai"),
            (Kind::Server, "mail/send/x"),
            (Kind::Model, "mail/send"),
            (Kind::Session, "s-2"),
        ];
        for (kind, id) in wrong {
            assert_eq!(found(vec![entry(kind, id)], &call()), None, "{kind:?} {id}");
        }
    }

    #[test]
    fn a_server_takes_everything_on_it_along_and_models_have_none() {
        let on = |kind, id: &str| {
            let resource = Some(Resource { kind, id: id.into() });
            found(vec![entry(Kind::Server, "a/b")], &Call { resource, ..Call::default() })
        };
        for kind in [ResourceKind::Tool, ResourceKind::Resource, ResourceKind::Prompt] {
            assert_eq!(on(kind, "a/b/c"), Some("server_revoked"), "{kind:?}");
            assert_eq!(on(kind, "a/c"), None, "{kind:?}");
        }
        assert_eq!(on(ResourceKind::Server, "a/b"), Some("server_revoked"));
        assert_eq!(on(ResourceKind::Model, "a/b"), None);
        let resource = Some(Resource { kind: ResourceKind::Model, id: "openai/gpt-5".into() });
        let model = Call { resource, ..Call::default() };
        let entries = vec![entry(Kind::Model, "openai/gpt-5")];
        assert_eq!(found(entries, &model), Some("model_revoked"));
    }

    #[test]
    fn an_agent_that_is_called_or_opens_a_session_is_one_as_well() {
        let resource = Some(Resource { kind: ResourceKind::Agent, id: "bot".into() });
        let call = Call { resource, ..Call::default() };
        assert_eq!(found(vec![entry(Kind::Agent, "bot")], &call), Some("agent_revoked"));
    }

    #[test]
    fn an_agent_on_whose_authority_others_act_is_one_as_well() {
        let subject = |kind| Some(Party::new(kind, "root"));
        let of = |kind| {
            found(vec![entry(Kind::Agent, "root")], &Call { subject: subject(kind), ..call() })
        };
        assert_eq!((of("agent"), of("user")), (Some("agent_revoked"), None));
        let call = Call { subject: subject("agent"), ..call() };
        assert_eq!(found(vec![entry(Kind::User, "root")], &call), Some("subject_revoked"));
    }

    #[test]
    fn an_entry_holds_until_its_end_and_not_at_it() {
        let until = |until_ms| vec![Entry { until_ms, ..entry(Kind::Agent, "bot") }];
        assert_eq!(found(until(Some(101)), &call()), Some("agent_revoked"));
        assert_eq!(found(until(Some(100)), &call()), None);
        let mut both = until(Some(100));
        both.extend(until(None));
        both.extend(until(Some(99)));
        assert_eq!(found(both, &call()), Some("agent_revoked"), "the longest counts");
    }

    #[test]
    fn why_is_not_for_the_caller() {
        let set: Set = [entry(Kind::Agent, "bot")].into_iter().collect();
        let reason = set.find(&Involved::of(&call(), None), 0).unwrap().reason();
        assert_eq!(reason.message, "the agent `bot` is revoked");
        assert_eq!(reason.detail, "stolen");
    }

    #[test]
    fn names_are_the_same_in_code_and_in_json() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(Kind::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::from_name("Agent"), None);
    }
}
