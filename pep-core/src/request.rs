//! Stage 1: the bounded, protocol-neutral request that every enforcement point makes of what its
//! protocol brought.

use lictor_identity::Identity;
use lictor_proto::call::{
    Action, Call, Content, Context, Phase, Question, Resource, ResourceKind, SessionRef, Usage,
};
use lictor_proto::json::Open;
use lictor_proto::reason;

use crate::proof::Proof;
use crate::refusal::Refusal;

/// Most content parts of one call.
pub const MAX_CONTENT_PARTS: usize = 16_384;
/// Most bytes of content texts in one call.
pub const MAX_CONTENT_BYTES: usize = 8 * 1024 * 1024;
/// Longest resource id and action name, bytes.
pub const MAX_NAME_BYTES: usize = 2048;
/// Longest session handle, bytes.
pub const MAX_SESSION_BYTES: usize = 4096;

/// One request, as every protocol means it.
#[derive(Debug, Clone)]
pub struct Request {
    /// How the caller proves itself.
    pub proof: Proof,
    /// What is to be done: `tools/call`, `llm/chat`, ….
    pub action: String,
    /// What it is to be done to, after alias and virtual-name resolution.
    pub resource: Resource,
    /// The arguments as received.
    pub args: Open,
    /// Texts for the detectors.
    pub content: Vec<Content>,
    /// The session handle that the caller names.
    pub session: Option<String>,
    /// Estimated use of a model.
    pub usage: Usage,
    /// `mcp/<version>`, `openai/chat`, ….
    pub protocol: String,
    /// Where the caller connects from.
    pub source_ip: String,
    /// W3C trace id.
    pub trace_id: String,
    /// Base URLs that may be dialled for this resource. The permit will name these or fewer.
    pub targets: Vec<String>,
}

impl Request {
    /// A request with nothing but who, what and to what.
    #[must_use]
    pub fn new(proof: Proof, action: &str, kind: ResourceKind, id: &str) -> Self {
        Self {
            proof,
            action: action.to_owned(),
            resource: Resource { kind, id: id.to_owned() },
            args: Open::default(),
            content: Vec::new(),
            session: None,
            usage: Usage::default(),
            protocol: String::new(),
            source_ip: String::new(),
            trace_id: String::new(),
            targets: Vec::new(),
        }
    }

    /// The call that asks all three questions about this request, whose content it takes. Facts
    /// about who asks come from `identity` alone.
    pub(crate) fn take_call(
        &mut self,
        call_id: String,
        identity: &Identity,
    ) -> Result<Call, Refusal> {
        self.check()?;
        Ok(Call {
            call_id,
            phase: Phase::Request,
            tenant: identity.tenant.clone(),
            questions: Question::ALL.to_vec(),
            subject: identity.subject.clone(),
            agent: identity.agent.clone(),
            delegation: identity.delegation.clone(),
            action: Action { name: self.action.clone() },
            credential: Some(identity.credential.clone()),
            request_call_id: None,
            executed: false,
            resource: Some(self.resource.clone()),
            context: Context {
                args: self.args.clone(),
                source_ip: self.source_ip.clone(),
                trace_id: self.trace_id.clone(),
                protocol: self.protocol.clone(),
            },
            content: std::mem::take(&mut self.content),
            session: self.session.clone().map(|handle| SessionRef { handle }),
            usage: self.usage,
        })
    }

    fn check(&self) -> Result<(), Refusal> {
        check_content(&self.content)?;
        let names = [("resource", &self.resource.id), ("action", &self.action)];
        for (what, name) in names {
            if name.is_empty() || name.len() > MAX_NAME_BYTES {
                return Err(Refusal::new(
                    reason::BODY_INVALID,
                    format!("the {what}'s name must have 1 to {MAX_NAME_BYTES} bytes"),
                ));
            }
        }
        if self.session.as_ref().is_some_and(|handle| handle.len() > MAX_SESSION_BYTES) {
            return Err(Refusal::new(
                reason::SESSION_UNKNOWN,
                format!("a session handle has at most {MAX_SESSION_BYTES} bytes"),
            ));
        }
        Ok(())
    }
}

/// Refuses more content than is inspected: a text that is not looked at must not pass.
pub(crate) fn check_content(content: &[Content]) -> Result<(), Refusal> {
    let bytes: usize = content.iter().map(|part| part.text.len()).sum();
    if content.len() > MAX_CONTENT_PARTS || bytes > MAX_CONTENT_BYTES {
        return Err(Refusal::new(
            reason::BODY_TOO_LARGE,
            format!(
                "the body has more text than is inspected: at most {MAX_CONTENT_PARTS} texts of \
                 {MAX_CONTENT_BYTES} bytes together"
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lictor_proto::call::Origin;

    use super::*;

    fn part(bytes: usize) -> Content {
        Content {
            origin: Origin::User,
            pointer: String::new(),
            media: "text/plain".into(),
            text: "x".repeat(bytes),
        }
    }

    #[test]
    fn content_is_bounded_by_count_and_by_bytes() {
        assert!(check_content(&vec![part(0); MAX_CONTENT_PARTS]).is_ok());
        let refusal = check_content(&vec![part(0); MAX_CONTENT_PARTS + 1]).unwrap_err();
        assert_eq!((refusal.id(), refusal.status()), (reason::BODY_TOO_LARGE, 413));
        assert!(check_content(&[part(MAX_CONTENT_BYTES)]).is_ok());
        assert!(check_content(&[part(MAX_CONTENT_BYTES), part(1)]).is_err());
    }

    #[test]
    fn names_and_handles_are_bounded() {
        let with = |id: &str, session: usize| {
            let mut request = Request::new(Proof::none(), "tools/call", ResourceKind::Tool, id);
            request.session = Some("s".repeat(session));
            request.check()
        };
        assert!(with(&"n".repeat(MAX_NAME_BYTES), MAX_SESSION_BYTES).is_ok());
        assert_eq!(
            with(&"n".repeat(MAX_NAME_BYTES + 1), 1).unwrap_err().id(),
            reason::BODY_INVALID
        );
        assert_eq!(with("", 1).unwrap_err().id(), reason::BODY_INVALID);
        assert_eq!(with("n", MAX_SESSION_BYTES + 1).unwrap_err().id(), reason::SESSION_UNKNOWN);
    }
}
