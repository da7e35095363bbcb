//! `/v1/models`: the providers' own lists, with only those models in them that the caller may use.

use axum::body::Body;
use bytes::Bytes;
use http::header::HeaderMap;
use http::{Method, Response, StatusCode};
use lictor_pep_core::edit::Edits;
use lictor_pep_core::{Ended, Ending, Entry, Flight, Refusal};
use lictor_proto::call::{Resource, ResourceKind};
use lictor_proto::json::{Node, Value, scan};
use lictor_proto::reason;

use crate::ingress::{CHAT, Caller, OTHER, OTHER_PROTOCOL};
use crate::response::{self, Plain};
use crate::server::{App, Reply};
use crate::upstream::{Sent, Upstream};
use crate::{exchange, obligations, refusal};

/// Where a provider lists its models.
const PATH: &str = "/models";

/// The list that the caller may see; `None` if the caller has gone. With one provider it is that provider's own
/// body with entries taken out; with several, one list of all of them with prefixed names, of those that answered.
pub(crate) async fn models(
    app: &App,
    caller: &Caller,
    reply: &mut Reply,
) -> Option<Response<Body>> {
    let several = app.upstreams.several();
    let mut kept = Vec::new();
    let mut failed = None;
    for upstream in app.upstreams.all() {
        match list(app, caller, reply, upstream, several).await {
            Ok(Some(listed)) if several && listed.status().is_success() => {
                match entries(listed).await {
                    Some(more) => kept.push(more),
                    None => failed = failed.or_else(|| Some(unreadable())),
                }
            }
            Ok(Some(listed)) if several => failed = failed.or(Some(listed)),
            Ok(listed) => return listed,
            Err(refused) => failed = failed.or_else(|| Some(refusal::response(&refused))),
        }
    }
    match failed {
        Some(failed) if kept.is_empty() => Some(failed),
        _ => Some(joined(&kept)),
    }
}

fn unreadable() -> Response<Body> {
    refusal::response(&Refusal::new(reason::UPSTREAM_UNAVAILABLE, "no list could be read"))
}

/// The text between the brackets of a list that [`list`] has made.
async fn entries(listed: Response<Body>) -> Option<String> {
    let body = axum::body::to_bytes(listed.into_body(), usize::MAX).await.ok()?;
    let root = scan(&body).ok()?;
    let entries: Vec<String> = root.get("data")?.items().iter().map(Node::compact).collect();
    Some(entries.join(","))
}

fn joined(lists: &[String]) -> Response<Body> {
    let lists: Vec<&str> =
        lists.iter().map(String::as_str).filter(|list| !list.is_empty()).collect();
    let body = format!("{{\"object\":\"list\",\"data\":[{}]}}", lists.join(","));
    let mut headers = HeaderMap::new();
    let json = http::header::HeaderValue::from_static("application/json");
    headers.insert(http::header::CONTENT_TYPE, json);
    response::answer_of(StatusCode::OK, headers, Body::from(body))
}

/// One provider's list, filtered.
async fn list(
    app: &App,
    caller: &Caller,
    reply: &mut Reply,
    upstream: &Upstream,
    prefixed: bool,
) -> Result<Option<Response<Body>>, Refusal> {
    let mut request = caller.request(OTHER_PROTOCOL, OTHER, ResourceKind::Server, upstream.id());
    request.targets = vec![upstream.target()];
    let permitted = app.pep.decide_while(request, reply.gone()).await?;
    let set = match obligations::headers(&permitted) {
        Ok(set) => set,
        Err(refused) => {
            app.pep.give_up(permitted, &refused).await?;
            return Err(refused);
        }
    };
    let (body, now_ms) = (Bytes::new(), app.pep.clock().now_ms());
    let had = app.upstreams.credential(upstream, caller.proof(), &permitted, now_ms).await;
    let credential = match had {
        Ok(credential) => credential,
        Err(refused) => {
            app.pep.give_up(permitted, &refused).await?;
            return Err(refused);
        }
    };
    let (permit, flight) = app.pep.permit(permitted, &body).await?;
    let (method, caller) = (Method::GET, &caller.headers);
    let sent = Sent { method, path: PATH, caller, set, credential, body };
    let Some((flight, answer)) = exchange::send(app, upstream, permit, flight, sent, reply).await?
    else {
        return Ok(None);
    };
    let Some((flight, mut plain)) = response::collect(app, flight, answer, reply).await? else {
        return Ok(None);
    };
    if plain.status.is_success() {
        match filtered(app, &flight, upstream, &plain, prefixed).await {
            Ok(body) => plain.body = body,
            Err(withheld) => {
                let ending = Ending::new(Ended::Withheld, plain.status.as_u16());
                return Err(app.end(flight, ending, withheld).await);
            }
        }
    }
    Ok(Some(response::release(&app.pep, flight, plain).await))
}

/// The body with the entries that the caller may see, and as it came where that is all of them.
async fn filtered(
    app: &App,
    flight: &Flight,
    upstream: &Upstream,
    plain: &Plain,
    prefixed: bool,
) -> Result<Bytes, Refusal> {
    let unreadable = || {
        flight
            .withhold(reason::UPSTREAM_UNAVAILABLE, "the provider's list of models cannot be read")
    };
    let root = scan(&plain.body).map_err(|_| unreadable())?;
    let data = root.get("data").filter(|data| matches!(data.value, Value::Array(_)));
    let data = data.ok_or_else(unreadable)?;
    // An entry without a name cannot be asked about and stays hidden.
    let named: Vec<(&Node, &Node, &str)> = data
        .items()
        .iter()
        .filter_map(|entry| entry.get("id").and_then(|id| Some((entry, id, id.as_str()?))))
        .collect();
    let asked = named.iter().map(|(_, _, id)| entry_of(upstream, id)).collect();
    let seen = app.pep.visible(flight, asked).await?;
    let hidden = named.len() != data.items().len() || seen.iter().any(|seen| !seen);
    let mut edits = Edits::new();
    let mut kept = Vec::new();
    for ((entry, id, name), _) in named.iter().zip(&seen).filter(|(_, seen)| **seen) {
        if prefixed {
            let mut quoted = String::new();
            lictor_proto::json::text::quote(&mut quoted, &upstream.resource_id(name));
            kept.push(renamed(&plain.body, entry, id, &quoted).ok_or_else(unreadable)?);
        } else {
            kept.push(text_of(&plain.body, entry).ok_or_else(unreadable)?);
        }
    }
    if hidden || prefixed {
        edits.replace(data, format!("[{}]", kept.join(",")));
    }
    let body = edits.apply(&plain.body).map_err(|_| unreadable())?;
    Ok(body.into())
}

fn entry_of(upstream: &Upstream, name: &str) -> Entry {
    Entry {
        action: CHAT.to_owned(),
        resource: Resource { kind: ResourceKind::Model, id: upstream.resource_id(name) },
        content: Vec::new(),
    }
}

fn text_of(body: &[u8], node: &Node) -> Option<String> {
    let bytes = body.get(node.span.start..node.span.end)?;
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

/// The entry with another text for its `id`.
fn renamed(body: &[u8], entry: &Node, id: &Node, text: &str) -> Option<String> {
    let before = body.get(entry.span.start..id.span.start)?;
    let after = body.get(id.span.end..entry.span.end)?;
    let (before, after) = (std::str::from_utf8(before).ok()?, std::str::from_utf8(after).ok()?);
    Some(format!("{before}{text}{after}"))
}
