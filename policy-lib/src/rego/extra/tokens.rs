//! `io.jwt.decode`: the parts of a token. Nothing is verified, so what it says
//! proves nothing: tokens are verified before policy, which then sees
//! `input.subject.claims`.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use lictor_proto::json::{Node, scan};
use regorus::Value;

use super::{Fault, text};
use crate::rego::input::value_from_node;

/// As encoders in the field write it: with padding or without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// `[header, payload, signature]`, the signature as hexadecimal text. A token in
/// a token (`cty` is `JWT`) is opened too, to the innermost.
pub(super) fn decode(args: &[Value]) -> Result<Value, Fault> {
    let mut token = text(args, 0)?.to_owned();
    loop {
        let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else {
            let found = token.split('.').count();
            return Err(Fault::value(format!("a token has 3 parts, this text has {found}")));
        };
        let header = object("header", &decoded("header", header)?)?;
        if header.get("enc").is_some() {
            return Err(Fault::value("the token is encrypted (JWE)"));
        }
        let payload = decoded("payload", payload)?;
        let nested = match header.get("cty") {
            Some(cty) => cty.as_str().ok_or_else(|| Fault::value("`cty` is not a text"))? == "JWT",
            None => false,
        };
        if nested {
            // Each step leaves at most three quarters of the text.
            let inner = String::from_utf8(payload)
                .map_err(|_| Fault::value("the inner token is not text"))?;
            token = inner.trim_matches(['"', '\'']).to_owned();
            continue;
        }
        let payload = object("payload", &payload)?;
        let signature = hex::encode(decoded("signature", signature)?);
        return Ok(Value::from(vec![
            value_from_node(&header),
            value_from_node(&payload),
            Value::from(signature),
        ]));
    }
}

fn decoded(what: &str, part: &str) -> Result<Vec<u8>, Fault> {
    LENIENT.decode(part).map_err(|_| Fault::value(format!("the {what} is not base64url")))
}

/// Strictly read: a duplicate member would be what two readers see differently.
fn object(what: &str, bytes: &[u8]) -> Result<Node, Fault> {
    let node = scan(bytes)
        .map_err(|error| Fault::value(format!("the {what} cannot be read: {}", error.kind)))?;
    if node.is_object() { Ok(node) } else { Err(Fault::value(format!("the {what} is no object"))) }
}
