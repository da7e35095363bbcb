//! The hash chain: leaf hashes, and the head that every line of one log begins with.
//!
//! `{"seq":N,"prev":"<64 hex>","writer":"W","epoch":"E","ts_ms":T,"kind":"K",…}`
//!
//! Within one log only `N` and the hash differ between heads, so a reader compares bytes and
//! parses no JSON.

use sha2::{Digest as _, Sha256};

use crate::record::Kind;

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// What the first line of a log names as the line before it.
pub const NO_PREVIOUS: Hash = [0; 32];

/// Length of a hash in lowercase hexadecimal, in bytes.
pub const HASH_HEX_BYTES: usize = 64;

const HEAD: &[u8] = b"{\"seq\":";
const PREV: &[u8] = b",\"prev\":\"";

/// The leaf of a line: `SHA-256(0x00 || line)`, the line without its newline.
#[must_use]
pub fn leaf_hash(line: &[u8]) -> Hash {
    Sha256::new().chain_update([0u8]).chain_update(line).finalize().into()
}

/// A hash as the bytes of its lowercase hexadecimal text.
pub(crate) fn hex_bytes(hash: &Hash) -> [u8; HASH_HEX_BYTES] {
    let mut out = [0u8; HASH_HEX_BYTES];
    let written = hex::encode_to_slice(hash, &mut out);
    debug_assert!(written.is_ok(), "32 bytes are 64 hexadecimal digits");
    out
}

/// Reads a hash from lowercase hexadecimal.
pub(crate) fn parse_hash(text: &str) -> Option<Hash> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let mut out = NO_PREVIOUS;
    hex::decode_to_slice(text, &mut out).ok()?;
    Some(out)
}

/// What all heads of one log have in common.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    middle: Vec<u8>,
}

/// A line taken apart at its fixed positions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) seq: u64,
    /// The 64 digits of `prev`, as they stand.
    pub(crate) prev_hex: &'a [u8],
    /// From the digits of `ts_ms` to the end of the line.
    rest: &'a [u8],
}

impl Frame {
    /// The frame of the log of `writer` and `epoch`, both already checked to need no escapes.
    pub(crate) fn new(writer: &str, epoch: &str) -> Self {
        let middle = format!("\",\"writer\":\"{writer}\",\"epoch\":\"{epoch}\",\"ts_ms\":");
        Self { middle: middle.into_bytes() }
    }

    /// Appends a line without its newline; `rest` begins with the digits of `ts_ms`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, seq: u64, prev: &Hash, rest: &[u8]) {
        out.extend_from_slice(HEAD);
        out.extend_from_slice(seq.to_string().as_bytes());
        out.extend_from_slice(PREV);
        out.extend_from_slice(&hex_bytes(prev));
        out.extend_from_slice(&self.middle);
        out.extend_from_slice(rest);
    }

    /// Bytes that [`Self::write`] puts before `rest`, at most.
    pub(crate) fn head_bytes(&self) -> usize {
        HEAD.len() + 20 + PREV.len() + HASH_HEX_BYTES + self.middle.len()
    }

    /// Takes a line apart; `None` if it is not a line of this log.
    pub(crate) fn read<'a>(&self, line: &'a [u8]) -> Option<Head<'a>> {
        let (seq, rest) = digits(line.strip_prefix(HEAD)?)?;
        let rest = rest.strip_prefix(PREV)?;
        let (prev_hex, rest) = rest.split_at_checked(HASH_HEX_BYTES)?;
        let rest = rest.strip_prefix(self.middle.as_slice())?;
        (line.last() == Some(&b'}')).then_some(Head { seq, prev_hex, rest })
    }
}

impl<'a> Head<'a> {
    /// Time in unix milliseconds and kind of the line.
    pub(crate) fn time_and_kind(&self) -> Option<(i64, Kind)> {
        let end = self.rest.iter().position(|b| *b == b',')?;
        let (time, rest) = self.rest.split_at_checked(end)?;
        let time = std::str::from_utf8(time).ok()?.parse().ok()?;
        let rest = rest.strip_prefix(b",\"kind\":\"")?;
        let end = rest.iter().position(|b| *b == b'"')?;
        let kind = std::str::from_utf8(rest.get(..end)?).ok()?;
        Some((time, Kind::parse(kind)?))
    }
}

/// A number without leading zeros, and what follows it.
fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let len = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, rest) = text.split_at_checked(len)?;
    if number.len() > 1 && number.first() == Some(&b'0') {
        return None;
    }
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_line_is_read_back() {
        let frame = Frame::new("pdp", "0123");
        let mut line = Vec::new();
        frame.write(&mut line, 7, &[0xab; 32], b"-5,\"kind\":\"gap\",\"n\":1}");
        assert_eq!(
            std::str::from_utf8(&line).unwrap(),
            format!(
                "{{\"seq\":7,\"prev\":\"{}\",\"writer\":\"pdp\",\"epoch\":\"0123\",\"ts_ms\":-5,\"kind\":\"gap\",\"n\":1}}",
                "ab".repeat(32)
            )
        );
        let head = frame.read(&line).unwrap();
        assert_eq!(head.seq, 7);
        assert_eq!(head.prev_hex, hex_bytes(&[0xab; 32]));
        assert_eq!(head.time_and_kind(), Some((-5, Kind::Gap)));
        assert!(line.len() <= frame.head_bytes() + 22);
    }

    #[test]
    fn lines_of_other_logs_and_odd_numbers_are_refused() {
        let mut line = Vec::new();
        Frame::new("pdp", "0123").write(&mut line, 7, &NO_PREVIOUS, b"1,\"kind\":\"gap\"}");
        assert!(Frame::new("pep", "0123").read(&line).is_none());
        assert!(Frame::new("pdp", "0124").read(&line).is_none());
        let text = String::from_utf8(line).unwrap();
        let frame = Frame::new("pdp", "0123");
        for seq in ["07", "", "-7", "18446744073709551616"] {
            let odd = text.replace("\"seq\":7", &format!("\"seq\":{seq}"));
            assert!(frame.read(odd.as_bytes()).is_none(), "{seq}");
        }
        assert!(frame.read(text.trim_end_matches('}').as_bytes()).is_none());
    }

    #[test]
    fn leaf_is_the_rfc_6962_leaf_hash() {
        assert_eq!(
            hex::encode(leaf_hash(b"")),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        assert_eq!(parse_hash(&"AB".repeat(32)), None);
        assert_eq!(parse_hash(&"ab".repeat(32)), Some([0xab; 32]));
    }
}
