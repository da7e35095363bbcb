//! Revocations to protobuf and back.

use super::{Result, WireError, closed, present};
use crate::decide::{DecideError, Revocations};
use crate::pb;
use crate::revocation::{Entry, Kind};

/// What enforcement points are told. Why something was revoked stays with the decision point.
#[must_use]
pub fn revocations_to_pb(revocations: &Revocations) -> pb::RevocationsResponse {
    let told = |entry: &Entry| pb::Revoked {
        kind: entry.kind.as_str().to_owned(),
        id: entry.id.clone(),
        until_ms: entry.until_ms.unwrap_or_default(),
    };
    pb::RevocationsResponse {
        version: revocations.version,
        entries: revocations.entries.iter().map(told).collect(),
        stale: revocations.stale,
    }
}

/// Protobuf to what an enforcement point holds streams against.
///
/// # Errors
/// [`DecideError::Refused`] for a kind that is not known: it must not be passed over.
pub fn revocations_from_pb(
    response: pb::RevocationsResponse,
) -> std::result::Result<Revocations, DecideError> {
    let entry = |told: pb::Revoked| -> Result<Entry> {
        Ok(Entry {
            kind: closed::<Kind>("kind of revocation", &told.kind)?,
            id: told.id,
            reason: String::new(),
            since_ms: 0,
            until_ms: (told.until_ms != 0).then_some(told.until_ms),
        })
    };
    let refused = |error: WireError| DecideError::Refused {
        id: error.id.to_owned(),
        message: format!("the decision point's list is not usable: {}", error.message),
    };
    let entries: Result<Vec<Entry>> = response.entries.into_iter().map(entry).collect();
    Ok(Revocations {
        version: response.version,
        entries: entries.map_err(refused)?,
        stale: response.stale,
    })
}

/// One entry as operators see it.
#[must_use]
pub fn revocation_to_pb(entry: &Entry, list: &str) -> pb::Revocation {
    pb::Revocation {
        kind: entry.kind.as_str().to_owned(),
        id: entry.id.clone(),
        reason: entry.reason.clone(),
        since_ms: entry.since_ms,
        until_ms: entry.until_ms.unwrap_or_default(),
        list: list.to_owned(),
    }
}

/// What an operator names: a kind, an id and why.
///
/// # Errors
/// [`WireError`] for a kind that is not known, and where id or reason is missing.
pub fn revocation_from_pb(kind: &str, id: &str, reason: &str) -> Result<(Kind, String, String)> {
    let missing = |what: &str| super::invalid(format!("the {what} is missing"));
    let kind = closed::<Kind>("kind of revocation", kind)?;
    let id = present(id.to_owned()).ok_or_else(|| missing("id"))?;
    let reason = present(reason.trim().to_owned()).ok_or_else(|| missing("reason"))?;
    Ok((kind, id, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_both_ways_without_its_reasons() {
        let entry = |until_ms| Entry {
            kind: Kind::Agent,
            id: "bot".into(),
            reason: String::new(),
            since_ms: 0,
            until_ms,
        };
        let entries = vec![entry(None), entry(Some(5))];
        let revocations = Revocations { version: 7, entries, stale: true };
        let there = revocations_to_pb(&revocations);
        assert_eq!(revocations_from_pb(there).unwrap(), revocations);
        let mut secret = entry(None);
        secret.reason = "secret".into();
        let told = revocations_to_pb(&Revocations { entries: vec![secret], ..revocations });
        assert!(!format!("{told:?}").contains("secret"));
    }

    #[test]
    fn a_kind_that_is_not_known_is_refused() {
        let told = pb::Revoked { kind: "planet".into(), id: "mars".into(), until_ms: 0 };
        let response = pb::RevocationsResponse { version: 1, entries: vec![told], stale: false };
        assert!(matches!(revocations_from_pb(response), Err(DecideError::Refused { .. })));
    }

    #[test]
    fn an_operator_names_all_three() {
        assert!(revocation_from_pb("agent", "bot", "stolen").is_ok());
        for (kind, id, reason) in
            [("", "b", "r"), ("agents", "b", "r"), ("agent", "", "r"), ("agent", "b", " ")]
        {
            assert!(revocation_from_pb(kind, id, reason).is_err(), "{kind} {id} {reason}");
        }
    }
}
