//! Lists show a caller only what it may use: each entry is decided, and the others are cut out.

use lictor_pep_core::edit::Edits;
use lictor_pep_core::{Entry, Flight, Pep, Refusal};
use lictor_proto::call::{Origin, Resource};
use lictor_proto::json::{Node, Value};
use lictor_proto::reason;

use crate::config::Server;
use crate::ingress::entry_id;
use crate::methods::ListOf;
use crate::texts::Texts;

/// Most entries of one page; a longer one is withheld.
pub(crate) const MAX_LIST_ENTRIES: usize = 10_000;

/// The message with only those entries that `flight`'s caller may use. `None` where nothing has to
/// be changed.
pub(crate) async fn filter(
    pep: &Pep,
    flight: &Flight,
    server: &Server,
    list: ListOf,
    node: &Node,
    bytes: &[u8],
) -> Result<Option<Vec<u8>>, Refusal> {
    let Some(result) = node.get("result") else {
        return Ok(None);
    };
    let withheld = |message: &str| flight.withhold(reason::BODY_INVALID, message);
    let mut edits = Edits::new();
    if let Some(entries) = result.get(list.member) {
        let Value::Array(items) = &entries.value else {
            return Err(withheld("the server's list is no array"));
        };
        if items.len() > MAX_LIST_ENTRIES {
            return Err(withheld("the server's list is longer than is read"));
        }
        let seen = visible(pep, flight, server, list, items).await?;
        if seen.iter().any(|seen| !seen) {
            edits.replace(
                entries,
                kept(items, &seen, bytes)
                    .ok_or_else(|| withheld("the server's list could not be cut"))?,
            );
        }
    }
    keep_private(result, &mut edits);
    if edits.is_empty() {
        return Ok(None);
    }
    edits.apply(bytes).map(Some).map_err(|error| withheld(&error.to_string()))
}

/// Which entries may be seen. One without a name cannot be asked about and stays hidden.
async fn visible(
    pep: &Pep,
    flight: &Flight,
    server: &Server,
    list: ListOf,
    items: &[Node],
) -> Result<Vec<bool>, Refusal> {
    let entries: Vec<Option<Entry>> = items.iter().map(|item| entry(server, list, item)).collect();
    let asked: Vec<Entry> = entries.iter().flatten().cloned().collect();
    if asked.is_empty() {
        return Ok(vec![false; items.len()]);
    }
    let mut answers = pep.visible(flight, asked).await?.into_iter();
    Ok(entries.iter().map(|entry| entry.is_some() && answers.next() == Some(true)).collect())
}

fn entry(server: &Server, list: ListOf, item: &Node) -> Option<Entry> {
    let name = item.get(list.key)?.as_str().filter(|name| !name.is_empty())?;
    let mut texts = Texts::default();
    texts.add(item, "", Origin::ToolDefinition);
    Some(Entry {
        action: list.action.to_owned(),
        resource: Resource { kind: list.kind, id: entry_id(server, name) },
        content: texts.content,
    })
}

/// The array of the kept entries, each as the server wrote it.
fn kept(items: &[Node], seen: &[bool], bytes: &[u8]) -> Option<String> {
    let mut out = String::from("[");
    for (item, _) in items.iter().zip(seen).filter(|(_, seen)| **seen) {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(std::str::from_utf8(bytes.get(item.span.start..item.span.end)?).ok()?);
    }
    out.push(']');
    Some(out)
}

/// What is filtered for one caller must not be kept for another.
fn keep_private(result: &Node, edits: &mut Edits) {
    if let Some(scope) = result.get("cacheScope")
        && scope.as_str() != Some("private")
    {
        edits.replace(scope, "\"private\"");
    }
    if let Some(ttl) = result.get("ttlMs")
        && ttl.as_u64() != Some(0)
    {
        edits.replace(ttl, "0");
    }
}

#[cfg(test)]
mod tests {
    use lictor_proto::json::scan;

    use super::*;

    #[test]
    fn kept_entries_keep_their_bytes() {
        let text = br#"[ {"name": "a" }, {"name":"b","x":1.50},{"name":"c"} ]"#;
        let node = scan(text).unwrap();
        let kept_of = |seen: &[bool]| kept(node.items(), seen, text).unwrap();
        assert_eq!(kept_of(&[true, false, true]), r#"[{"name": "a" },{"name":"c"}]"#);
        assert_eq!(kept_of(&[false, true, false]), r#"[{"name":"b","x":1.50}]"#);
        assert_eq!(kept_of(&[false; 3]), "[]");
    }

    #[test]
    fn a_filtered_list_is_never_public() {
        let text = br#"{"cacheScope":"public","ttlMs":3600000,"tools":[]}"#;
        let node = scan(text).unwrap();
        let mut edits = Edits::new();
        keep_private(&node, &mut edits);
        let out = edits.apply(text).unwrap();
        assert_eq!(out, br#"{"cacheScope":"private","ttlMs":0,"tools":[]}"#);
        let mut none = Edits::new();
        keep_private(&scan(br#"{"cacheScope":"private","ttlMs":0}"#).unwrap(), &mut none);
        keep_private(&scan(b"{}").unwrap(), &mut none);
        assert!(none.is_empty());
    }
}
