//! What both sides of a `DecideStream` hold to.
//!
//! The decision point announces, in the metadata of its answer to the opening of a stream, how
//! many calls may be in flight on that stream ([`IN_FLIGHT_KEY`]) and how many streams, each on a
//! connection of its own, one enforcement point is to keep open ([`STREAMS_KEY`]). A call is in
//! flight from the moment it is sent until its answer is taken. The enforcement point never has
//! more of them; whoever does is answered `overloaded` for each call beyond, and loses the stream
//! where it does not read these answers either. Where nothing is announced, [`IN_FLIGHT_UNSAID`]
//! calls and one stream are meant.

/// Metadata: how many calls may be in flight on this stream.
pub const IN_FLIGHT_KEY: &str = "lictor-in-flight-max";
/// Metadata: how many streams are to be open.
pub const STREAMS_KEY: &str = "lictor-streams";
/// Calls in flight on a stream where the decision point does not say how many.
pub const IN_FLIGHT_UNSAID: usize = 1_024;
/// Most streams that are asked for, and opened.
pub const STREAMS_MAX: usize = 16;
/// Largest call on a stream, as it is encoded, bytes; what is larger goes by `Decide`, so that it
/// does not hold up the others.
pub const CALL_BYTES_MAX: usize = 32 << 10;

/// Whether a question may go on a stream.
#[must_use]
pub fn fits(request: &crate::pb::DecideRequest) -> bool {
    prost::Message::encoded_len(request) <= CALL_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::pb;

    #[test]
    fn everything_in_a_question_counts_up_to_the_last_byte() {
        let sized = |bytes: usize| {
            let call = pb::Call { call_id: "x".repeat(bytes), ..Default::default() };
            pb::DecideRequest { call: Some(call), ..Default::default() }
        };
        let around = sized(CALL_BYTES_MAX).encoded_len() - CALL_BYTES_MAX;
        assert!(fits(&sized(CALL_BYTES_MAX - around)));
        assert!(!fits(&sized(CALL_BYTES_MAX - around + 1)));
    }
}
