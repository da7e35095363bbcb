//! What a receiver gets. Names and messages come from policies, the registry and callers; none of
//! them may become a link, a mention or a line of its own in a chat.

use serde_json::{Value, json};

use super::config::{ApprovalsConfig, Format, WebhookConfig};
use super::event::Event;
use crate::state::approval::{ApprovalRecord, rfc3339};

/// Arguments of more bytes than this are left out.
pub const ARGS_MAX_BYTES: usize = 8 * 1024;
/// Longest text of one part of a chat message, characters (Slack allows 3 000 for a section).
pub const TEXT_MAX_CHARS: usize = 2_000;

/// The body of one delivery.
#[must_use]
pub fn body(
    config: &ApprovalsConfig,
    hook: &WebhookConfig,
    delivery: &str,
    event: Event,
    record: &ApprovalRecord,
    now_ms: i64,
) -> String {
    let body = match hook.format {
        Format::Json => plain(config, hook, delivery, event, record, now_ms),
        Format::Slack => slack(config, hook, event, record),
    };
    body.to_string()
}

fn plain(
    config: &ApprovalsConfig,
    hook: &WebhookConfig,
    delivery: &str,
    event: Event,
    record: &ApprovalRecord,
    now_ms: i64,
) -> Value {
    let (binding, opened) = (&record.binding, &record.opened);
    let shown = record.public();
    let reasons: Vec<Value> =
        opened.reasons.iter().map(|r| json!({ "id": r.id, "message": r.message })).collect();
    let parts: Vec<Value> = opened
        .parts
        .iter()
        .map(|p| json!({ "ask": p.ask, "approvers": p.approvers, "count": p.count.max(1) }))
        .collect();
    let mut call = json!({
        "tenant": binding.tenant, "subject": binding.subject, "agent": binding.agent,
        "delegation": binding.delegation, "action": binding.action,
        "resource": binding.resource, "args_digest": binding.args_digest,
        "content_digest": binding.content_digest, "binding_digest": binding.digest(),
    });
    if let Some(args) = args(hook, record) {
        let args = serde_json::from_str(args).unwrap_or_else(|_| json!(args));
        put(&mut call, "args", args);
    }
    json!({
        "type": format!("approval.{}", event.as_str()),
        "event": event.as_str(), "delivery": delivery, "at": rfc3339(now_ms),
        "approval": {
            "id": shown.id, "expires": shown.expires, "opened": rfc3339(record.opened_ms),
            "approvers": shown.approvers, "count": shown.count, "parts": parts,
            "approved_by": record.approved_by, "denied_by": record.denied_by,
        },
        "call": call, "reasons": reasons, "bundle_digest": binding.bundle_digest,
        "answer": answer(config, record),
    })
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// How a person answers.
fn answer(config: &ApprovalsConfig, record: &ApprovalRecord) -> Value {
    let id = &record.opened.id;
    let pdp = config.pdp_url.as_ref().map(|url| format!(" --pdp {url}")).unwrap_or_default();
    let command = |verb: &str| format!("lictor approvals {verb} {id} --token FILE{pdp}");
    // Whoever agrees agrees to the call that this event tells of.
    let approve = format!("{} --digest {}", command("approve"), record.binding.digest());
    let mut answer = json!({ "approve": approve, "deny": command("deny") });
    if let Some(url) = &config.answer_url {
        put(&mut answer, "url", json!(format!("{}/{id}", url.trim_end_matches('/'))));
    }
    answer
}

/// The arguments, where the receiver may have them.
fn args<'a>(hook: &WebhookConfig, record: &'a ApprovalRecord) -> Option<&'a str> {
    let args = record.opened.args.as_str();
    (hook.include_args && args.len() <= ARGS_MAX_BYTES).then_some(args)
}

fn slack(
    config: &ApprovalsConfig,
    hook: &WebhookConfig,
    event: Event,
    record: &ApprovalRecord,
) -> Value {
    let binding = &record.binding;
    let title = match event {
        Event::Opened => "Approval needed",
        Event::Approved => "Approved",
        Event::Denied => "Refused",
        Event::Expired => "Approval expired",
        Event::Used => "Approval used",
        Event::Voided => "Approval voided",
    };
    let what = format!(
        "{title}: {} for {} wants {} on {}",
        escaped(&binding.agent),
        escaped(&binding.subject),
        escaped(&binding.action),
        escaped(&binding.resource)
    );
    let mut blocks = vec![section(&format!("*{}*", cut(&what)))];
    let reasons: Vec<String> =
        record.opened.reasons.iter().map(|r| format!("• {}", escaped(&r.message))).collect();
    if !reasons.is_empty() {
        blocks.push(section(&reasons.join("\n")));
    }
    if let Some(args) = args(hook, record) {
        blocks.push(section(&format!("`{}`", cut(&escaped(args).replace('`', "'")))));
    }
    blocks.push(section(&slack_people(record)));
    if event == Event::Opened {
        blocks.push(section(&slack_answer(config, record)));
    }
    json!({ "text": cut(&what), "blocks": blocks })
}

fn slack_people(record: &ApprovalRecord) -> String {
    let shown = record.public();
    let names = |names: &mut dyn Iterator<Item = &String>| {
        names.map(|name| escaped(name)).collect::<Vec<_>>().join(", ")
    };
    let mut text = format!(
        "{} of {} must agree until {}",
        shown.count,
        names(&mut shown.approvers.iter()),
        escaped(&shown.expires)
    );
    if !record.approved_by.is_empty() {
        text.push_str(&format!("\nagreed: {}", names(&mut record.approved_by.iter())));
    }
    if let Some(name) = &record.denied_by {
        text.push_str(&format!("\nrefused: {}", escaped(name)));
    }
    text
}

fn slack_answer(config: &ApprovalsConfig, record: &ApprovalRecord) -> String {
    let answer = answer(config, record);
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let url = text("url");
    let link = if url.is_empty() { url } else { format!("\n{url}") };
    format!("`{}`\n`{}`{link}", text("approve"), text("deny"))
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": cut(text) } })
}

/// Text that is only text in Slack's markup: no entity, no mention, no link, no line break.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

fn cut(text: &str) -> String {
    if text.chars().count() <= TEXT_MAX_CHARS {
        return text.to_owned();
    }
    let kept: String = text.chars().take(TEXT_MAX_CHARS - 1).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::tests::{config, record};

    fn told(config: &ApprovalsConfig, event: Event, record: &ApprovalRecord) -> Value {
        let text = body(config, &config.webhooks[0], "d1", event, record, 0);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn it_says_what_who_why_until_when_and_how_to_answer() {
        let mut config = config("http://localhost/x");
        config.pdp_url = Some("https://pdp.example:7070".to_owned());
        config.answer_url = Some("https://console.example/approvals/".to_owned());
        let told = told(&config, Event::Opened, &record("a1"));
        assert_eq!((&told["event"], &told["delivery"]), (&"opened".into(), &"d1".into()));
        assert_eq!(told["approval"]["approvers"], json!(["bob"]));
        assert_eq!(told["approval"]["expires"], "1970-01-01T00:15:00Z");
        assert_eq!(told["reasons"][0]["message"], "more than 500");
        assert_eq!(told["call"]["resource"], "tool:a/pay");
        assert!(told["call"].get("args").is_none(), "arguments may be confidential");
        let command = "lictor approvals approve a1 --token FILE --pdp https://pdp.example:7070";
        let approve = format!("{command} --digest {}", record("a1").binding.digest());
        assert_eq!(told["answer"]["approve"], approve);
        assert_eq!(told["type"], "approval.opened");
        assert_eq!(told["answer"]["url"], "https://console.example/approvals/a1");
    }

    #[test]
    fn arguments_are_told_where_asked_for_up_to_their_bound() {
        let mut config = config("http://localhost/x");
        config.webhooks[0].include_args = true;
        let mut record = record("a1");
        assert_eq!(told(&config, Event::Opened, &record)["call"]["args"]["amount"], 900);
        let args = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        record.opened.args = args(ARGS_MAX_BYTES);
        assert!(told(&config, Event::Opened, &record)["call"].get("args").is_some());
        record.opened.args = args(ARGS_MAX_BYTES + 1);
        assert!(told(&config, Event::Opened, &record)["call"].get("args").is_none());
    }

    #[test]
    fn a_chat_message_has_no_foreign_markup() {
        let mut config = config("http://localhost/x");
        config.webhooks[0].format = Format::Slack;
        let mut record = record("a1");
        record.binding.agent = "<!channel>\n& co".to_owned();
        let told = told(&config, Event::Opened, &record);
        let text = told["text"].as_str().unwrap();
        assert!(text.contains("&lt;!channel&gt; &amp; co"), "{text}");
        let all = told.to_string();
        assert!(!all.contains("<!channel>") && !all.contains("amount"), "{all}");
        assert!(all.contains("lictor approvals approve a1"), "{all}");
        for block in told["blocks"].as_array().unwrap() {
            assert_eq!(block["type"], "section");
        }
    }

    #[test]
    fn a_long_text_is_cut_at_its_bound() {
        assert_eq!(cut(&"é".repeat(TEXT_MAX_CHARS)).chars().count(), TEXT_MAX_CHARS);
        let cut = cut(&"é".repeat(TEXT_MAX_CHARS + 1));
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (TEXT_MAX_CHARS, true));
    }
}
