//! Which decision point is asked. Pure: what is seen of each goes in, one comes out.
//!
//! State is per decision point: sessions, their counters and what was reserved live where they
//! began. So a call with a subject or an agent goes by rendezvous hashing of (tenant, subject,
//! agent) to the same connected decision point for as long as that is there, and spreads over the
//! others when it is not; every enforcement point with the same addresses chooses the same. A
//! session's handle is bound to these three and thus goes there too; where it was made elsewhere,
//! because that one was down, the handle is remembered. Everything else goes to whoever has least
//! under way.

use lictor_proto::call::{Call, Party};

use super::health::Standing;

/// What is seen of one decision point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Whether its stream is open.
    pub(crate) connected: bool,
    /// Whether it is to be asked.
    pub(crate) standing: Standing,
    /// Calls on their way to it.
    pub(crate) in_flight: usize,
    /// A number of its own, from its address.
    pub(crate) name: u64,
}

/// The best of `seen`: connected, not ejected, and then the nearest to `key`, or the one with
/// least under way where there is no key. `avoid` comes after all others.
pub(crate) fn best(seen: &[Seen], key: Option<u64>, avoid: Option<usize>) -> Option<usize> {
    let rank = |(index, seen): &(usize, &Seen)| {
        let ejected = seen.standing == Standing::Ejected;
        let near = u64::MAX - mix(key.unwrap_or_default() ^ seen.name);
        let busy = if key.is_some() { 0 } else { seen.in_flight };
        (avoid == Some(*index), ejected, busy, near)
    };
    let connected = seen.iter().enumerate().filter(|(_, seen)| seen.connected);
    connected.min_by_key(rank).map(|(index, _)| index)
}

/// What keeps the calls of one subject and agent together.
pub(crate) fn key_of(call: &Call) -> Option<u64> {
    let id = |party: &Option<Party>| party.as_ref().map(|party| party.id.clone());
    let (subject, agent) = (id(&call.subject), id(&call.agent));
    if subject.is_none() && agent.is_none() {
        return None;
    }
    let hashed = hash(FNV_OFFSET, call.tenant.as_bytes());
    let hashed = hash(hash(hashed, &[0xff]), subject.unwrap_or_default().as_bytes());
    Some(hash(hash(hashed, &[0xff]), agent.unwrap_or_default().as_bytes()))
}

/// The number of an address.
pub(crate) fn number_of(address: &str) -> u64 {
    mix(hash(FNV_OFFSET, address.as_bytes()))
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a: the same in every process, unlike the standard library's.
fn hash(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// The finish of splitmix64: every bit of the sum counts for every bit of the result.
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(count: usize) -> Vec<Seen> {
        let of = |n| Seen {
            connected: true,
            standing: Standing::Welcome,
            in_flight: 0,
            name: number_of(&format!("http://pdp-{n}:7070")),
        };
        (0..count).map(of).collect()
    }

    fn call(subject: &str, agent: &str) -> Call {
        Call {
            subject: Some(Party::new("user", subject)),
            agent: Some(Party::new("agent", agent)),
            ..Call::default()
        }
    }

    #[test]
    fn one_subject_and_agent_stay_together_whatever_is_busy() {
        let mut three = seen(3);
        let key = key_of(&call("alice", "bot"));
        let first = best(&three, key, None).unwrap();
        three[first].in_flight = 1_000;
        assert_eq!(best(&three, key, None), Some(first));
        let mut with_handle = call("alice", "bot");
        with_handle.action.name = "tools/call".to_owned();
        assert_eq!(key_of(&with_handle), key);
        assert_ne!(key_of(&call("alic", "ebot")), key);
        assert_eq!(key_of(&Call::default()), None);
    }

    #[test]
    fn subjects_spread_and_only_those_of_a_lost_one_move() {
        let mut three = seen(3);
        let keys: Vec<_> = (0..3_000).map(|n| key_of(&call(&format!("user-{n}"), "bot"))).collect();
        let of = |seen: &[Seen]| keys.iter().map(|k| best(seen, *k, None)).collect::<Vec<_>>();
        let before = of(&three);
        for index in 0..3 {
            let share = before.iter().filter(|chosen| **chosen == Some(index)).count();
            assert!((800..1_200).contains(&share), "{share}");
        }
        three[1].connected = false;
        for (was, is) in before.iter().zip(of(&three)) {
            assert!(is != Some(1) && (*was == Some(1) || is == *was));
        }
    }

    #[test]
    fn without_a_key_the_least_busy_is_asked() {
        let mut three = seen(3);
        (three[0].in_flight, three[1].in_flight, three[2].in_flight) = (5, 2, 3);
        assert_eq!(best(&three, None, None), Some(1));
        assert_eq!(best(&three, None, Some(1)), Some(2));
    }

    #[test]
    fn the_ejected_come_last_and_the_unconnected_never() {
        let mut two = seen(2);
        let key = key_of(&call("alice", "bot"));
        let first = best(&two, key, None).unwrap();
        two[first].standing = Standing::Ejected;
        assert_eq!(best(&two, key, None), Some(1 - first));
        two[1 - first].connected = false;
        assert_eq!(best(&two, key, None), Some(first), "better late than never");
        two[first].connected = false;
        assert_eq!(best(&two, key, None), None);
    }
}
