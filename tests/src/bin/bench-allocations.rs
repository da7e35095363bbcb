//! What one decision asks of the allocator. A program of its own, because counting costs time that
//! the timings must not have in them: `bench-allocations NAME` with a name of
//! `lictor_tests::pure::measured`; prints JSON.

#![expect(clippy::panic, reason = "a benchmark that cannot run ends")]

use std::alloc::System;

use lictor_tests::pure::Ready;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Decisions before counting: what is made once must not count.
const WARM: usize = 10;
/// Decisions that are counted.
const COUNTED: usize = 100;

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let ready = Ready::named(&name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let decide = || assert!(ready.decide(), "{name}: denied");
    (0..WARM).for_each(|_| decide());
    let region = Region::new(ALLOCATOR);
    (0..COUNTED).for_each(|_| decide());
    let change = region.change();
    let each = |total: usize| total as f64 / COUNTED as f64;
    let grown = usize::try_from(change.bytes_reallocated).unwrap_or_default();
    println!(
        "{{\"number\":{},\"bytes\":{}}}",
        each(change.allocations + change.reallocations),
        each(change.bytes_allocated + grown)
    );
}
