//! `uuid.parse`: what a UUID says about itself (RFC 9562).

use std::collections::BTreeMap;

use regorus::Value;

use super::{Fault, text};

/// 100-nanosecond steps from 1582-10-15, where these clocks begin, to 1970.
const GREGORIAN_STEPS: i64 = 122_192_928_000_000_000;

pub(super) fn parse(args: &[Value]) -> Result<Value, Fault> {
    let bytes = bytes(text(args, 0)?).ok_or_else(|| Fault::value("the text is not a UUID"))?;
    let version = bytes[6] >> 4;
    let mut said: BTreeMap<&str, Value> = BTreeMap::new();
    said.insert("version", Value::from(u32::from(version)));
    said.insert("variant", Value::from(variant(bytes[8])));
    if matches!(version, 1 | 2) {
        said.insert("time", Value::from(unix_ns(&bytes)));
        let node = bytes.get(10..).unwrap_or_default();
        said.insert("nodeid", Value::from(format!("{}:{}", reach(bytes[10]), hex::encode(node))));
        let sequence = u16::from_be_bytes([bytes[8], bytes[9]]) & 0x3fff;
        said.insert("clocksequence", Value::from(u32::from(sequence)));
    }
    if version == 2 {
        let id = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        said.insert("id", Value::from(id));
        said.insert("domain", Value::from(domain(bytes[9])));
    }
    let members = said.into_iter().map(|(name, value)| (Value::from(name), value));
    Ok(Value::from(members.collect::<BTreeMap<_, _>>()))
}

/// The four ways of writing one: plain, with `urn:uuid:`, in braces, without dashes.
fn bytes(text: &str) -> Option<[u8; 16]> {
    let digits = match text.len() {
        32 => text.to_owned(),
        36 => without_dashes(text)?,
        38 => without_dashes(text.strip_prefix('{')?.strip_suffix('}')?)?,
        45 => {
            let (prefix, rest) = text.split_at_checked(9)?;
            prefix.eq_ignore_ascii_case("urn:uuid:").then(|| without_dashes(rest)).flatten()?
        }
        _ => return None,
    };
    let mut bytes = [0u8; 16];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

fn without_dashes(text: &str) -> Option<String> {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    (lengths == [8, 4, 4, 4, 12]).then(|| groups.concat())
}

fn variant(byte: u8) -> &'static str {
    match byte {
        0x80..=0xbf => "RFC4122",
        0xc0..=0xdf => "Microsoft",
        0xe0..=0xff => "Future",
        _ => "Reserved",
    }
}

fn unix_ns(bytes: &[u8; 16]) -> i64 {
    let low = i64::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let mid = i64::from(u16::from_be_bytes([bytes[4], bytes[5]]));
    let high = i64::from(u16::from_be_bytes([bytes[6], bytes[7]]) & 0xfff);
    let steps = (high << 48 | mid << 32 | low) - GREGORIAN_STEPS;
    // The last years of a 60-bit clock are past the last nanosecond of 64 bits.
    steps.wrapping_mul(100)
}

fn reach(first: u8) -> &'static str {
    match first & 0b11 {
        0b11 => "local:multicast",
        0b01 => "global:multicast",
        0b10 => "local:unicast",
        _ => "global:unicast",
    }
}

fn domain(byte: u8) -> String {
    match byte {
        0 => "Person".to_owned(),
        1 => "Group".to_owned(),
        2 => "Org".to_owned(),
        other => format!("Domain{other}"),
    }
}
