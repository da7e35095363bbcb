//! The decision point's own door: tokens from 0600 files and the peers of its
//! Unix socket. Neither is a person, so neither can approve.

use std::collections::BTreeMap;

use lictor_proto::call::{Credential, CredentialKind};
use subtle::ConstantTimeEq as _;

use crate::credential::{Digest, credential, digest_of};
use crate::identity::{Identity, Role};

/// Shortest door token, bytes: 128 random bits in hexadecimal.
pub const DOOR_TOKEN_MIN_BYTES: usize = 32;
/// How every generated door token begins.
pub(crate) const DOOR_TOKEN_PREFIX: &str = "lictordoor_";

/// Why the door cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DoorError {
    /// A token that could be guessed.
    #[error(
        "the door token has {bytes} characters and needs {DOOR_TOKEN_MIN_BYTES}: delete its file to have a new one generated"
    )]
    TokenShort {
        /// Its size.
        bytes: usize,
    },
    /// Two tokens of one text, perhaps with other roles.
    #[error("a door token is given twice: remove one")]
    TokenTwice,
    /// Nothing would be allowed.
    #[error("{who} has no roles: name at least one of pep, operator, auditor")]
    RolesEmpty {
        /// The token or peer.
        who: String,
    },
    /// Approvers prove themselves with a credential of their own.
    #[error("{who} cannot be an `approver`: issue an API key for the user who approves")]
    NotAPerson {
        /// The token or peer.
        who: String,
    },
}

fn check_roles(who: &str, roles: &[Role]) -> Result<(), DoorError> {
    if roles.is_empty() {
        return Err(DoorError::RolesEmpty { who: who.to_owned() });
    }
    if roles.contains(&Role::Approver) {
        return Err(DoorError::NotAPerson { who: who.to_owned() });
    }
    Ok(())
}

/// The bearer tokens of the door and their roles. Only digests are kept.
#[derive(Debug, Clone, Default)]
pub struct DoorTokens {
    entries: Vec<DoorToken>,
}

#[derive(Debug, Clone)]
struct DoorToken {
    digest: Digest,
    roles: Vec<Role>,
}

impl DoorTokens {
    /// Adds a token.
    ///
    /// # Errors
    /// [`DoorError`]: too short, given twice, without roles, or an approver.
    pub fn add(&mut self, token: &str, roles: &[Role]) -> Result<(), DoorError> {
        if token.len() < DOOR_TOKEN_MIN_BYTES {
            return Err(DoorError::TokenShort { bytes: token.len() });
        }
        check_roles("the door token", roles)?;
        let digest = digest_of(token);
        if self.find(&digest).is_some() {
            return Err(DoorError::TokenTwice);
        }
        self.entries.push(DoorToken { digest, roles: roles.to_vec() });
        Ok(())
    }

    /// The roles of a presented token.
    #[must_use]
    pub fn roles_of(&self, presented: &str) -> Option<&[Role]> {
        self.find(&digest_of(presented)).map(|entry| entry.roles.as_slice())
    }

    /// Compares with every entry, each in constant time: these tokens may be
    /// shorter than an API key, and there are few.
    fn find(&self, digest: &Digest) -> Option<&DoorToken> {
        let mut found = None;
        for entry in &self.entries {
            if bool::from(entry.digest.ct_eq(digest)) {
                found = Some(entry);
            }
        }
        found
    }

    pub(crate) fn identity(&self, digest: &Digest, tenant: &str) -> Option<Identity> {
        let entry = self.find(digest)?;
        let credential = credential(CredentialKind::ApiKey, &[b"door", &entry.digest]);
        Some(nobody(tenant, credential, &entry.roles))
    }
}

/// User ids of the Unix socket's peers and their roles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerRoles {
    roles: BTreeMap<u32, Vec<Role>>,
}

impl PeerRoles {
    /// The default: the user id that the process runs as is operator and auditor.
    #[must_use]
    pub fn own(uid: u32) -> Self {
        Self { roles: BTreeMap::from([(uid, vec![Role::Operator, Role::Auditor])]) }
    }

    /// Sets the roles of a user id.
    ///
    /// # Errors
    /// [`DoorError`]: without roles, or an approver.
    pub fn set(&mut self, uid: u32, roles: &[Role]) -> Result<(), DoorError> {
        check_roles(&format!("the peer with user id {uid}"), roles)?;
        self.roles.insert(uid, roles.to_vec());
        Ok(())
    }

    pub(crate) fn identity(&self, uid: u32, tenant: &str) -> Option<Identity> {
        let roles = self.roles.get(&uid)?;
        // A user id is no secret and says more than its digest.
        let id = format!("uid:{uid}");
        let credential = Credential { kind: CredentialKind::Peer, id, issuer: String::new() };
        Some(nobody(tenant, credential, roles))
    }
}

/// A caller with roles who speaks for nobody.
fn nobody(tenant: &str, credential: Credential, roles: &[Role]) -> Identity {
    Identity {
        tenant: tenant.to_owned(),
        subject: None,
        agent: None,
        delegation: Vec::new(),
        credential,
        expires_ms: None,
        roles: roles.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_has_its_own_roles() {
        let (a, b) = ("a".repeat(DOOR_TOKEN_MIN_BYTES), "b".repeat(40));
        let mut tokens = DoorTokens::default();
        tokens.add(&a, &[Role::Pep]).unwrap();
        tokens.add(&b, &[Role::Operator, Role::Auditor]).unwrap();
        assert_eq!(tokens.roles_of(&a), Some(&[Role::Pep][..]));
        assert_eq!(tokens.roles_of(&b), Some(&[Role::Operator, Role::Auditor][..]));
        for other in ["", "a", &"a".repeat(31), &format!("{a}a"), &format!("{a}\n")] {
            assert_eq!(tokens.roles_of(other), None, "{other:?}");
        }
        assert_eq!(tokens.add(&a, &[Role::Auditor]), Err(DoorError::TokenTwice));
        assert!(!format!("{tokens:?}").contains(&b));
    }

    #[test]
    fn guessable_tokens_and_doors_for_people_are_refused() {
        let mut tokens = DoorTokens::default();
        let short = "a".repeat(DOOR_TOKEN_MIN_BYTES - 1);
        let bytes = short.len();
        assert_eq!(tokens.add(&short, &[Role::Pep]), Err(DoorError::TokenShort { bytes }));
        let token = "a".repeat(DOOR_TOKEN_MIN_BYTES);
        assert!(matches!(tokens.add(&token, &[]), Err(DoorError::RolesEmpty { .. })));
        let mixed = [Role::Pep, Role::Approver];
        assert!(matches!(tokens.add(&token, &mixed), Err(DoorError::NotAPerson { .. })));
        let mut peers = PeerRoles::own(1);
        assert!(matches!(peers.set(2, &mixed), Err(DoorError::NotAPerson { .. })));
        assert!(matches!(peers.set(2, &[]), Err(DoorError::RolesEmpty { .. })));
        assert_eq!(peers, PeerRoles::own(1));
    }
}
