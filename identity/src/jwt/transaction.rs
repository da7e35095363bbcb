//! Transaction tokens (draft-ietf-oauth-transaction-tokens): what a call belongs to, never who
//! makes it.

use std::sync::Arc;

use lictor_proto::call::Party;
use lictor_proto::json::{Member, Node, Open, Value};

use super::claims::{self, TXN_CLAIM};
use super::header::Header;
use super::issuers::Issuers;
use super::{Compact, id_text, verify};
use crate::error::{AuthError, TOKEN_MAX_BYTES};
use crate::keyring::Keys;
use crate::settings::IssuerKind;

/// What every transaction token must say, with a text that can name something.
const NAMES: [&str; 4] = ["txn", "sub", "scope", "req_wl"];

/// A transaction token that holds.
#[derive(Debug)]
pub(crate) struct Transaction {
    /// Whose transaction it is.
    pub(crate) sub: String,
    /// The tenant that its issuer speaks for; `None` for every one.
    pub(crate) tenant: Option<String>,
    /// Everything that it says.
    pub(crate) payload: Node,
    /// When it ends, unix milliseconds.
    pub(crate) expires_ms: i64,
}

impl Transaction {
    /// Puts what it says where policy reads it: beside the claims of its subject.
    pub(crate) fn enter(&self, subject: &mut Party) {
        let claims = subject.claims.node();
        let mut members = claims.members().to_vec();
        members.retain(|member| &*member.key != TXN_CLAIM);
        let (span, value) = (self.payload.span, self.payload.clone());
        members.push(Member { key: TXN_CLAIM.into(), key_span: span, value });
        subject.claims = Open::from_node(Node { span, value: Value::Object(members) });
    }
}

/// Verifies a transaction token.
pub(crate) fn transaction(
    token: &str,
    issuers: &Issuers,
    now_ms: i64,
) -> Result<(Transaction, Arc<Keys>), AuthError> {
    if token.len() > TOKEN_MAX_BYTES {
        return Err(AuthError::TokenTooLarge { bytes: token.len() });
    }
    let compact = Compact::parse(token)?;
    let header = Header::read(&compact.header)?;
    claims::refuse_variants(&compact.payload)?;
    header.check_type(&[Some("txntoken+jwt")])?;
    let issuer = issuers.of_transaction(&compact.payload)?;
    let keys = verify(&compact, &header, issuer, now_ms)?;
    claims::check_audience(&compact.payload, issuer)?;
    claims::require(&compact.payload, &["iat"])?;
    let expires_ms = claims::check_times(&compact.payload, issuer.max_lifetime_s, now_ms)?;
    claims::require(&compact.payload, &NAMES)?;
    // Of an issuer of both sorts they are what its access tokens must say.
    if issuer.kind == IssuerKind::Transactions {
        claims::check_required(&compact.payload, &issuer.required_claims)?;
    }
    let tenant = claims::tenant(&compact.payload, issuer)?.or_else(|| issuer.tenant.clone());
    for name in NAMES {
        compact.payload.get(name).map(|node| id_text(node, name)).transpose()?;
    }
    let sub = claims::text(&compact.payload, "sub")?;
    let sub = sub.ok_or_else(|| AuthError::claim_missing("sub"))?.to_owned();
    Ok((Transaction { sub, tenant, payload: compact.payload, expires_ms }, keys))
}
