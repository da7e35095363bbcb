//! `net.cidr_contains_matches`, `net.cidr_intersects`, `net.cidr_merge`.
//!
//! An IPv6 block that holds mapped IPv4 addresses is the IPv4 block.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::BTreeSet;

use regorus::Value;

use super::{Fault, text, wrong};
use crate::rego::guards::{MAX_ITEMS, Refusal};
use crate::rego::weigh::items;

/// A block of addresses of one family, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Block {
    v6: bool,
    last: u128,
    first: u128,
}

impl Block {
    fn contains(&self, other: &Self) -> bool {
        self.v6 == other.v6 && self.first <= other.first && other.last <= self.last
    }

    fn width(&self) -> u32 {
        if self.v6 { 128 } else { 32 }
    }

    /// The largest blocks that together are exactly this one.
    fn cidrs(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut first = self.first;
        loop {
            // As many free low bits as the address has and the end allows.
            let mut free = first.trailing_zeros().min(self.width());
            while free > 0 && low_bits(free) > self.last - first {
                free -= 1;
            }
            found.push(format!("{}/{}", address(self.v6, first), self.width() - free));
            let end = first | low_bits(free);
            if end >= self.last {
                return found;
            }
            first = end + 1;
        }
    }
}

/// The lowest `count` bits.
fn low_bits(count: u32) -> u128 {
    1u128.checked_shl(count).map_or(u128::MAX, |bit| bit - 1)
}

fn address(v6: bool, bits: u128) -> IpAddr {
    match u32::try_from(bits) {
        Ok(bits) if !v6 => IpAddr::V4(Ipv4Addr::from(bits)),
        _ => IpAddr::V6(Ipv6Addr::from(bits)),
    }
}

fn numbers(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(v4) => (false, u128::from(u32::from(v4))),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => (false, u128::from(u32::from(v4))),
            None => (true, u128::from(v6)),
        },
    }
}

/// A block in CIDR notation.
fn cidr(text: &str) -> Option<Block> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
    let prefix: u32 = prefix.parse().ok().filter(|_| digits)?;
    let width: u32 = if address.is_ipv4() { 32 } else { 128 };
    let free = width.checked_sub(prefix)?;
    let (v6, bits) = match (address, numbers(address)) {
        // A block wider than the mapped addresses is one of IPv6.
        (IpAddr::V6(v6), (false, _)) if free > 32 => (true, u128::from(v6)),
        (_, numbers) => numbers,
    };
    Some(Block { v6, first: bits & !low_bits(free), last: bits | low_bits(free) })
}

/// An address, or a block.
fn block(text: &str) -> Option<Block> {
    let Ok(address) = text.parse::<IpAddr>() else { return cidr(text) };
    let (v6, bits) = numbers(address);
    Some(Block { v6, first: bits, last: bits })
}

fn needed(found: Option<Block>, text: &str, what: &str) -> Result<Block, Fault> {
    let shown: String = text.chars().take(64).collect();
    found.ok_or_else(|| Fault::value(format!("`{shown}` is not {what}")))
}

const CIDR: &str = "an address block such as `10.0.0.0/8`";

pub(super) fn intersects(args: &[Value]) -> Result<Value, Fault> {
    let (a, b) = (text(args, 0)?, text(args, 1)?);
    let (a, b) = (needed(cidr(a), a, CIDR)?, needed(cidr(b), b, CIDR)?);
    Ok(Value::from(a.v6 == b.v6 && a.first <= b.last && b.first <= a.last))
}

pub(super) fn bounded_pairs(args: &[Value]) -> Result<(), Refusal> {
    let of = |index: usize| args.get(index).map_or(0, items).max(1);
    if of(0).checked_mul(of(1)).is_some_and(|pairs| pairs <= MAX_ITEMS) {
        Ok(())
    } else {
        Err(Refusal::TooLong)
    }
}

pub(super) fn contains_matches(args: &[Value]) -> Result<Value, Fault> {
    let mut found = BTreeSet::new();
    let (outer, inner) = (named(args, 0)?, named(args, 1)?);
    // As in OPA, what is not compared is not looked at.
    if outer.is_empty() || inner.is_empty() {
        return Ok(Value::from(found));
    }
    let mut inner_blocks = Vec::with_capacity(inner.len());
    for (text, index) in &inner {
        inner_blocks.push((needed(block(text), text, "an address or a block")?, index));
    }
    for (text, index) in &outer {
        let outer = needed(cidr(text), text, CIDR)?;
        let held = inner_blocks.iter().filter(|(block, _)| outer.contains(block));
        found.extend(held.map(|(_, other)| Value::from(vec![index.clone(), (*other).clone()])));
    }
    Ok(Value::from(found))
}

/// The texts of an argument, each with what the result calls it by.
fn named(args: &[Value], index: usize) -> Result<Vec<(String, Value)>, Fault> {
    const EXPECTED: &str = "a string, or a collection of strings or of arrays that begin with one";
    let arg = args.get(index);
    let element = |value: &Value, name: Value| match value {
        Value::String(text) => Ok((text.to_string(), name)),
        Value::Array(items) => match items.first() {
            Some(Value::String(text)) => Ok((text.to_string(), name)),
            _ => Err(wrong(index, EXPECTED, arg)),
        },
        _ => Err(wrong(index, EXPECTED, arg)),
    };
    match arg {
        Some(Value::String(text)) => Ok(vec![(text.to_string(), Value::String(text.clone()))]),
        Some(Value::Array(items)) => {
            items.iter().enumerate().map(|(at, item)| element(item, Value::from(at))).collect()
        }
        Some(Value::Set(items)) => items.iter().map(|item| element(item, item.clone())).collect(),
        Some(Value::Object(members)) => {
            members.iter().map(|(key, value)| element(value, key.clone())).collect()
        }
        other => Err(wrong(index, EXPECTED, other)),
    }
}

pub(super) fn bounded_list(args: &[Value]) -> Result<(), Refusal> {
    let count = args.first().map_or(0, items);
    if count <= MAX_ITEMS {
        Ok(())
    } else {
        Err(Refusal::TooLarge { limit: MAX_ITEMS, unit: "elements" })
    }
}

/// The smallest set of blocks with the same addresses.
pub(super) fn merge(args: &[Value]) -> Result<Value, Fault> {
    const EXPECTED: &str = "an array or a set of strings";
    let given: Vec<&Value> = match args.first() {
        Some(Value::Array(items)) => items.iter().collect(),
        Some(Value::Set(items)) => items.iter().collect(),
        other => return Err(wrong(0, EXPECTED, other)),
    };
    let mut blocks = Vec::with_capacity(given.len());
    for value in given {
        let Value::String(text) = value else { return Err(wrong(0, EXPECTED, args.first())) };
        blocks.push(mergeable(text)?);
    }
    blocks.sort();
    let mut merged: Vec<(Block, Option<String>)> = Vec::new();
    for (block, written) in blocks {
        let mut joined = (block, Some(written));
        // Sorted by their ends: what begins inside or just behind an earlier one joins it.
        while let Some((before, _)) = merged.last()
            && before.v6 == joined.0.v6
            && joined.0.first.saturating_sub(1) <= before.last
        {
            joined = (Block { first: before.first.min(joined.0.first), ..joined.0 }, None);
            merged.pop();
        }
        merged.push(joined);
    }
    let texts = merged.into_iter().flat_map(|(block, written)| match written {
        Some(written) => vec![written],
        None => block.cidrs(),
    });
    Ok(Value::from(texts.map(Value::from).collect::<BTreeSet<_>>()))
}

/// A block, and how it is written if it is not merged. A bare IPv4 address stands
/// for the network of its class, as in OPA; a bare IPv6 address is an error.
fn mergeable(text: &str) -> Result<(Block, String), Fault> {
    match text.parse::<IpAddr>().map(numbers) {
        Ok((false, bits)) => {
            let prefix: u32 = match bits >> 24 {
                0..128 => 8,
                128..192 => 16,
                _ => 24,
            };
            let free = low_bits(32 - prefix);
            let block = Block { v6: false, first: bits & !free, last: bits | free };
            Ok((block, format!("{}/{prefix}", address(false, bits))))
        }
        Ok((true, _)) => {
            Err(Fault::value(format!("`{text}` needs a prefix length, such as `/128`")))
        }
        Err(_) => {
            let block = needed(cidr(text), text, CIDR)?;
            let written = block.cidrs().into_iter().next().unwrap_or_default();
            Ok((block, written))
        }
    }
}
