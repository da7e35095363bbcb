//! Carrying out the obligations of a permitted chat request: the bytes to forward and the headers to add.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName};
use lictor_pep_core::edit::Edits;
use lictor_pep_core::{Permitted, Refusal, headers};
use lictor_proto::call::Content;
use lictor_proto::decision::{Decision, ObligationKind};
use lictor_proto::json::{Node, Span};
use lictor_proto::reason;

use crate::mask;

/// What this enforcement point can carry out on a request. The last three change nothing on the way.
pub const ABILITIES: &[ObligationKind] = &[
    ObligationKind::Mask,
    ObligationKind::CapTokens,
    ObligationKind::StripTools,
    ObligationKind::SetHeader,
    ObligationKind::Label,
    ObligationKind::Notify,
    ObligationKind::LogFull,
];

/// The members that bound the output, the present name first.
const BOUNDS: [&str; 2] = ["max_completion_tokens", "max_tokens"];

/// A body after every obligation.
#[derive(Debug)]
pub(crate) struct Dutiful {
    /// The bytes to forward.
    pub(crate) body: Bytes,
    /// Headers that obligations set.
    pub(crate) headers: HeaderMap,
}

/// Carries out every obligation of `permitted` on `body`, whose tree is `root`, on top of `edits`.
///
/// # Errors
/// `obligation_failed`: the call must be given up.
pub(crate) fn carry_out(
    permitted: &Permitted,
    body: &Bytes,
    root: &Node,
    mut edits: Edits,
) -> Result<Dutiful, Refusal> {
    let failed = |why: String| permitted.refuse(reason::OBLIGATION_FAILED, why);
    let decision = permitted.decision();
    edit_all(&mut edits, decision, &permitted.call().content, root).map_err(failed)?;
    let headers = set_headers(decision).map_err(failed)?;
    if edits.is_empty() {
        return Ok(Dutiful { body: body.clone(), headers });
    }
    let body = edits.apply(body).map_err(|error| failed(error.to_string()))?;
    Ok(Dutiful { body: body.into(), headers })
}

/// The headers that obligations set on a request without a body, where the other obligations have nothing to
/// act on.
///
/// # Errors
/// As [`carry_out`].
pub(crate) fn headers(permitted: &Permitted) -> Result<HeaderMap, Refusal> {
    set_headers(permitted.decision())
        .map_err(|why| permitted.refuse(reason::OBLIGATION_FAILED, why))
}

fn edit_all(
    edits: &mut Edits,
    decision: &Decision,
    content: &[Content],
    root: &Node,
) -> Result<(), String> {
    let spans = mask::spans(decision, content).map_err(|error| error.to_string())?;
    mask::edit(edits, root, content, &spans).map_err(|error| error.to_string())?;
    for obligation in &decision.obligations {
        let properties = obligation.properties.node();
        match obligation.kind {
            ObligationKind::CapTokens => cap_tokens(edits, properties, root)?,
            ObligationKind::StripTools => strip_tools(edits, properties, root)?,
            _ => {}
        }
    }
    Ok(())
}

fn set_headers(decision: &Decision) -> Result<HeaderMap, String> {
    let set = headers::set_headers(&decision.obligations)
        .map_err(|id| format!("`{id}` sets a header that cannot be set"))?;
    let mut out = HeaderMap::new();
    for (name, value) in set {
        if names_body(&name) {
            return Err(format!("the header `{name}` describes the body and cannot be set"));
        }
        out.insert(name, value);
    }
    Ok(out)
}

fn names_body(name: &HeaderName) -> bool {
    name.as_str().starts_with("content-") || *name == http::header::ACCEPT_ENCODING
}

/// Bounds the output of all choices together by `max`: every bound that the request states is lowered to it, and
/// one is added where it states none.
fn cap_tokens(edits: &mut Edits, properties: &Node, root: &Node) -> Result<(), String> {
    let max = properties.get("max").and_then(Node::as_u64);
    let max = max.ok_or("`cap_tokens` names no `max`")?;
    let choices = root.get("n").and_then(Node::as_u64).unwrap_or(1).max(1);
    let each = max / choices;
    if each == 0 {
        return Err(format!("at most {max} tokens are allowed, too few for {choices} choices"));
    }
    let mut stated = false;
    for node in BOUNDS.iter().filter_map(|name| root.get(name)) {
        stated |= !node.is_null();
        if node.as_u64().is_some_and(|bound| bound > each) {
            edits.replace(node, each.to_string());
        }
    }
    if stated {
        return Ok(());
    }
    match BOUNDS.iter().find_map(|name| root.get(name)) {
        Some(null) => edits.replace(null, each.to_string()),
        None => {
            let start = root.span.start + 1;
            let member = format!("\"max_completion_tokens\":{each},");
            edits.replace_span(Span { start, end: start }, member);
        }
    }
    Ok(())
}

/// Takes the named tools out, in both shapes of the protocol.
fn strip_tools(edits: &mut Edits, properties: &Node, root: &Node) -> Result<(), String> {
    let listed = properties.get("tools").ok_or("`strip_tools` names no `tools`")?;
    let names: Option<Vec<&str>> = listed.items().iter().map(Node::as_str).collect();
    let names = names.ok_or("`strip_tools` names tools that are no texts")?;
    for (list, choice) in [("tools", "tool_choice"), ("functions", "function_call")] {
        let Some(tools) = root.get(list) else {
            continue;
        };
        let keep: Vec<&Node> = tools
            .items()
            .iter()
            .filter(|tool| !tool_name(tool).is_some_and(|n| names.contains(&n)))
            .collect();
        if keep.len() == tools.items().len() {
            continue;
        }
        let choice = root.get(choice);
        if keep.is_empty() {
            // Providers refuse an empty list, and a choice without a list.
            edits.replace(tools, "null");
            choice.into_iter().for_each(|node| edits.replace(node, "null"));
            continue;
        }
        edits.replace(tools, format!("[{}]", joined(&keep)));
        let chosen = choice.filter(|node| tool_name(node).is_some_and(|n| names.contains(&n)));
        chosen.into_iter().for_each(|node| edits.replace(node, "\"auto\""));
    }
    Ok(())
}

fn joined(nodes: &[&Node]) -> String {
    let texts: Vec<String> = nodes.iter().map(|node| node.compact()).collect();
    texts.join(",")
}

/// The name in `{"function": {"name": ..}}`, `{"custom": {"name": ..}}` or `{"name": ..}`.
fn tool_name(tool: &Node) -> Option<&str> {
    let inner = tool.get("function").or_else(|| tool.get("custom")).unwrap_or(tool);
    inner.get("name").and_then(Node::as_str)
}

#[cfg(test)]
mod tests {
    use lictor_proto::decision::{Obligation, Reason};
    use lictor_proto::json::{Open, scan};

    use super::*;

    fn decision(kind: ObligationKind, properties: &str) -> Decision {
        let mut decision = Decision::denied("d", "c", Reason::new("x", "y"));
        decision.obligations.push(Obligation {
            id: "o".to_owned(),
            kind,
            properties: Open::parse(properties.as_bytes()).unwrap(),
        });
        decision
    }

    fn edited(body: &str, kind: ObligationKind, properties: &str) -> Result<String, String> {
        let root = scan(body.as_bytes()).unwrap();
        let mut edits = Edits::new();
        edit_all(&mut edits, &decision(kind, properties), &[], &root)?;
        Ok(String::from_utf8(edits.apply(body.as_bytes()).unwrap()).unwrap())
    }

    #[test]
    fn every_stated_bound_is_lowered_and_a_missing_one_added() {
        let cap = |body: &str| edited(body, ObligationKind::CapTokens, r#"{"max":100}"#).unwrap();
        assert_eq!(cap(r#"{"max_tokens":50}"#), r#"{"max_tokens":50}"#);
        assert_eq!(
            cap(r#"{"max_tokens":500, "max_completion_tokens":101}"#),
            r#"{"max_tokens":100, "max_completion_tokens":100}"#
        );
        assert_eq!(cap(r#"{ "a":1}"#), r#"{"max_completion_tokens":100, "a":1}"#);
        assert_eq!(cap(r#"{"max_tokens":null}"#), r#"{"max_tokens":100}"#);
        assert_eq!(cap(r#"{"n":3,"max_tokens":50}"#), r#"{"n":3,"max_tokens":33}"#);
    }

    #[test]
    fn a_bound_that_cannot_be_kept_is_refused() {
        for (body, properties) in
            [("{}", "{}"), ("{}", r#"{"max":0}"#), (r#"{"n":9}"#, r#"{"max":8}"#)]
        {
            assert!(edited(body, ObligationKind::CapTokens, properties).is_err(), "{properties}");
        }
    }

    #[test]
    fn named_tools_go_and_the_rest_stays() {
        let tool = |name: &str| format!(r#"{{"type":"function","function":{{"name":"{name}"}}}}"#);
        let strip =
            |body: &str| edited(body, ObligationKind::StripTools, r#"{"tools":["send"]}"#).unwrap();
        let choice = |name: &str| format!(r#""tool_choice":{}"#, tool(name));
        let both =
            format!(r#"{{"tools":[{}, {}],{}}}"#, tool("send"), tool("read"), choice("send"));
        let expected = format!(r#"{{"tools":[{}],"tool_choice":"auto"}}"#, tool("read"));
        assert_eq!(strip(&both), expected);
        let only = format!(r#"{{"tools":[{}],"tool_choice":"auto"}}"#, tool("send"));
        assert_eq!(strip(&only), r#"{"tools":null,"tool_choice":null}"#);
        let other = format!(r#"{{"tools":[ {} ],{}}}"#, tool("read"), choice("read"));
        assert_eq!(strip(&other), other);
        let old =
            r#"{"functions":[{"name":"send"},{"name":"read"}],"function_call":{"name":"send"}}"#;
        assert_eq!(strip(old), r#"{"functions":[{"name":"read"}],"function_call":"auto"}"#);
        assert!(edited("{}", ObligationKind::StripTools, r#"{"tools":[1]}"#).is_err());
        assert!(edited("{}", ObligationKind::StripTools, "{}").is_err());
    }

    #[test]
    fn headers_that_carry_credentials_or_describe_the_body_cannot_be_set() {
        let set = |name: &str| {
            let properties = format!(r#"{{"name":"{name}","value":"v"}}"#);
            set_headers(&decision(ObligationKind::SetHeader, &properties))
        };
        assert_eq!(set("X-Team").unwrap().get("x-team").unwrap(), "v");
        for name in ["authorization", "Content-Type", "content-length", "accept-encoding", "host"] {
            assert!(set(name).is_err(), "{name}");
        }
    }
}
