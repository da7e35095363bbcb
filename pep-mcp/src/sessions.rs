//! Legacy sessions: who made them, the handle that came with them, and calls whose stream ended
//! before their answer, which may still come on another stream of the same session.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lictor_pep_core::{Flight, Identity};

use crate::ingress::Inbound;

/// Most sessions that are remembered; past it the ones unused for longest are forgotten, and their
/// clients initialise again.
pub(crate) const MAX_SESSIONS: usize = 16_384;
/// Most calls of one session that wait for their answers on another stream.
pub(crate) const MAX_SUSPENDED_CALLS: usize = 32;
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
    used: u64,
    suspended: HashMap<String, Suspended>,
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
    ) -> Vec<Suspended> {
        let mut state = self.state();
        let mut lost = Vec::new();
        if state.sessions.len() >= MAX_SESSIONS {
            lost = state.forget_oldest();
        }
        state.tick += 1;
        let used = state.tick;
        let key = (principal.server.clone(), id.to_owned());
        let session = Session { principal, handle, used, suspended: HashMap::new() };
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

    /// Keeps a call for an answer on another stream. Gives it back where it cannot be kept.
    pub(crate) fn suspend(&self, id: &str, server: &str, call: Suspended) -> Option<Suspended> {
        let mut state = self.state();
        let Some(request_id) = call.inbound.id().map(str::to_owned) else {
            return Some(call);
        };
        match state.sessions.get_mut(&(server.to_owned(), id.to_owned())) {
            Some(session) if session.suspended.len() < MAX_SUSPENDED_CALLS => {
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
        sessions.bind("s", principal("files", "alice"), Some("handle".into()));
        let alice = sessions.enter("s", &principal("files", "alice"));
        assert_eq!(alice, Some(Some("handle".into())));
        assert_eq!(sessions.enter("s", &principal("files", "bob")), None);
        assert_eq!(sessions.enter("s", &principal("mail", "alice")), None);
        sessions.end("s", "files");
        assert_eq!(sessions.enter("s", &principal("files", "alice")), None);
    }

    #[test]
    fn the_number_of_sessions_is_bounded_and_the_used_ones_stay() {
        let sessions = Sessions::default();
        for number in 0..MAX_SESSIONS {
            sessions.bind(&number.to_string(), principal("f", "alice"), None);
        }
        assert!(sessions.enter("0", &principal("f", "alice")).is_some());
        sessions.bind("one more", principal("f", "alice"), None);
        assert!(sessions.state().sessions.len() <= MAX_SESSIONS);
        assert!(sessions.enter("0", &principal("f", "alice")).is_some());
        assert!(sessions.enter("1", &principal("f", "alice")).is_none());
        assert!(sessions.enter("one more", &principal("f", "alice")).is_some());
    }
}
