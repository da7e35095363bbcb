//! The canonical text of a call for its digest, written straight from the typed
//! message: members sorted by name, no white space, `trace_id` left out. A test
//! holds it equal to scanning the call's JSON and sorting that.

use crate::call::{Call, Content, Party};
use crate::json::text::quote;

/// The canonical text of `call` without its `trace_id`.
#[must_use]
pub fn of_call(call: &Call) -> String {
    let mut out = String::with_capacity(1_024);
    out.push_str("{\"action\":{\"name\":");
    quote(&mut out, &call.action.name);
    out.push_str("},\"agent\":");
    optional(&mut out, call.agent.as_ref(), party);
    member(&mut out, "call_id", &call.call_id);
    out.push_str(",\"content\":");
    list(&mut out, &call.content, content);
    out.push_str(",\"context\":{\"args\":");
    out.push_str(call.context.args.canonical());
    member(&mut out, "protocol", &call.context.protocol);
    member(&mut out, "source_ip", &call.context.source_ip);
    out.push_str("},\"credential\":");
    optional(&mut out, call.credential.as_ref(), |out, credential| {
        out.push_str("{\"id\":");
        quote(out, &credential.id);
        member(out, "issuer", &credential.issuer);
        member(out, "kind", credential.kind.as_str());
        out.push('}');
    });
    out.push_str(",\"delegation\":");
    list(&mut out, &call.delegation, party);
    out.push_str(if call.executed { ",\"executed\":true" } else { ",\"executed\":false" });
    member(&mut out, "phase", call.phase.as_str());
    out.push_str(",\"questions\":");
    list(&mut out, &call.questions, |out, question| quote(out, question.as_str()));
    out.push_str(",\"request_call_id\":");
    optional(&mut out, call.request_call_id.as_ref(), |out, id| quote(out, id));
    out.push_str(",\"resource\":");
    optional(&mut out, call.resource.as_ref(), |out, resource| {
        out.push_str("{\"id\":");
        quote(out, &resource.id);
        member(out, "type", resource.kind.as_str());
        out.push('}');
    });
    out.push_str(",\"session\":");
    optional(&mut out, call.session.as_ref(), |out, session| {
        out.push_str("{\"handle\":");
        quote(out, &session.handle);
        out.push('}');
    });
    out.push_str(",\"subject\":");
    optional(&mut out, call.subject.as_ref(), party);
    member(&mut out, "tenant", &call.tenant);
    out.push_str(",\"usage\":{\"cost_usd_micros\":");
    out.push_str(&call.usage.cost_usd_micros.to_string());
    out.push_str(",\"input_tokens\":");
    out.push_str(&call.usage.input_tokens.to_string());
    out.push_str(",\"max_output_tokens\":");
    out.push_str(&call.usage.max_output_tokens.to_string());
    out.push_str("}}");
    out
}

pub(crate) fn member(out: &mut String, name: &str, value: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    quote(out, value);
}

pub(crate) fn optional<T>(
    out: &mut String,
    value: Option<&T>,
    write: impl FnOnce(&mut String, &T),
) {
    match value {
        Some(value) => write(out, value),
        None => out.push_str("null"),
    }
}

pub(crate) fn list<T>(out: &mut String, items: &[T], write: impl Fn(&mut String, &T)) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

fn party(out: &mut String, party: &Party) {
    out.push_str("{\"claims\":");
    out.push_str(party.claims.canonical());
    member(out, "id", &party.id);
    member(out, "type", &party.kind);
    out.push('}');
}

fn content(out: &mut String, content: &Content) {
    out.push_str("{\"media\":");
    quote(out, &content.media);
    member(out, "origin", content.origin.as_str());
    member(out, "pointer", &content.pointer);
    member(out, "text", &content.text);
    out.push('}');
}
