//! The ids of every refusal that Lictor itself makes. Policies bring their own.

/// A call states facts.
pub const FACT_IN_CALL: &str = "fact_in_call";
/// A call has the wrong shape.
pub const CALL_INVALID: &str = "call_invalid";
/// The same `call_id` came with another content.
pub const CALL_ID_REUSED: &str = "call_id_reused";
/// The enforcement point gave this call up before.
pub const CALL_ABANDONED: &str = "call_abandoned";
/// A policy, or the engine, failed.
pub const POLICY_ERROR: &str = "policy_error";
/// The registry lacks the resource.
pub const RESOURCE_UNKNOWN: &str = "resource_unknown";
/// The registry lacks the agent, or an actor of the delegation.
pub const AGENT_UNKNOWN: &str = "agent_unknown";
/// The agent is in the registry but not active.
pub const AGENT_INACTIVE: &str = "agent_inactive";
/// The agent may not act by tokens of this issuer.
pub const AGENT_ISSUER_REFUSED: &str = "agent_issuer_refused";
/// The agent may not act by this sort of credential.
pub const AGENT_CREDENTIAL_REFUSED: &str = "agent_credential_refused";
/// An agent of the chain may not act for the one behind it.
pub const DELEGATION_REFUSED: &str = "delegation_refused";
/// The chain has more hops than the registry allows.
pub const DELEGATION_TOO_DEEP: &str = "delegation_too_deep";
/// An agent stands in the chain twice.
pub const DELEGATION_LOOP: &str = "delegation_loop";
/// An agent of the chain does not hand on this part of its authority.
pub const DELEGATION_NOT_TRANSFERABLE: &str = "delegation_not_transferable";
/// No policy permits it.
pub const NO_PERMIT: &str = "no_permit";
/// Nothing is permitted because the bundle has no policies.
pub const NO_POLICIES: &str = "no_policies";
/// Arguments do not fit the tool's schema.
pub const ARGS_INVALID: &str = "args_invalid";
/// Arguments do not fit the types that a policy reads.
pub const ARGS_UNREPRESENTABLE: &str = "args_unrepresentable";
/// Obligations contradict each other.
pub const OBLIGATION_CONFLICT: &str = "obligation_conflict";
/// The enforcement point does not know an obligation.
pub const OBLIGATION_UNKNOWN: &str = "obligation_unknown";
/// An obligation could not be carried out.
pub const OBLIGATION_FAILED: &str = "obligation_failed";
/// The tool is known but not callable without a schema.
pub const SCHEMA_MISSING: &str = "schema_missing";
/// No bundle is live.
pub const BUNDLE_MISSING: &str = "bundle_missing";
/// The bundle is past its expiry.
pub const BUNDLE_EXPIRED: &str = "bundle_expired";
/// The bundle's freshness is not proved.
pub const BUNDLE_STALE: &str = "bundle_stale";
/// Too many others changed the session at once.
pub const SESSION_CONFLICT: &str = "session_conflict";
/// The session handle is unknown, expired or somebody else's.
pub const SESSION_UNKNOWN: &str = "session_unknown";
/// The state store did not answer.
pub const STATE_UNAVAILABLE: &str = "state_unavailable";
/// The decision point did not answer in time.
pub const PDP_UNAVAILABLE: &str = "pdp_unavailable";
/// The decision point has too much to do.
pub const OVERLOADED: &str = "overloaded";
/// The audit log cannot be written.
pub const AUDIT_UNAVAILABLE: &str = "audit_unavailable";
/// A result was withheld after its effect.
pub const RESULT_WITHHELD: &str = "result_withheld";
/// A method that no table names.
pub const METHOD_UNKNOWN: &str = "method_unknown";
/// A JSON-RPC batch.
pub const BATCH_REFUSED: &str = "batch_refused";
/// The body is larger than is read.
pub const BODY_TOO_LARGE: &str = "body_too_large";
/// The body is not what the protocol wants.
pub const BODY_INVALID: &str = "body_invalid";
/// Headers and body disagree.
pub const HEADER_MISMATCH: &str = "header_mismatch";
/// The server or tool is not configured here.
pub const UPSTREAM_UNKNOWN: &str = "upstream_unknown";
/// The provider or tool did not answer.
pub const UPSTREAM_UNAVAILABLE: &str = "upstream_unavailable";
/// No credential for the provider or tool could be had, so nothing was sent.
pub const UPSTREAM_CREDENTIAL_UNAVAILABLE: &str = "upstream_credential_unavailable";
/// The caller may not ask this of the decision point.
pub const ROLE_MISSING: &str = "role_missing";
/// The agent, or an actor of the delegation, is revoked.
pub const AGENT_REVOKED: &str = "agent_revoked";
/// The subject is revoked.
pub const SUBJECT_REVOKED: &str = "subject_revoked";
/// The credential is revoked.
pub const CREDENTIAL_REVOKED: &str = "credential_revoked";
/// The session is revoked.
pub const SESSION_REVOKED: &str = "session_revoked";
/// The tool is revoked.
pub const TOOL_REVOKED: &str = "tool_revoked";
/// The model is revoked.
pub const MODEL_REVOKED: &str = "model_revoked";
/// The server is revoked.
pub const SERVER_REVOKED: &str = "server_revoked";
/// The list of revocations is past its time, or there is none.
pub const REVOCATION_STALE: &str = "revocation_stale";
/// The enforcement point may not ask about this.
pub const PEP_NOT_REGISTERED_FOR: &str = "pep_not_registered_for";
/// The decision's deadline has passed.
pub const DEADLINE_PASSED: &str = "deadline_passed";
/// A limit counts money and the registry has no prices of the model.
pub const PRICE_UNKNOWN: &str = "price_unknown";
/// A limit lacks room; the limit's id follows.
pub const LIMIT_PREFIX: &str = "limit.";
