//! What must not be believed: each way by its name, as it is sent, and the reason of its refusal.
//!
//! It stands alone (the identity crate's public names, and the crates `aws-lc-rs`, `base64`,
//! `ed25519-dalek`, `serde_json`), so that others can include it by `#[path]` and carry it through
//! doors of their own: [`forge::config`] makes the `[identity]` section that it is for.
//!
//! # Layout
//!
//! - [`forge`]: the issuers, and a signer that signs whatever it is told to.
//! - [`shapes`], [`headers`], [`signatures`]: before the claims; [`claims`], [`parties`],
//!   [`profiles`]: by them.
//! - [`possession`]: proofs that the caller holds a key; [`workloads`]: SPIFFE documents;
//!   [`transactions`]: transaction tokens.

#![expect(clippy::string_slice, reason = "the texts that are cut are ASCII")]

pub(crate) mod claims;
pub(crate) mod forge;
pub(crate) mod headers;
pub(crate) mod parties;
pub(crate) mod possession;
pub(crate) mod profiles;
pub(crate) mod shapes;
pub(crate) mod signatures;
pub(crate) mod transactions;
pub(crate) mod workloads;

use serde_json::{Map, Value, json};

use forge::{HEADER, ISS, ed, honest};

/// Where the requests go, and when.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// Unix seconds.
    pub(crate) now_s: i64,
    /// The audience that the site is known as.
    pub(crate) aud: String,
    /// Where requests are sent, without query.
    pub(crate) url: String,
    /// Their method.
    pub(crate) method: String,
}

/// The headers of one request, and its connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    /// Values of `Authorization`.
    pub(crate) authorization: Vec<String>,
    /// Values of `DPoP`.
    pub(crate) dpop: Vec<String>,
    /// Values of `Txn-Token`.
    pub(crate) txn: Vec<String>,
    /// Whether the connection has a certificate, which is then not the one of any token.
    pub(crate) stranger: bool,
}

impl Sent {
    pub(crate) fn bearer(token: impl Into<String>) -> Self {
        Self { authorization: vec![format!("Bearer {}", token.into())], ..Self::default() }
    }

    pub(crate) fn bound(token: &str, proof: &str) -> Self {
        let authorization = vec![format!("DPoP {token}")];
        Self { authorization, dpop: vec![proof.to_owned()], ..Self::default() }
    }

    pub(crate) fn with_txn(mut self, token: impl Into<String>) -> Self {
        self.txn.push(token.into());
        self
    }
}

/// One attack.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) sent: Sent,
    /// The reason of the refusal.
    pub(crate) id: &'static str,
    /// Whether the same request is accepted once before.
    pub(crate) again: bool,
}

/// A token that is sent as `Bearer` and must be refused.
pub(crate) fn case(name: &'static str, token: impl Into<String>, id: &'static str) -> Case {
    Case { name, sent: Sent::bearer(token), id, again: false }
}

pub(crate) fn sent(name: &'static str, sent: Sent, id: &'static str) -> Case {
    Case { name, sent, id, again: false }
}

impl Site {
    /// An honest payload of `iss`, with `change` applied to its members.
    pub(crate) fn payload(
        &self,
        iss: &str,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> String {
        let mut members = honest(iss, &self.aud, self.now_s);
        change(&mut members);
        Value::Object(members).to_string()
    }

    pub(crate) fn good(&self) -> String {
        self.payload(ISS, |_| {})
    }

    pub(crate) fn with(&self, name: &str, value: Value) -> String {
        self.payload(ISS, |members| {
            members.insert(name.to_owned(), value);
        })
    }

    pub(crate) fn without(&self, name: &str) -> String {
        self.payload(ISS, |members| {
            members.remove(name);
        })
    }

    /// A well signed token that says `value` in the claim `name`.
    pub(crate) fn claim(&self, name: &str, value: Value) -> String {
        ed(HEADER, &self.with(name, value))
    }
}

/// The whole table.
pub(crate) fn all(site: &Site) -> Vec<Case> {
    let groups = [
        shapes::cases(site),
        headers::cases(site),
        signatures::cases(site),
        claims::cases(site),
        parties::cases(site),
        profiles::cases(site),
        possession::cases(site),
        workloads::cases(site),
        transactions::cases(site),
    ];
    groups.into_iter().flatten().collect()
}

/// Requests like those of the table without its twists: each must be accepted.
pub(crate) fn honest_requests(site: &Site) -> Vec<(&'static str, Sent)> {
    let mut requests = vec![
        ("an access token", Sent::bearer(ed(HEADER, &site.good()))),
        ("one of several signers", Sent::bearer(forge::rsa("RS256", &site.good()))),
        ("with a chain", Sent::bearer(site.claim("act", json!({"sub": "a", "act": {"sub": "b"}})))),
        ("RFC 9068", Sent::bearer(profiles::honest(site))),
        ("a workload", Sent::bearer(workloads::honest(site))),
    ];
    requests.push(("a proof", possession::honest(site)));
    requests.push(("within a transaction", transactions::honest(site)));
    requests
}
