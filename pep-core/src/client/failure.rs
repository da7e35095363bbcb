//! How an attempt to ask failed: only what was never answered may be asked elsewhere.

use std::error::Error as _;

use lictor_proto::decide::DecideError;
use lictor_proto::reason;
use tonic::{Code, Status};

/// Why one attempt came to nothing.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// The connection was lost, or could not be made: nobody answered.
    Connection(String),
    /// The decision point said so.
    Answered(DecideError),
    /// This side did not even ask: nothing is known of the decision point.
    Unasked(DecideError),
}

impl Failure {
    /// What a status means. One that came over the wire is an answer; one that was made up here
    /// has the error of the connection as its source.
    pub(crate) fn of(status: &Status) -> Self {
        match status.source() {
            Some(_) => Self::Connection(format!("{}: {}", status.code(), status.message())),
            None => Self::Answered(refused(status)),
        }
    }
}

impl From<Failure> for DecideError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Connection(why) => Self::Unavailable(why),
            Failure::Answered(error) | Failure::Unasked(error) => error,
        }
    }
}

/// A status that says something about this enforcement point's connection or credential means
/// that no decision could be had; one about the call is a refusal, by the reason it carries.
pub(crate) fn refused(status: &Status) -> DecideError {
    let named = status.metadata().get("lictor-reason");
    let named = named.and_then(|value| value.to_str().ok());
    let refusal = |fallback: &str| DecideError::Refused {
        id: named.unwrap_or(fallback).to_owned(),
        message: status.message().to_owned(),
    };
    match status.code() {
        Code::InvalidArgument | Code::AlreadyExists | Code::FailedPrecondition | Code::NotFound => {
            refusal(reason::CALL_INVALID)
        }
        Code::ResourceExhausted => refusal(reason::OVERLOADED),
        code => DecideError::Unavailable(format!("{code}: {}", status.message())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_about_the_call_is_a_refusal() {
        let id = |code| refused(&Status::new(code, "x")).reason_id().to_owned();
        assert_eq!(id(Code::InvalidArgument), reason::CALL_INVALID);
        assert_eq!(id(Code::ResourceExhausted), reason::OVERLOADED);
        for code in [
            Code::Unauthenticated,
            Code::PermissionDenied,
            Code::Unavailable,
            Code::Cancelled,
            Code::Internal,
        ] {
            assert_eq!(id(code), reason::PDP_UNAVAILABLE, "{code:?}");
        }
        let mut named = Status::new(Code::FailedPrecondition, "x");
        named.metadata_mut().insert("lictor-reason", "state_unavailable".parse().unwrap());
        assert_eq!(refused(&named).reason_id(), "state_unavailable");
    }

    #[test]
    fn a_status_from_the_wire_is_an_answer_and_a_broken_connection_is_none() {
        let answered = Failure::of(&Status::unavailable("draining"));
        assert!(matches!(answered, Failure::Answered(DecideError::Unavailable(_))));
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let broken = Failure::of(&Status::from_error(Box::new(broken)));
        assert!(matches!(broken, Failure::Connection(_)));
    }
}
