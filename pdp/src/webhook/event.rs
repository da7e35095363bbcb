//! What has happened to an approval, in its order. Derived from the record, so that nothing is
//! lost when nobody was looking.

use serde::{Deserialize, Serialize};

use crate::state::approval::{ApprovalRecord, Standing};

/// What happened. In the order in which it can happen to one approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Somebody is asked.
    Opened,
    /// Enough people agreed.
    Approved,
    /// Somebody refused.
    Denied,
    /// Its time ended.
    Expired,
    /// A call used it.
    Used,
    /// Somebody with part in it was revoked.
    Voided,
}

impl Event {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::Opened, Self::Approved, Self::Denied, Self::Expired, Self::Used, Self::Voided];

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Used => "used",
            Self::Voided => "voided",
        }
    }
}

/// Everything that has happened to `record` until `now_ms`, in order.
#[must_use]
pub fn events(record: &ApprovalRecord, now_ms: i64) -> Vec<Event> {
    let mut all = vec![Event::Opened];
    if record.met() {
        all.push(Event::Approved);
    }
    match record.standing(now_ms) {
        Standing::Pending | Standing::Approved => {}
        Standing::Denied => all.push(Event::Denied),
        Standing::Expired => all.push(Event::Expired),
        Standing::Used => all.push(Event::Used),
        Standing::Voided => all.push(Event::Voided),
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::tests::record;

    #[test]
    fn what_nobody_saw_is_told_in_its_order() {
        let opened = record("a1");
        assert_eq!(events(&opened, 1), [Event::Opened]);
        assert_eq!(events(&opened, 1_000_000), [Event::Opened, Event::Expired]);
        let mut given = opened.clone();
        given.approved_by.insert("bob".into());
        assert_eq!(events(&given, 1), [Event::Opened, Event::Approved]);
        assert_eq!(events(&given, 1_000_000), [Event::Opened, Event::Approved, Event::Expired]);
        let used = ApprovalRecord { used: true, ..given.clone() };
        assert_eq!(events(&used, 1_000_000), [Event::Opened, Event::Approved, Event::Used]);
        let voided = ApprovalRecord { voided: true, ..given };
        assert_eq!(events(&voided, 1), [Event::Opened, Event::Approved, Event::Voided]);
        let denied = ApprovalRecord { denied_by: Some("bob".into()), ..opened };
        assert_eq!(events(&denied, 1), [Event::Opened, Event::Denied]);
    }

    #[test]
    fn names_are_those_of_the_configuration() {
        for event in Event::ALL {
            assert_eq!(serde_json::to_value(event).unwrap(), event.as_str());
        }
    }
}
