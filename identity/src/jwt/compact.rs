//! The compact form `header.payload.signature`, read in exactly one way.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lictor_proto::json::{Node, scan};

use crate::error::AuthError;

/// A token taken apart; nothing in it is believed yet.
pub(crate) struct Compact<'a> {
    /// `header.payload`, the bytes that are signed.
    pub(crate) signed: &'a str,
    pub(crate) header: Node,
    pub(crate) payload: Node,
    pub(crate) signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, AuthError> {
        let shape = || malformed("token", "it must be three parts with two dots between them");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(shape)?;
        let (header, payload) = signed.split_once('.').ok_or_else(shape)?;
        if payload.contains('.') {
            return Err(shape());
        }
        Ok(Self {
            signed,
            header: object("token's header", header)?,
            payload: object("token's payload", payload)?,
            signature: decode("token's signature", signature)?,
        })
    }
}

fn malformed(part: &'static str, why: &'static str) -> AuthError {
    AuthError::TokenMalformed { part, why }
}

/// Padding and stray bits in the last character are refused, so that one token
/// has one text.
fn decode(part: &'static str, text: &str) -> Result<Vec<u8>, AuthError> {
    if text.is_empty() {
        return Err(malformed(part, "it is empty"));
    }
    URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed(part, "not base64url without padding"))
}

fn object(part: &'static str, text: &str) -> Result<Node, AuthError> {
    let node = scan(&decode(part, text)?).map_err(|error| AuthError::unreadable(part, &error))?;
    if node.is_object() { Ok(node) } else { Err(malformed(part, "not a JSON object")) }
}
