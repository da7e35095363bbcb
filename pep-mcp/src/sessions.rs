//! Legacy sessions: who made them, the handle that came with them, and calls whose stream ended
//! before their answer, which may still come on another stream of the same session.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lictor_pep_core::revoked::Guard;
use lictor_pep_core::{Flight, Identity};

use crate::ingress::Inbound;

/// Most sessions that are remembered; past it the ones unused for longest are forgotten, and their
/// clients initialise again.
pub(crate) const MAX_SESSIONS: usize = 16_384;
/// Most calls of one session that wait for their answers on another stream.
pub(crate) const MAX_SUSPENDED_CALLS: usize = 32;
/// Most ids of requests that are remembered for one session.
pub(crate) const MAX_REQUEST_IDS: usize = 1024;
/// Longest session id that is passed on, bytes.
pub(crate) const MAX_SESSION_ID_BYTES: usize = 256;

/// Who made a session. A changed token of the same caller is the same principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    server: String,
    tenant: String,
    subject: Option<String>,
    agent: Option<String>,
}

impl Principal {
    pub(crate) fn new(server: &str, identity: &Identity) -> Self {
        Self {
            server: server.to_owned(),
            tenant: identity.tenant.clone(),
            subject: identity.subject.as_ref().map(|party| party.id.clone()),
            agent: identity.agent.as_ref().map(|party| party.id.clone()),
        }
    }
}

/// A call whose stream ended before its answer.
#[derive(Debug)]
pub(crate) struct Suspended {
    pub(crate) flight: Flight,
    pub(crate) inbound: Inbound,
}

#[derive(Debug)]
struct Session {
    principal: Principal,
    handle: Option<String>,
    /// Tells whether whoever made it is revoked.
    guard: Option<Guard>,
    used: u64,
    ids: RequestIds,
    suspended: HashMap<String, Suspended>,
}

/// The ids of the requests of one session. An id that came twice names no call for certain: the
/// answer to one could come where the other waits, and be examined as the other's.
#[derive(Debug, Default)]
struct RequestIds {
    /// The highest integer; one above it is new, however many came before.
    highest: Option<i64>,
    /// Hashes. Two ids that share one only lose the right to wait.
    seen: HashSet<u64>,
    twice: HashSet<u64>,
}

impl RequestIds {
    fn hash_of(id: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        hasher.finish()
    }

    /// Notes a request; whether its id is new for certain.
    fn note(&mut self, id: &str) -> bool {
        let hash = Self::hash_of(id);
        let number = id.parse::<i64>().ok();
        let above = number.is_some_and(|number| self.highest.is_none_or(|top| number > top));
        if above {
            self.highest = number;
        }
        let room = self.seen.len() < MAX_REQUEST_IDS;
        let new = above || (room && !self.seen.contains(&hash));
        if room {
            self.seen.insert(hash);
        }
        if !new && self.twice.len() < MAX_REQUEST_IDS {
            self.twice.insert(hash);
        }
        new
    }

    /// Whether a call with this id may wait for its answer on another stream.
    fn may_wait(&self, id: &str) -> bool {
        self.twice.len() < MAX_REQUEST_IDS && !self.twice.contains(&Self::hash_of(id))
    }
}

/// The sessions of this process. A session that is not here is unknown, also after a restart:
/// clients initialise again.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<(String, String), Session>,
    tick: u64,
}

impl Sessions {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one statement, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Binds a session to who made it. Returns calls that nobody can answer any more.
    pub(crate) fn bind(
        &self,
        id: &str,
        principal: Principal,
        handle: Option<String>,
        guard: Option<Guard>,
    ) -> Vec<Suspended> {
        let mut state = self.state();
        let mut lost = Vec::new();
        if state.sessions.len() >= MAX_SESSIONS {
            lost = state.forget_oldest();
        }
        state.tick += 1;
        let used = state.tick;
        let key = (principal.server.clone(), id.to_owned());
        let (ids, suspended) = (RequestIds::default(), HashMap::new());
        let session = Session { principal, handle, guard, used, ids, suspended };
        if let Some(old) = state.sessions.insert(key, session) {
            lost.extend(old.suspended.into_values());
        }
        lost
    }

    /// Whether `principal` may use the session; its handle, if it has one.
    pub(crate) fn enter(&self, id: &str, principal: &Principal) -> Option<Option<String>> {
        let mut state = self.state();
        state.tick += 1;
        let used = state.tick;
        let session = state.sessions.get_mut(&(principal.server.clone(), id.to_owned()))?;
        if session.principal != *principal {
            return None;
        }
        session.used = used;
        Some(session.handle.clone())
    }

    /// Forgets a session that was ended. Returns calls that nobody can answer any more.
    pub(crate) fn end(&self, id: &str, server: &str) -> Vec<Suspended> {
        let ended = self.state().sessions.remove(&(server.to_owned(), id.to_owned()));
        ended.map(|session| session.suspended.into_values().collect()).unwrap_or_default()
    }

    /// Forgets the sessions of whoever is revoked. Returns calls that nobody may answer any more.
    pub(crate) fn end_revoked(&self) -> Vec<Suspended> {
        let mut lost = Vec::new();
        self.state().sessions.retain(|_, session| {
            let revoked = session.guard.as_ref().is_some_and(Guard::is_listed);
            if revoked {
                lost.extend(session.suspended.drain().map(|(_, call)| call));
            }
            !revoked
        });
        lost
    }

    /// Notes that a request with this id (JSON text) was made. Returns the call that waited under
    /// the same id, which nobody can tell from the new one any more.
    pub(crate) fn begin(&self, id: &str, server: &str, request_id: &str) -> Option<Suspended> {
        let mut state = self.state();
        let session = state.sessions.get_mut(&(server.to_owned(), id.to_owned()))?;
        if session.ids.note(request_id) { None } else { session.suspended.remove(request_id) }
    }

    /// Keeps a call for an answer on another stream. Gives it back where it cannot be kept.
    pub(crate) fn suspend(&self, id: &str, server: &str, call: Suspended) -> Option<Suspended> {
        let mut state = self.state();
        let Some(request_id) = call.inbound.id().map(str::to_owned) else {
            return Some(call);
        };
        match state.sessions.get_mut(&(server.to_owned(), id.to_owned())) {
            Some(session)
                if session.suspended.len() < MAX_SUSPENDED_CALLS
                    && session.ids.may_wait(&request_id) =>
            {
                session.suspended.insert(request_id, call)
            }
            _ => Some(call),
        }
    }

    /// Takes the call that waits for the answer to `request_id` (JSON text).
    pub(crate) fn resume(&self, id: &str, server: &str, request_id: &str) -> Option<Suspended> {
        let mut state = self.state();
        let session = state.sessions.get_mut(&(server.to_owned(), id.to_owned()))?;
        session.suspended.remove(request_id)
    }
}

impl State {
    /// Forgets the half that was unused for longest.
    fn forget_oldest(&mut self) -> Vec<Suspended> {
        let mut used: Vec<u64> = self.sessions.values().map(|session| session.used).collect();
        used.sort_unstable();
        let Some(limit) = used.get(used.len() / 2).copied() else {
            return Vec::new();
        };
        let old: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.used < limit)
            .map(|(key, _)| key.clone())
            .collect();
        let gone = old.iter().filter_map(|key| self.sessions.remove(key));
        gone.flat_map(|session| session.suspended.into_values()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(server: &str, subject: &str) -> Principal {
        Principal {
            server: server.into(),
            tenant: "default".into(),
            subject: Some(subject.into()),
            agent: None,
        }
    }

    #[test]
    fn a_session_belongs_to_who_made_it() {
        let sessions = Sessions::default();
        sessions.bind("s", principal("files", "alice"), Some("handle".into()), None);
        let alice = sessions.enter("s", &principal("files", "alice"));
        assert_eq!(alice, Some(Some("handle".into())));
        assert_eq!(sessions.enter("s", &principal("files", "bob")), None);
        assert_eq!(sessions.enter("s", &principal("mail", "alice")), None);
        sessions.end("s", "files");
        assert_eq!(sessions.enter("s", &principal("files", "alice")), None);
    }

    #[test]
    fn an_id_that_came_twice_waits_for_nothing() {
        let mut ids = RequestIds::default();
        for (id, new) in [("1", true), ("3", true), ("2", true), ("\"a\"", true), ("4", true)] {
            assert_eq!((ids.note(id), ids.may_wait(id)), (new, true), "{id}");
        }
        for id in ["1", "\"a\"", "4"] {
            assert!(!ids.note(id) && !ids.may_wait(id), "{id}");
        }
        assert!(ids.may_wait("3"));
    }

    #[test]
    fn past_the_memory_for_ids_only_higher_numbers_are_new() {
        let mut ids = RequestIds::default();
        for number in 0..MAX_REQUEST_IDS {
            assert!(ids.note(&format!("\"{number}\"")));
        }
        assert!(!ids.note("\"one more\"") && !ids.may_wait("\"one more\""));
        assert!(ids.note("7") && ids.may_wait("7"));
        assert!(!ids.note("7") && !ids.may_wait("7"));
    }

    #[test]
    fn the_number_of_sessions_is_bounded_and_the_used_ones_stay() {
        let sessions = Sessions::default();
        for number in 0..MAX_SESSIONS {
            sessions.bind(&number.to_string(), principal("f", "alice"), None, None);
        }
        assert!(sessions.enter("0", &principal("f", "alice")).is_some());
        sessions.bind("one more", principal("f", "alice"), None, None);
        assert!(sessions.state().sessions.len() <= MAX_SESSIONS);
        assert!(sessions.enter("0", &principal("f", "alice")).is_some());
        assert!(sessions.enter("1", &principal("f", "alice")).is_none());
        assert!(sessions.enter("one more", &principal("f", "alice")).is_some());
    }
}
