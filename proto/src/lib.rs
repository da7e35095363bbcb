//! The contract between Lictor's parts.
//!
//! # Layout
//!
//! - [`json`]: strict scanning of received JSON into a tree with spans and number
//!   text, its canonical form and digests. The only JSON reader for bodies.
//! - [`call`], [`facts`], [`decision`]: *Lictor JSON*, the one shape for policy
//!   input, test case, REST and audit.
//! - [`canonical`]: a call's text for its digest; `written`: Lictor JSON of calls and decisions.
//! - [`decide`]: the [`decide::Decide`] trait, implemented by the PDP in process
//!   and by the enforcement points' client over gRPC.
//! - [`pb`]: generated protobuf code. [`wire`] is the only converter between it
//!   and the domain types.
//! - [`revocation`]: what was revoked, and whether a call has part in it.
//! - [`stream`]: what both sides of a `DecideStream` hold to.
//! - [`tool`]: a server's definition of a tool: its pin, what changed in it.
//! - [`reason`]: the ids of every refusal that Lictor itself makes.

pub mod call;
pub mod canonical;
pub mod decide;
pub mod decision;
pub mod facts;
pub mod json;
pub mod reason;
pub mod revocation;
pub mod stream;
pub mod tool;
pub mod wire;
mod written;

/// Generated protobuf messages, clients and servers of `lictor.v1`.
#[expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated from proto/lictor/v1, where every field is documented"
)]
pub mod pb {
    tonic::include_proto!("lictor.v1");

    /// The encoded descriptors that the reflection service publishes.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}

/// JSON Schema (2020-12) of a call as policies, cases and REST see it.
pub const CALL_SCHEMA: &str = include_str!("../schema/call.schema.json");
/// JSON Schema (2020-12) of the facts about a call, as policies and cases see them.
pub const FACTS_SCHEMA: &str = include_str!("../schema/facts.schema.json");
/// JSON Schema (2020-12) of the registry in a bundle's `data.json`.
pub const REGISTRY_SCHEMA: &str = include_str!("../schema/registry.schema.json");
/// JSON Schema (2020-12) of a bundle's `cases/*.yaml`.
pub const CASES_SCHEMA: &str = include_str!("../schema/cases.schema.json");
