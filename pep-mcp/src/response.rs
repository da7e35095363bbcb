//! The way back: lists are filtered, a second decision is asked where it could matter, masks are
//! applied by span, and only then is there something to release.

use lictor_pep_core::{Ended, Ending, Flight, Pep, Refusal, Reviewed, mask};
use lictor_proto::call::{Content, Origin};
use lictor_proto::decision::{Decision, ObligationKind};
use lictor_proto::json::{Node, digest, scan};
use lictor_proto::reason;

use crate::config::Server;
use crate::ingress::ENVELOPE;
use crate::lists;
use crate::methods::Class;
use crate::texts::Texts;

/// Something that may be released once its record is written.
#[derive(Debug)]
pub(crate) struct Released {
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// Whether they differ from what the server sent.
    pub(crate) changed: bool,
    /// How the call ended.
    pub(crate) ending: Ending,
}

/// Examines a JSON-RPC message that answers the call of `flight`.
pub(crate) async fn examine(
    pep: &Pep,
    flight: &Flight,
    server: &Server,
    class: Class,
    bytes: &[u8],
    http_status: u16,
) -> Result<Released, Refusal> {
    let node = read(flight, bytes)?;
    let filtered = match class {
        Class::List(list) => lists::filter(pep, flight, server, list, &node, bytes).await?,
        Class::Plumbing | Class::Call | Class::Read => None,
    };
    let changed = filtered.is_some();
    let (bytes, node) = match filtered {
        Some(bytes) => {
            let node = read(flight, &bytes)?;
            (bytes, node)
        }
        None => (bytes.to_vec(), node),
    };
    let reviewed = review_message(pep, flight, &node).await?;
    let failed = node.get("error").is_some() || http_status >= 400;
    release(flight, &node, bytes, changed, reviewed, failed, http_status)
}

/// Examines a message of the server that answers nothing: a notification, or a request of a legacy
/// server. `None` means as it came.
pub(crate) async fn examine_message(
    pep: &Pep,
    flight: &Flight,
    node: &Node,
    bytes: &[u8],
) -> Result<Option<Vec<u8>>, Refusal> {
    let reviewed = review_message(pep, flight, node).await?;
    masked(flight, node, bytes, &reviewed)
}

/// Examines a body that is no JSON, such as the text of an HTTP error.
pub(crate) async fn examine_text(
    pep: &Pep,
    flight: &Flight,
    bytes: &[u8],
    http_status: u16,
) -> Result<Released, Refusal> {
    let ended = if http_status >= 400 { Ended::Failed } else { Ended::Done };
    let mut ending = Ending::new(ended, http_status);
    if bytes.is_empty() || Reviewed::unneeded(flight.hints()).is_some() {
        return Ok(Released { bytes: bytes.to_vec(), changed: false, ending });
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|_| flight.withhold(reason::BODY_INVALID, "the server's answer is not text"))?;
    let content = Content {
        origin: Origin::ToolResult,
        pointer: String::new(),
        media: "text/plain".to_owned(),
        text: text.to_owned(),
    };
    let Some(decision) = pep.review(flight, vec![content]).await?.decision else {
        return Ok(Released { bytes: bytes.to_vec(), changed: false, ending });
    };
    let failed = |error: mask::MaskError| unmasked(flight, &error.to_string());
    let spans = mask::spans(&decision, &[text]).map_err(failed)?;
    let out = mask::apply(text, spans.get(&0).map_or(&[], Vec::as_slice)).map_err(failed)?;
    let changed = out != text;
    if changed {
        ending.ended = Ended::Masked;
    }
    ending.response_decision_id = Some(decision.decision_id);
    Ok(Released { bytes: out.into_bytes(), changed, ending })
}

fn read(flight: &Flight, bytes: &[u8]) -> Result<Node, Refusal> {
    let unreadable = |message: String| flight.withhold(reason::BODY_INVALID, message);
    let node = scan(bytes)
        .map_err(|error| unreadable(format!("the server's answer cannot be read: {error}")))?;
    if !node.is_object() {
        return Err(unreadable("the server's answer is no JSON-RPC message".to_owned()));
    }
    if node.case_variant_of(&ENVELOPE).is_some() {
        return Err(unreadable("the server's answer can be read in two ways".to_owned()));
    }
    Ok(node)
}

/// The second decision over every text of a message, if one could come to anything.
async fn review_message(pep: &Pep, flight: &Flight, node: &Node) -> Result<Reviewed, Refusal> {
    if let Some(unneeded) = Reviewed::unneeded(flight.hints()) {
        return Ok(unneeded);
    }
    pep.review(flight, texts_of(node).content).await
}

/// Every text of a message that could reach a model or a person.
fn texts_of(node: &Node) -> Texts<'_> {
    let mut texts = Texts::default();
    for member in ["result", "error", "params"] {
        if let Some(below) = node.get(member) {
            texts.add(below, &format!("/{member}"), Origin::ToolResult);
        }
    }
    texts
}

/// What a result is digested under.
const RESULT_DOMAIN: &str = "lictor/result";

fn release(
    flight: &Flight,
    node: &Node,
    bytes: Vec<u8>,
    changed: bool,
    reviewed: Reviewed,
    failed: bool,
    http_status: u16,
) -> Result<Released, Refusal> {
    let masked = masked(flight, node, &bytes, &reviewed)?;
    let ended = match (failed, masked.is_some()) {
        (true, _) => Ended::Failed,
        (false, true) => Ended::Masked,
        (false, false) => Ended::Done,
    };
    let mut ending = Ending::new(ended, http_status);
    ending.response_decision_id = reviewed.decision.as_ref().map(|d| d.decision_id.clone());
    // What came of the call, whatever is masked of it: two rounds alike made no progress.
    ending.detail.result_digest =
        node.get("result").map(|result| digest(RESULT_DOMAIN, result)).unwrap_or_default();
    let changed = changed || masked.is_some();
    let bytes = masked.unwrap_or(bytes);
    if keeps_result(flight.decision()) || reviewed.decision.as_ref().is_some_and(keeps_result) {
        ending.result = String::from_utf8(bytes.clone()).ok();
    }
    Ok(Released { bytes, changed, ending })
}

fn keeps_result(decision: &Decision) -> bool {
    decision.obligations.iter().any(|obligation| obligation.kind == ObligationKind::LogFull)
}

/// The message with every mask of the second decision applied; `None` where there is none.
fn masked(
    flight: &Flight,
    node: &Node,
    bytes: &[u8],
    reviewed: &Reviewed,
) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(decision) = reviewed.decision.as_ref().filter(|decision| mask::wanted(decision))
    else {
        return Ok(None);
    };
    let texts = texts_of(node);
    let root = node.get("result").unwrap_or(node);
    let edits = mask::edits(decision, &texts.nodes, root)
        .map_err(|error| unmasked(flight, &error.to_string()))?;
    if edits.is_empty() {
        return Ok(None);
    }
    let out = edits.apply(bytes).map_err(|error| unmasked(flight, &error.to_string()))?;
    Ok(Some(out))
}

fn unmasked(flight: &Flight, cause: &str) -> Refusal {
    tracing::error!(call_id = flight.call().call_id, cause, "a mask could not be applied");
    flight.withhold(reason::OBLIGATION_FAILED, "a part of the result could not be masked")
}
