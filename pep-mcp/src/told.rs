//! What a server is told of a call in signed tokens: who, through whom, for which decision, and
//! what it belongs to.

use axum::http::HeaderValue;
use lictor_pep_core::{
    Assertion, AssertionError, AssertionMinter, Permitted, Refusal, TransactionToken,
};
use lictor_proto::call::{Call, Party};
use lictor_proto::reason;

/// The header of transaction tokens (draft-ietf-oauth-transaction-tokens).
pub(crate) const TXN_TOKEN: &str = "txn-token";
/// How long an assertion and a transaction token hold, seconds.
const TTL_S: u32 = 60;
/// Where the claims of a subject have the transaction that its call came in, verified.
const INBOUND_TXN: &str = "/txn_token/txn";

/// What a server is told of one call.
pub(crate) struct Told<'a> {
    permitted: &'a Permitted,
    /// The agent and then the delegation, by their ids in the registry.
    actors: Vec<&'a str>,
    args_digest: &'a str,
}

impl<'a> Told<'a> {
    pub(crate) fn of(permitted: &'a Permitted, args_digest: &'a str) -> Self {
        let actors = actors(permitted.call(), &permitted.hints().agents);
        Self { permitted, actors, args_digest }
    }

    /// The assertion for the server at `aud`, as a header.
    pub(crate) fn assertion(
        &self,
        minter: &AssertionMinter,
        aud: &str,
        now_ms: i64,
        jti: &str,
    ) -> Result<HeaderValue, Refusal> {
        let assertion = Assertion {
            sub: self.subject(),
            act: &self.actors,
            aud,
            decision_id: self.decision_id(),
            tool: self.tool(),
            args_digest: self.args_digest,
            ttl_s: TTL_S,
        };
        self.header("Bearer ", minter.mint(&assertion, now_ms, jti))
    }

    /// The transaction token for `trust_domain`, as a header.
    pub(crate) fn transaction(
        &self,
        minter: &AssertionMinter,
        trust_domain: &str,
        now_ms: i64,
    ) -> Result<HeaderValue, Refusal> {
        let call = self.permitted.call();
        let transaction = TransactionToken {
            txn: transaction_of(call),
            sub: self.subject(),
            trust_domain,
            scope: &call.action.name,
            req_wl: self.actors.first().copied().unwrap_or_else(|| self.subject()),
            decision_id: self.decision_id(),
            tool: self.tool(),
            args_digest: self.args_digest,
            ttl_s: TTL_S,
        };
        self.header("", minter.mint_transaction(&transaction, now_ms))
    }

    /// Where nobody else does, the agent acts on its own authority.
    fn subject(&self) -> &'a str {
        let subject = self.permitted.call().subject.as_ref().map(|party| party.id.as_str());
        subject.or_else(|| self.actors.first().copied()).unwrap_or_default()
    }

    fn decision_id(&self) -> &'a str {
        &self.permitted.decision().decision_id
    }

    fn tool(&self) -> &'a str {
        let resource = self.permitted.call().resource.as_ref();
        resource.map(|resource| resource.id.as_str()).unwrap_or_default()
    }

    /// The header with `token` in it, which no log shows.
    fn header(
        &self,
        scheme: &str,
        token: Result<String, AssertionError>,
    ) -> Result<HeaderValue, Refusal> {
        let failed = |cause: String| {
            tracing::error!(cause, "no token for the server could be made");
            let message = "no token for the server could be made";
            self.permitted.refuse(reason::OBLIGATION_FAILED, message)
        };
        let token = token.map_err(|error| failed(error.to_string()))?;
        let mut value = HeaderValue::from_str(&format!("{scheme}{token}"))
            .map_err(|error| failed(error.to_string()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// The agent and then the delegation. The decision point says what the registry calls them where
/// that is not what the call does: a server knows agents of the registry, not an issuer's clients.
fn actors<'a>(call: &'a Call, registered: &'a [String]) -> Vec<&'a str> {
    if registered.is_empty() {
        let presented = |party: &'a Party| party.id.as_str();
        call.agent.iter().chain(&call.delegation).map(presented).collect()
    } else {
        registered.iter().map(String::as_str).collect()
    }
}

/// The transaction that the call came in; a call that came in none begins one.
fn transaction_of(call: &Call) -> &str {
    let claims = call.subject.as_ref().map(|subject| subject.claims.node());
    let inbound = claims.and_then(|claims| claims.pointer(INBOUND_TXN));
    inbound.and_then(|txn| txn.as_str()).unwrap_or(&call.call_id)
}

#[cfg(test)]
mod tests {
    use lictor_proto::json::Open;

    use super::*;

    fn call() -> Call {
        Call {
            call_id: "call-1".into(),
            agent: Some(Party { id: "client-7".into(), ..Party::default() }),
            delegation: vec![Party { id: "client-8".into(), ..Party::default() }],
            subject: Some(Party { id: "alice".into(), ..Party::default() }),
            ..Call::default()
        }
    }

    #[test]
    fn actors_have_their_names_of_the_registry() {
        let registered = ["planner".to_owned(), "root".to_owned()];
        assert_eq!(actors(&call(), &registered), ["planner", "root"]);
        assert_eq!(actors(&call(), &[]), ["client-7", "client-8"]);
    }

    #[test]
    fn a_call_stays_in_the_transaction_that_it_came_in() {
        let mut call = call();
        assert_eq!(transaction_of(&call), "call-1");
        let claims = Open::parse(br#"{"txn_token":{"txn":"txn-7"}}"#).unwrap();
        call.subject.as_mut().unwrap().claims = claims;
        assert_eq!(transaction_of(&call), "txn-7");
    }
}
