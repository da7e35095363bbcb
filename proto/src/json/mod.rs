//! One strict JSON reader for every body that Lictor receives.
//!
//! # Layout
//!
//! - [`node`]: the tree, with byte spans and number text.
//! - [`scan`]: bytes to tree; everything ambiguous is refused.
//! - [`text`]: tree to text: compact (order as received) and canonical (sorted).
//! - [`rfc8785`]: tree to the text that other implementations hash too.
//! - [`open`]: [`Open`], an open object such as arguments or claims.
//!
//! Why not a general JSON value: it keeps the last of two duplicate members and
//! rounds numbers, so that two readers of one body can disagree about what a
//! caller asked for. Here one tree feeds digests, both engines and the bytes
//! that are forwarded.

pub mod node;
pub mod open;
pub mod rfc8785;
pub mod scan;
pub mod text;

pub use node::{Member, Node, Number, Span, Value};
pub use open::Open;
pub use scan::{ScanError, ScanErrorKind, scan};

use sha2::{Digest as _, Sha256};

/// What every digest begins with.
const ALGORITHM: &str = "sha256:";

/// `sha256:<hex>` over `domain ‖ 0x00 ‖ canonical(node)`.
#[must_use]
pub fn digest(domain: &str, node: &Node) -> String {
    digest_bytes(domain, node.canonical().as_bytes())
}

/// `sha256:<hex>` over a text alone, as other implementations compute it.
#[must_use]
pub fn digest_text(text: &str) -> String {
    named(&Sha256::digest(text.as_bytes()))
}

/// `sha256:<hex>` over `domain ‖ 0x00 ‖ bytes`.
#[must_use]
pub fn digest_bytes(domain: &str, bytes: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(domain.as_bytes());
    hash.update([0u8]);
    hash.update(bytes);
    named(&hash.finalize())
}

/// `sha256:<hex>`.
fn named(digest: &[u8]) -> String {
    let mut digits = [0; 64];
    // Of 32 bytes there are so many digits, and each is ASCII.
    let written = hex::encode_to_slice(digest, &mut digits);
    debug_assert!(written.is_ok(), "32 bytes are 64 hexadecimal digits");
    let mut text = String::with_capacity(ALGORITHM.len() + digits.len());
    text.push_str(ALGORITHM);
    text.push_str(std::str::from_utf8(&digits).unwrap_or_default());
    text
}
