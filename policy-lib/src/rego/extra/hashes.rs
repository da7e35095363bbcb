//! `crypto.*`: digests, as lower-case hexadecimal text.

use hmac::{Hmac, KeyInit, Mac};
use regorus::Value;

use super::{Fault, text};

pub(super) fn md5(args: &[Value]) -> Result<Value, Fault> {
    digest::<md5::Md5>(args)
}

pub(super) fn sha1(args: &[Value]) -> Result<Value, Fault> {
    digest::<sha1::Sha1>(args)
}

pub(super) fn sha256(args: &[Value]) -> Result<Value, Fault> {
    digest::<sha2::Sha256>(args)
}

fn digest<D: md5::Digest>(args: &[Value]) -> Result<Value, Fault> {
    Ok(Value::from(hex::encode(D::digest(text(args, 0)?.as_bytes()))))
}

pub(super) fn hmac_md5(args: &[Value]) -> Result<Value, Fault> {
    hmac::<Hmac<md5::Md5>>(args)
}

pub(super) fn hmac_sha1(args: &[Value]) -> Result<Value, Fault> {
    hmac::<Hmac<sha1::Sha1>>(args)
}

pub(super) fn hmac_sha256(args: &[Value]) -> Result<Value, Fault> {
    hmac::<Hmac<sha2::Sha256>>(args)
}

pub(super) fn hmac_sha512(args: &[Value]) -> Result<Value, Fault> {
    hmac::<Hmac<sha2::Sha512>>(args)
}

/// The message comes first, then the key.
fn hmac<M: Mac + KeyInit>(args: &[Value]) -> Result<Value, Fault> {
    let (message, key) = (text(args, 0)?, text(args, 1)?);
    let mut mac = <M as KeyInit>::new_from_slice(key.as_bytes())
        .map_err(|_| Fault::value("the key has a length that is not allowed"))?;
    mac.update(message.as_bytes());
    Ok(Value::from(hex::encode(mac.finalize().into_bytes())))
}

/// Takes as long for texts that differ early as for those that differ late.
pub(super) fn hmac_equal(args: &[Value]) -> Result<Value, Fault> {
    let (a, b) = (text(args, 0)?.as_bytes(), text(args, 1)?.as_bytes());
    let difference = a.iter().zip(b).fold(0u8, |seen, (x, y)| seen | (x ^ y));
    Ok(Value::from(a.len() == b.len() && std::hint::black_box(difference) == 0))
}
