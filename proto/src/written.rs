//! Lictor JSON of calls and decisions, written straight from the typed message: what records keep of
//! every decision. Tests hold it equal to what `serde` writes.

use crate::call::{Call, Content, Party};
use crate::canonical::{list, member, optional};
use crate::decision::{Approval, BundleRef, Decision, Finding, LimitState, Obligation, Reason};
use crate::json::text::quote;

/// Room for what is usual.
const BYTES_LIKELY: usize = 1_024;

/// The call, every declared member present.
pub(crate) fn call(call: &Call) -> String {
    let mut out = String::with_capacity(BYTES_LIKELY + call.context.args.text().len());
    out.push_str("{\"call_id\":");
    quote(&mut out, &call.call_id);
    member(&mut out, "phase", call.phase.as_str());
    member(&mut out, "tenant", &call.tenant);
    out.push_str(",\"questions\":");
    list(&mut out, &call.questions, |out, question| quote(out, question.as_str()));
    out.push_str(",\"subject\":");
    optional(&mut out, call.subject.as_ref(), party);
    out.push_str(",\"agent\":");
    optional(&mut out, call.agent.as_ref(), party);
    out.push_str(",\"delegation\":");
    list(&mut out, &call.delegation, party);
    out.push_str(",\"action\":{\"name\":");
    quote(&mut out, &call.action.name);
    out.push_str("},\"credential\":");
    optional(&mut out, call.credential.as_ref(), |out, credential| {
        out.push_str("{\"kind\":");
        quote(out, credential.kind.as_str());
        member(out, "id", &credential.id);
        member(out, "issuer", &credential.issuer);
        out.push('}');
    });
    out.push_str(",\"request_call_id\":");
    optional(&mut out, call.request_call_id.as_ref(), |out, id| quote(out, id));
    flag(&mut out, "executed", call.executed);
    out.push_str(",\"resource\":");
    optional(&mut out, call.resource.as_ref(), |out, resource| {
        out.push_str("{\"type\":");
        quote(out, resource.kind.as_str());
        member(out, "id", &resource.id);
        out.push('}');
    });
    circumstances(&mut out, call);
    out
}

/// The members of a call from its context on.
fn circumstances(out: &mut String, call: &Call) {
    out.push_str(",\"context\":{\"args\":");
    out.push_str(call.context.args.text());
    member(out, "source_ip", &call.context.source_ip);
    member(out, "trace_id", &call.context.trace_id);
    member(out, "protocol", &call.context.protocol);
    out.push_str("},\"content\":");
    list(out, &call.content, content);
    out.push_str(",\"session\":");
    optional(out, call.session.as_ref(), |out, session| {
        out.push_str("{\"handle\":");
        quote(out, &session.handle);
        out.push('}');
    });
    out.push_str(",\"usage\":{\"input_tokens\":");
    integer(out, call.usage.input_tokens);
    number(out, "max_output_tokens", call.usage.max_output_tokens);
    number(out, "cost_usd_micros", call.usage.cost_usd_micros);
    out.push_str("}}");
}

fn party(out: &mut String, party: &Party) {
    out.push_str("{\"type\":");
    quote(out, &party.kind);
    member(out, "id", &party.id);
    out.push_str(",\"claims\":");
    out.push_str(party.claims.text());
    out.push('}');
}

fn content(out: &mut String, content: &Content) {
    out.push_str("{\"origin\":");
    quote(out, content.origin.as_str());
    member(out, "pointer", &content.pointer);
    member(out, "media", &content.media);
    member(out, "text", &content.text);
    out.push('}');
}

/// The decision, every declared member present.
pub(crate) fn decision(decision: &Decision) -> String {
    let mut out = String::with_capacity(BYTES_LIKELY);
    out.push_str("{\"decision_id\":");
    quote(&mut out, &decision.decision_id);
    member(&mut out, "call_id", &decision.call_id);
    member(&mut out, "effect", decision.effect.as_str());
    flag(&mut out, "dry_run", decision.dry_run);
    out.push_str(",\"reasons\":");
    list(&mut out, &decision.reasons, reason);
    out.push_str(",\"obligations\":");
    list(&mut out, &decision.obligations, obligation);
    out.push_str(",\"findings\":");
    list(&mut out, &decision.findings, finding);
    out.push_str(",\"limits\":");
    list(&mut out, &decision.limits, limit);
    flag(&mut out, "executed", decision.executed);
    out.push_str(",\"approval\":");
    optional(&mut out, decision.approval.as_ref(), approval);
    out.push_str(",\"labels\":{\"integrity\":");
    quote(&mut out, decision.labels.integrity.as_str());
    member(&mut out, "confidentiality", decision.labels.confidentiality.as_str());
    out.push_str("},\"bundle\":");
    optional(&mut out, decision.bundle.as_ref(), bundle);
    member(&mut out, "request_digest", &decision.request_digest);
    out.push('}');
    out
}

fn reason(out: &mut String, reason: &Reason) {
    out.push_str("{\"id\":");
    quote(out, &reason.id);
    member(out, "message", &reason.message);
    member(out, "detail", &reason.detail);
    member(out, "policy", &reason.policy);
    out.push('}');
}

fn obligation(out: &mut String, obligation: &Obligation) {
    out.push_str("{\"id\":");
    quote(out, &obligation.id);
    member(out, "type", obligation.kind.as_str());
    out.push_str(",\"properties\":");
    out.push_str(obligation.properties.text());
    out.push('}');
}

fn finding(out: &mut String, finding: &Finding) {
    out.push_str("{\"detector\":");
    quote(out, &finding.detector);
    member(out, "category", &finding.category);
    member(out, "severity", finding.severity.as_str());
    out.push_str(",\"score\":");
    // A score that is no number is `null`, as for every other writer.
    out.push_str(&serde_json::Value::from(finding.score).to_string());
    number(out, "content", u64::from(finding.content));
    number(out, "start", finding.start);
    number(out, "end", finding.end);
    out.push('}');
}

fn limit(out: &mut String, limit: &LimitState) {
    out.push_str("{\"id\":");
    quote(out, &limit.id);
    number(out, "reserved", limit.reserved);
    number(out, "remaining", limit.remaining);
    member(out, "reset_at", &limit.reset_at);
    number(out, "retry_after_ms", limit.retry_after_ms);
    out.push('}');
}

fn approval(out: &mut String, approval: &Approval) {
    out.push_str("{\"id\":");
    quote(out, &approval.id);
    member(out, "expires", &approval.expires);
    out.push_str(",\"approvers\":");
    list(out, &approval.approvers, |out, approver| quote(out, approver));
    number(out, "count", u64::from(approval.count));
    out.push('}');
}

fn bundle(out: &mut String, bundle: &BundleRef) {
    out.push_str("{\"name\":");
    quote(out, &bundle.name);
    member(out, "revision", &bundle.revision);
    number(out, "version", bundle.version);
    member(out, "digest", &bundle.digest);
    out.push('}');
}

fn flag(out: &mut String, name: &str, value: bool) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str(if value { "\":true" } else { "\":false" });
}

fn number(out: &mut String, name: &str, value: u64) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    integer(out, value);
}

fn integer(out: &mut String, value: u64) {
    match value {
        0 => out.push('0'),
        _ => out.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{
        Action, Context, Credential, CredentialKind, Origin, Phase, Question, Resource,
        ResourceKind, SessionRef, Usage,
    };
    use crate::decision::{Confidentiality, Effect, Integrity, Labels, ObligationKind, Severity};
    use crate::json::Open;

    fn odd(text: &str) -> String {
        format!("{text} \"\\\n\u{1}\u{7f}é😀")
    }

    fn open() -> Open {
        Open::parse(br#" { "b" : 1.50, "a" : [ null, "\u00e9\n", {"z": 1, "a": 2} ] } "#).unwrap()
    }

    fn person(id: &str) -> Party {
        Party { kind: odd("user"), id: odd(id), claims: open() }
    }

    fn full(number: usize) -> Call {
        let kinds = [
            ResourceKind::Tool,
            ResourceKind::Model,
            ResourceKind::Server,
            ResourceKind::Resource,
            ResourceKind::Prompt,
            ResourceKind::Agent,
            ResourceKind::Memory,
        ];
        let credentials = [
            CredentialKind::Jwt,
            CredentialKind::ApiKey,
            CredentialKind::Mtls,
            CredentialKind::Spiffe,
            CredentialKind::Peer,
        ];
        let origins = [
            Origin::System,
            Origin::User,
            Origin::Assistant,
            Origin::ToolResult,
            Origin::ToolArgs,
            Origin::ToolDefinition,
            Origin::Retrieved,
        ];
        let content = |origin| Content {
            origin,
            pointer: odd("/a"),
            media: odd("text/plain"),
            text: odd("text"),
        };
        Call {
            call_id: odd("call"),
            phase: [Phase::Request, Phase::List, Phase::Response][number % 3],
            tenant: odd("tenant"),
            questions: vec![Question::Quota, Question::Authz, Question::Guardrail],
            subject: Some(person("alice")),
            agent: Some(person("bot")),
            delegation: vec![person("one"), Party::default()],
            action: Action { name: odd("tools/call") },
            credential: Some(Credential {
                kind: credentials[number % credentials.len()],
                id: odd("c"),
                issuer: odd("i"),
            }),
            request_call_id: Some(odd("before")),
            executed: number.is_multiple_of(2),
            resource: Some(Resource { kind: kinds[number % kinds.len()], id: odd("s/t") }),
            context: Context {
                args: open(),
                source_ip: odd("10.0.0.7"),
                trace_id: odd("00-1"),
                protocol: odd("mcp"),
            },
            content: origins.into_iter().map(content).collect(),
            session: Some(SessionRef { handle: odd("ls1.") }),
            usage: Usage { input_tokens: 1, max_output_tokens: 0, cost_usd_micros: u64::MAX },
        }
    }

    #[test]
    fn calls_are_written_as_serde_writes_them() {
        for call in (0..8).map(full).chain([Call::default()]) {
            assert_eq!(super::call(&call), serde_json::to_string(&call).unwrap());
            assert_eq!(call.to_json(), serde_json::to_string(&call).unwrap());
        }
    }

    fn seen(severity: Severity, score: f64) -> Finding {
        Finding {
            detector: odd("secret/key"),
            category: odd("secret"),
            severity,
            score,
            content: u32::MAX,
            start: 0,
            end: u64::MAX,
        }
    }

    fn told(kind: ObligationKind) -> Obligation {
        Obligation { id: odd("o"), kind, properties: open() }
    }

    fn made(effect: Effect) -> Decision {
        let kinds = [
            ObligationKind::Mask,
            ObligationKind::Route,
            ObligationKind::CapTokens,
            ObligationKind::SetHeader,
            ObligationKind::StripTools,
            ObligationKind::Spotlight,
            ObligationKind::StepUp,
            ObligationKind::Notify,
            ObligationKind::Label,
            ObligationKind::LogFull,
        ];
        let severities =
            [Severity::Low, Severity::Medium, Severity::High, Severity::Critical, Severity::Low];
        let scores = [0.0, 1.0, 0.1, 1e-12, f64::NAN];
        let limit = LimitState {
            id: odd("team"),
            reserved: 1_200,
            remaining: 0,
            reset_at: odd("2026"),
            retry_after_ms: 7,
        };
        Decision {
            effect,
            dry_run: true,
            reasons: vec![
                Reason {
                    policy: odd("p"),
                    ..Reason::new(&odd("r"), odd("m")).with_detail(odd("d"))
                },
                Reason::new("", ""),
            ],
            obligations: kinds.into_iter().map(told).collect(),
            findings: severities.into_iter().zip(scores).map(|(s, score)| seen(s, score)).collect(),
            limits: vec![limit.clone(), limit],
            executed: true,
            approval: Some(Approval {
                id: odd("a"),
                expires: odd("e"),
                approvers: vec![odd("bob"), String::new()],
                count: 2,
            }),
            labels: Labels {
                integrity: Integrity::Trusted,
                confidentiality: Confidentiality::Secret,
            },
            bundle: Some(BundleRef {
                name: odd("n"),
                revision: odd("r"),
                version: 12,
                digest: odd("sha256:"),
            }),
            request_digest: odd("sha256:"),
            ..Decision::denied(&odd("d"), &odd("c"), Reason::new("x", "y"))
        }
    }

    #[test]
    fn decisions_are_written_as_serde_writes_them() {
        let labels = |confidentiality| Labels { integrity: Integrity::Untrusted, confidentiality };
        let plain = Decision::denied("d", "c", Reason::new("x", "y"));
        let mut decisions: Vec<Decision> =
            [Effect::Allow, Effect::Deny, Effect::Ask].into_iter().map(made).collect();
        for confidentiality in [Confidentiality::Public, Confidentiality::Internal] {
            decisions.push(Decision { labels: labels(confidentiality), ..plain.clone() });
        }
        for decision in decisions {
            let expected = serde_json::to_string(&decision).unwrap();
            assert_eq!(super::decision(&decision), expected);
            assert_eq!(decision.to_json(), expected);
        }
    }
}
