//! Why the decision point itself denies, without any policy's word.

use lictor_proto::decision::Reason;
use lictor_proto::reason;

use crate::session::HandleError;
use crate::state::StateError;

pub(super) fn unknown_session(error: HandleError) -> Reason {
    let message = "the session is unknown or has expired: open a new one";
    Reason::new(reason::SESSION_UNKNOWN, message).with_detail(error.to_string())
}

pub(super) fn state_failure(error: &StateError) -> Reason {
    let id = match error {
        StateError::SessionUnknown => reason::SESSION_UNKNOWN,
        _ => reason::STATE_UNAVAILABLE,
    };
    Reason::new(id, error.to_string())
}

pub(super) fn reused() -> Reason {
    Reason::new(reason::CALL_ID_REUSED, "this call id belongs to another call: make a new one")
}

pub(super) fn abandoned() -> Reason {
    Reason::new(reason::CALL_ABANDONED, "this call was given up before it was decided")
}
