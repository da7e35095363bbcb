//! Plays the steps over the wire and notes what came back. Nothing here looks behind
//! the public ports.

use http::Method;
use lictor_proto::decision::Effect;
use lictor_proto::pb::ResolveApprovalRequest;
use serde_json::{Value, json};

use super::client::{Http, Seen};
use super::people::People;
use super::provider::secret;
use super::steps::{Ask, Caller, Era, Step};
use super::tools::{LEGACY, META_VERSION, MODERN};
use crate::args::pdp::{DoorArgs, Pdp};
use crate::exit::Failure;
use crate::up::stack::Addresses;

/// The card number on the sample receipt, by its last part.
const CARD_END: &str = "1111 1111";

/// Where everything is that a client needs.
pub(crate) struct Player<'a> {
    http: Http,
    people: &'a People,
    mcp: String,
    llm: String,
    pdp: Pdp,
    /// The approval that was asked for last.
    approval: Option<String>,
}

/// A step with what came back and what of that was not as expected.
pub(crate) struct Played {
    /// The step.
    pub(crate) step: &'static Step,
    /// What came back.
    pub(crate) seen: Seen,
    /// The approval that a person answered in this step.
    pub(crate) answered: Option<String>,
    /// Differences from what was expected.
    pub(crate) differences: Vec<String>,
}

impl<'a> Player<'a> {
    /// A client of what listens at `addresses`.
    ///
    /// # Errors
    /// An operator's token that cannot be read, or an enforcement point that is not there.
    pub(crate) fn new(
        people: &'a People,
        addresses: Addresses,
        operator_token: &std::path::Path,
    ) -> Result<Self, Failure> {
        let (Some(mcp), Some(llm)) = (addresses.pep_mcp, addresses.pep_http) else {
            return Err(Failure::failed("an enforcement point does not listen"));
        };
        Ok(Self {
            http: Http::new(),
            people,
            mcp: mcp.to_string(),
            llm: format!("{llm}/v1"),
            pdp: Pdp::connect(
                &addresses.pdp.to_string(),
                &DoorArgs::default(),
                Some(operator_token),
            )?,
            approval: None,
        })
    }

    /// Plays one step.
    ///
    /// # Errors
    /// No answer at all.
    pub(crate) async fn play(&mut self, step: &'static Step) -> Result<Played, Failure> {
        let seen = self.ask(step).await?;
        let answered = matches!(step.ask, Ask::Approve).then(|| self.approval.clone()).flatten();
        if seen.approval.is_some() {
            self.approval.clone_from(&seen.approval);
        }
        let differences = differences(step, &seen);
        Ok(Played { step, seen, answered, differences })
    }

    /// The keys by which servers verify the enforcement point's assertions.
    ///
    /// # Errors
    /// No answer.
    pub(crate) async fn assertion_keys(&self) -> Result<(String, String), Failure> {
        let url = format!("{}/.well-known/jwks.json", self.mcp);
        let answer = self.http.send(Method::GET, &url, None, &[], String::new()).await?;
        Ok((self.mcp.clone(), answer.body))
    }

    async fn ask(&self, step: &Step) -> Result<Seen, Failure> {
        let token = self.people.credential(step.caller);
        match step.ask {
            Ask::Connect { server } => {
                let client = json!({ "name": "lictor-demo", "version": "1" });
                let params = json!({
                    "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client,
                });
                self.mcp(server, Era::Legacy, "initialize", params, token).await
            }
            Ask::ListTools { server, era, .. } => {
                self.mcp(server, era, "tools/list", json!({}), token).await
            }
            Ask::CallTool { tool, args, era, .. } => {
                let (server, name) = tool.split_once('/').unwrap_or_default();
                let args: Value = serde_json::from_str(args)
                    .map_err(|error| Failure::failed(format!("the step's arguments: {error}")))?;
                let params = json!({ "name": name, "arguments": args });
                self.mcp(server, era, "tools/call", params, token).await
            }
            Ask::Approve => self.approve(step.caller).await,
            Ask::Chat { model, stream, .. } => {
                let message = json!({ "role": "user", "content": "What is the deploy key?" });
                let body = json!({ "model": model, "stream": stream, "messages": [message] });
                self.llm(Method::POST, "/chat/completions", body.to_string(), token).await
            }
            Ask::ListModels { .. } => self.llm(Method::GET, "/models", String::new(), token).await,
            Ask::RawChat { body } => {
                self.llm(Method::POST, "/chat/completions", body.to_owned(), token).await
            }
            Ask::RawMcp { server, body } => {
                let url = format!("{}/mcp/{server}", self.mcp);
                let version = [("mcp-protocol-version", LEGACY)];
                let answer =
                    self.http.send(Method::POST, &url, token, &version, body.to_owned()).await?;
                Ok(answer.mcp())
            }
        }
    }

    /// One JSON-RPC request in the form of its era.
    async fn mcp(
        &self,
        server: &str,
        era: Era,
        method: &str,
        mut params: Value,
        token: Option<&str>,
    ) -> Result<Seen, Failure> {
        let name = params.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut headers = match era {
            Era::Legacy if method == "initialize" => Vec::new(),
            Era::Legacy => vec![("mcp-protocol-version", LEGACY)],
            Era::Modern => vec![("mcp-protocol-version", MODERN), ("mcp-method", method)],
        };
        if era == Era::Modern {
            if !name.is_empty() {
                headers.push(("mcp-name", &name));
            }
            let mut meta = json!({ "io.modelcontextprotocol/clientCapabilities": {} });
            if let Some(members) = meta.as_object_mut() {
                members.insert(META_VERSION.to_owned(), json!(MODERN));
            }
            if let Some(members) = params.as_object_mut() {
                members.insert("_meta".to_owned(), meta);
            }
        }
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let url = format!("{}/mcp/{server}", self.mcp);
        let answer = self.http.send(Method::POST, &url, token, &headers, body.to_string()).await?;
        Ok(answer.mcp())
    }

    async fn llm(
        &self,
        method: Method,
        path: &str,
        body: String,
        token: Option<&str>,
    ) -> Result<Seen, Failure> {
        let url = format!("{}{path}", self.llm);
        Ok(self.http.send(method, &url, token, &[], body).await?.llm())
    }

    /// A person's answer to the approval that was asked for last.
    async fn approve(&self, caller: Caller) -> Result<Seen, Failure> {
        let request = ResolveApprovalRequest {
            id: self.approval.clone().unwrap_or_default(),
            approve: true,
            approver_token: self.people.credential(caller).unwrap_or_default().to_owned(),
            reason: "as planned".to_owned(),
            binding_digest: String::new(),
        };
        let mut seen = Seen::of(Effect::Allow);
        match self.pdp.approvals().resolve(request).await {
            Ok(answer) => {
                let record = answer.into_inner().approval.unwrap_or_default();
                seen.text = format!("the approval is {}", record.state);
            }
            Err(status) => {
                seen.effect = Effect::Deny;
                let reason = status.metadata().get("lictor-reason");
                let reason = reason.and_then(|value| value.to_str().ok()).unwrap_or_default();
                // The message begins with the reason, for clients that show nothing else.
                let message = status.message().strip_prefix(reason).unwrap_or(status.message());
                seen.message = message.trim_start_matches(": ").to_owned();
                seen.reasons = vec![reason.to_owned()];
            }
        }
        Ok(seen)
    }
}

/// What of an answer is not as the step expects it.
fn differences(step: &Step, seen: &Seen) -> Vec<String> {
    let mut found = Vec::new();
    let expect = step.expect;
    if seen.effect != expect.effect {
        let (wanted, got) = (expect.effect.as_str(), seen.effect.as_str());
        found.push(format!("over the wire: expected {wanted}, got {got} {:?}", seen.reasons));
    } else if expect.effect != Effect::Allow && seen.reasons != expect.reasons {
        let (wanted, got) = (expect.reasons, &seen.reasons);
        found.push(format!("over the wire: expected the reasons {wanted:?}, got {got:?}"));
    }
    if expect.effect == Effect::Allow && seen.effect == Effect::Allow {
        found.extend(missing(step, seen));
    }
    for leak in [secret().as_str(), CARD_END] {
        if seen.raw.contains(leak) || seen.text.contains(leak) {
            found.push("over the wire: something that had to be masked came through".to_owned());
        }
    }
    found
}

/// What an allowed call should have brought and did not.
fn missing(step: &Step, seen: &Seen) -> Option<String> {
    match step.ask {
        Ask::ListTools { seen: wanted, .. } | Ask::ListModels { seen: wanted } => (seen.names
            != wanted)
            .then(|| format!("over the wire: expected the list {wanted:?}, got {:?}", seen.names)),
        Ask::CallTool { shows, .. } | Ask::Chat { shows, .. } => {
            (!seen.text.contains(shows)).then(|| {
                format!("over the wire: expected an answer with `{shows}`, got `{}`", seen.text)
            })
        }
        Ask::Connect { .. } | Ask::Approve | Ask::RawMcp { .. } | Ask::RawChat { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::steps::STEPS;
    use super::*;

    fn step(wanted: Effect) -> &'static Step {
        STEPS.iter().find(|step| step.expect.effect == wanted && step.expect.decided).unwrap()
    }

    #[test]
    fn another_effect_or_reason_is_a_difference() {
        let denied = step(Effect::Deny);
        let mut seen = Seen::of(Effect::Deny);
        seen.reasons = denied.expect.reasons.iter().map(|id| (*id).to_owned()).collect();
        assert_eq!(differences(denied, &seen), Vec::<String>::new());
        seen.reasons = vec!["no_permit".to_owned()];
        assert_eq!(differences(denied, &seen).len(), 1);
        assert_eq!(differences(denied, &Seen::of(Effect::Allow)).len(), 1);
    }

    #[test]
    fn a_leak_is_a_difference_in_any_answer() {
        let allowed = step(Effect::Allow);
        let mut seen = Seen::of(Effect::Allow);
        seen.raw = format!("x {} x", secret());
        assert_eq!(differences(allowed, &seen).len(), 1);
    }
}
