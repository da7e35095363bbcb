//! What a policy's annotations say. Everything is checked at load; nothing is
//! read from them while deciding.

use cedar_policy_core::ast::{Annotation, Effect, Template};
use jiff::SignedDuration;
use lictor_proto::decision::Obligation;
use lictor_proto::json::{Value as Json, scan};
use serde::Deserialize;

use crate::diagnostic::{Diagnostic, suggest};

use super::place::File;

/// The annotations that mean something.
const KNOWN: [&str; 5] = ["ask", "id", "mode", "obligation", "reason"];
/// What a forbid without `@reason` says.
const FORBIDDEN: &str = "a policy forbids this";
/// What an ask without `@reason` says.
const ASKED: &str = "a person must agree to this first";

/// The checked annotations of one policy.
#[derive(Debug, Clone)]
pub(super) struct Notes {
    /// Unique over all files, `[a-z0-9_.]+`.
    pub(super) id: String,
    /// For the caller.
    pub(super) message: String,
    /// Duties of whoever is decided by the policy.
    pub(super) obligations: Vec<Obligation>,
    /// Recorded, never enforced.
    pub(super) shadow: bool,
    /// On a forbid: who may agree instead.
    pub(super) ask: Option<AskTerms>,
}

/// Who may agree to what a policy would otherwise forbid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AskTerms {
    /// Registry users or teams.
    pub(super) approvers: Vec<String>,
    /// How many must.
    pub(super) count: u32,
    /// How long to wait, in seconds; 0 means the default.
    pub(super) expires_s: u64,
}

/// Why an annotation is refused.
#[derive(Debug, thiserror::Error)]
enum NoteError {
    #[error("a policy needs `@id(\"...\")`: decisions and audit records name it by that")]
    IdMissing,
    #[error("`@id(\"{0}\")` is not made of a-z, 0-9, `_` and `.`")]
    IdInvalid(String),
    #[error("`@mode(\"{0}\")` is not known: only `shadow` is")]
    Mode(String),
    #[error("`@obligation` is not {{\"id\", \"type\", \"properties\"}} or a list of such: {0}")]
    Obligation(String),
    #[error("`@ask` stands on a `forbid` only: remove it, or turn the `permit` into a `forbid`")]
    AskOnPermit,
    #[error(
        "`@ask` is neither {{\"approvers\", \"count\", \"expires\"}} nor names with commas: {0}"
    )]
    Ask(String),
}

impl NoteError {
    fn code(&self) -> &'static str {
        match self {
            Self::IdMissing => "cedar_id_missing",
            Self::IdInvalid(_) => "cedar_id_invalid",
            Self::Mode(_) => "cedar_mode",
            Self::Obligation(_) => "cedar_obligation",
            Self::AskOnPermit | Self::Ask(_) => "cedar_ask",
        }
    }
}

/// Checks the annotations of a policy; `None` if any of them is refused.
pub(super) fn read(
    template: &Template,
    file: &File<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Notes> {
    let start = template.loc().map_or(0, |loc| loc.start());
    warn_about_unknown(template, file, start, diagnostics);
    let mut refused = false;
    let mut report = |error: NoteError, annotation: Option<&Annotation>| {
        let at = annotation.and_then(|a| a.loc.as_ref()).map_or(start, |loc| loc.start());
        diagnostics.push(file.error(error.code(), at, error.to_string()));
        refused = true;
    };
    let forbids = template.effect() == Effect::Forbid;
    let get = |name: &str| find(template, name);

    let id = get("id").map_or(Err(NoteError::IdMissing), |a| checked_id(a.val.as_str()));
    let id = id.map_err(|error| report(error, get("id"))).unwrap_or_default();
    let shadow = match get("mode").map(|a| a.val.as_str()) {
        None => false,
        Some("shadow") => true,
        Some(other) => {
            report(NoteError::Mode(other.to_owned()), get("mode"));
            false
        }
    };
    let obligations = match get("obligation").map(|a| obligations(a.val.as_str())) {
        None => Vec::new(),
        Some(Ok(obligations)) => obligations,
        Some(Err(why)) => {
            report(NoteError::Obligation(why), get("obligation"));
            Vec::new()
        }
    };
    let ask = match get("ask") {
        None => None,
        Some(a) if !forbids => {
            report(NoteError::AskOnPermit, Some(a));
            None
        }
        Some(a) => {
            ask_terms(a.val.as_str()).map_err(|why| report(NoteError::Ask(why), Some(a))).ok()
        }
    };
    let reason = get("reason").map(|a| a.val.to_string()).filter(|text| !text.trim().is_empty());
    let default = if ask.is_some() { ASKED } else { FORBIDDEN };
    let message = reason.unwrap_or_else(|| default.to_owned());
    (!refused).then_some(Notes { id, message, obligations, shadow, ask })
}

fn find<'a>(template: &'a Template, name: &str) -> Option<&'a Annotation> {
    template
        .annotations()
        .find(|(key, _)| {
            let key: &str = (*key).as_ref();
            key == name
        })
        .map(|(_, annotation)| annotation)
}

fn warn_about_unknown(
    template: &Template,
    file: &File<'_>,
    start: usize,
    diagnostics: &mut Vec<Diagnostic>,
) {
    for (key, annotation) in template.annotations() {
        let key: &str = key.as_ref();
        if KNOWN.contains(&key) {
            continue;
        }
        let at = annotation.loc.as_ref().map_or(start, |loc| loc.start());
        let message = format!("the annotation `@{key}` means nothing here");
        let help = suggest(key, KNOWN).map(|name| format!("did you mean `@{name}`?"));
        let warning = file.warning("cedar_annotation_unknown", at, message);
        diagnostics.push(warning.help(help.unwrap_or_default()));
    }
}

fn checked_id(id: &str) -> Result<String, NoteError> {
    if is_reason_id(id) { Ok(id.to_owned()) } else { Err(NoteError::IdInvalid(id.to_owned())) }
}

fn is_reason_id(id: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.');
    !id.is_empty() && id.bytes().all(allowed)
}

/// One obligation or a list of them.
fn obligations(text: &str) -> Result<Vec<Obligation>, String> {
    let node = scan(text.as_bytes()).map_err(|error| error.to_string())?;
    let one = std::slice::from_ref(&node);
    let nodes = if matches!(node.value, Json::Array(_)) { node.items() } else { one };
    nodes.iter().map(|node| obligation(&node.compact())).collect()
}

fn obligation(text: &str) -> Result<Obligation, String> {
    let read: Obligation = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if !is_reason_id(&read.id) {
        return Err(format!("the id `{}` is not made of a-z, 0-9, `_` and `.`", read.id));
    }
    if !read.properties.node().is_object() {
        return Err("`properties` is not an object".to_owned());
    }
    Ok(read)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskJson {
    approvers: Vec<String>,
    #[serde(default = "one")]
    count: u32,
    #[serde(default)]
    expires: Expires,
}

fn one() -> u32 {
    1
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expires {
    Seconds(u64),
    Text(String),
}

impl Default for Expires {
    fn default() -> Self {
        Self::Seconds(0)
    }
}

fn ask_terms(text: &str) -> Result<AskTerms, String> {
    let json = if text.trim_start().starts_with('{') {
        scan(text.as_bytes()).map_err(|error| error.to_string())?;
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        let approvers = text.split(',').map(|name| name.trim().to_owned()).collect();
        AskJson { approvers, count: one(), expires: Expires::default() }
    };
    if json.approvers.is_empty() || json.approvers.iter().any(|name| name.trim().is_empty()) {
        return Err("an approver has no name".to_owned());
    }
    if json.count == 0 {
        return Err("`count` is 0: at least one person must agree".to_owned());
    }
    let expires_s = match json.expires {
        Expires::Seconds(seconds) => seconds,
        Expires::Text(text) => seconds_of(&text)
            .ok_or_else(|| format!("`expires` is `{text}`: write it like `15m` or `2h`"))?,
    };
    Ok(AskTerms { approvers: json.approvers, count: json.count, expires_s })
}

fn seconds_of(text: &str) -> Option<u64> {
    u64::try_from(text.parse::<SignedDuration>().ok()?.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::{AskTerms, ask_terms, obligations, read};
    use crate::cedar::place::File;
    use crate::diagnostic::{Diagnostic, Level};

    /// The notes of one policy whose annotations are `text`.
    fn notes(text: &str) -> (Option<super::Notes>, Vec<Diagnostic>) {
        let source = format!("{text}(principal, action, resource);");
        let template = cedar_policy_core::parser::parse_policy_or_template(None, &source).unwrap();
        let mut diagnostics = Vec::new();
        let notes = read(&template, &File::new("cedar/a.cedar", &source), &mut diagnostics);
        (notes, diagnostics)
    }

    fn codes(text: &str) -> Vec<&'static str> {
        let (notes, diagnostics) = notes(text);
        assert!(notes.is_none(), "{text}");
        diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
    }

    #[test]
    fn an_id_is_required_and_has_a_closed_alphabet() {
        assert_eq!(codes("permit"), ["cedar_id_missing"]);
        assert_eq!(codes("@id(\"\") permit"), ["cedar_id_invalid"]);
        assert_eq!(codes("@id(\"A b\") permit"), ["cedar_id_invalid"]);
        assert_eq!(notes("@id(\"a.b_1\") permit").0.unwrap().id, "a.b_1");
    }

    #[test]
    fn all_refusals_of_a_policy_are_reported_at_their_places() {
        let text = "@mode(\"test\")\n@obligation(\"{}\")\n@ask(\"bob\")\npermit";
        let (_, diagnostics) = notes(text);
        let lines: Vec<_> = diagnostics.iter().map(|d| (d.code, d.line)).collect();
        let expected =
            [("cedar_id_missing", 1), ("cedar_mode", 1), ("cedar_obligation", 2), ("cedar_ask", 3)];
        assert_eq!(lines, expected);
    }

    #[test]
    fn obligations_are_checked_in_full() {
        let ok = r#"{"id":"o.1","type":"mask","properties":{"detectors":["pii/*"]}}"#;
        assert_eq!(obligations(ok).unwrap().len(), 1);
        assert_eq!(obligations(&format!("[{ok},{ok}]")).unwrap().len(), 2);
        for bad in [
            "",
            "{}",
            "3",
            r#"{"id":"o","type":"burn"}"#,
            r#"{"id":"O!","type":"mask"}"#,
            r#"{"id":"o","type":"mask","properties":[]}"#,
            r#"{"id":"o","type":"mask","extra":1}"#,
            r#"{"id":"o","id":"p","type":"mask"}"#,
        ] {
            assert!(obligations(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn asks_come_as_names_or_in_full() {
        let terms = |approvers: &[&str], count, expires_s| AskTerms {
            approvers: approvers.iter().map(|name| (*name).to_owned()).collect(),
            count,
            expires_s,
        };
        assert_eq!(ask_terms("bob, ops").unwrap(), terms(&["bob", "ops"], 1, 0));
        let full = r#"{"approvers":["ops"],"count":2,"expires":"15m"}"#;
        assert_eq!(ask_terms(full).unwrap(), terms(&["ops"], 2, 900));
        assert_eq!(ask_terms(r#"{"approvers":["a"],"expires":60}"#).unwrap(), terms(&["a"], 1, 60));
        for bad in [
            "",
            "a,,b",
            r#"{"approvers":[]}"#,
            r#"{"approvers":["a"],"count":0}"#,
            r#"{"approvers":["a"],"expires":"soon"}"#,
            r#"{"approvers":["a"],"expires":"-5m"}"#,
            r#"{"approvers":["a"],"who":1}"#,
        ] {
            assert!(ask_terms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_annotations_are_warned_about_with_a_suggestion() {
        let (notes, diagnostics) = notes("@id(\"a\") @resaon(\"x\") forbid");
        assert!(notes.is_some());
        let [warning] = diagnostics.as_slice() else { panic!("{diagnostics:?}") };
        assert_eq!((warning.level, warning.code), (Level::Warning, "cedar_annotation_unknown"));
        assert_eq!(warning.help, "did you mean `@reason`?");
    }

    #[test]
    fn messages_have_defaults_by_kind() {
        assert_eq!(notes("@id(\"a\") forbid").0.unwrap().message, "a policy forbids this");
        let ask = notes("@id(\"a\") @ask(\"bob\") forbid").0.unwrap();
        assert_eq!(ask.message, "a person must agree to this first");
        let reason = notes("@id(\"a\") @reason(\"too much\") forbid").0.unwrap();
        assert_eq!(reason.message, "too much");
    }
}
