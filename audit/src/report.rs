//! Signed reports: any text (a session told in prose, or JSON) as a C2SP signed note, so that its
//! reader can check who made it without the logs.

use ed25519_dalek::{SigningKey, VerifyingKey};

use crate::note::{self, NoteError};

/// A report whose signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedReport {
    /// The text that was signed, with its last newline.
    pub text: String,
    /// The name that it was signed as.
    pub name: String,
    /// The key that signed it, one of those given.
    pub key: VerifyingKey,
}

/// Signs `text` as `name`; a missing last newline is added.
///
/// # Errors
/// [`NoteError::Unfit`] if the text has control characters other than newlines, or the name has
/// spaces or `+`.
pub fn sign_report(text: &str, name: &str, key: &SigningKey) -> Result<String, NoteError> {
    if text.ends_with('\n') {
        return note::sign(text, name, key);
    }
    note::sign(&format!("{text}\n"), name, key)
}

/// Checks a signed report against the keys that the reader trusts.
///
/// # Errors
/// [`NoteError`] if it is not a signed note or none of `trusted` signed it.
pub fn verify_report(report: &str, trusted: &[VerifyingKey]) -> Result<VerifiedReport, NoteError> {
    let parsed = note::parse(report)?;
    let mut missing = NoteError::Malformed("there is no signature");
    for name in parsed.names() {
        match parsed.verify(name, trusted) {
            Ok(key) => {
                return Ok(VerifiedReport {
                    text: parsed.text.to_owned(),
                    name: name.to_owned(),
                    key,
                });
            }
            Err(error @ NoteError::BadSignature { .. }) => return Err(error),
            Err(error) => missing = error,
        }
    }
    Err(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_checked_by_its_reader() {
        let key = SigningKey::from_bytes(&[5; 32]);
        let signed = sign_report("{\n  \"session\": \"s\"\n}", "acme/audit-report", &key).unwrap();
        let read = verify_report(&signed, &[key.verifying_key()]).unwrap();
        assert_eq!(read.text, "{\n  \"session\": \"s\"\n}\n");
        assert_eq!(read.name, "acme/audit-report");
        assert!(verify_report(&signed, &[]).is_err());
        assert!(verify_report(&signed.replace("\"s\"", "\"t\""), &[key.verifying_key()]).is_err());
    }
}
