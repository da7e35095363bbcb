//! The decision point's own door: nobody asks anything unauthenticated.

use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, header};
use lictor_identity::{
    AuthError, Authenticator, ClientCertificate, DoorError, DoorTokens, Identity, PeerRoles,
    Presented, Role, Scheme, Secret, Settings, SettingsError,
};

use crate::peer::Peer;
use crate::registered::{Digest, Registered, digest_of};

/// Who may come in.
pub struct Door {
    authenticator: Authenticator,
    /// Knows approvers by credentials of their own; they get no further than approvals.
    approvers: Option<Arc<Authenticator>>,
    /// Peers with a token or certificate of their own.
    registered: Arc<Registered>,
}

/// Why there is no door.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A token or a role.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// What is believed.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// Why somebody may not.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Nobody we know.
    #[error("{0}")]
    Unauthenticated(#[from] AuthError),
    /// Known, but not for this.
    #[error("this needs the role {}: use a credential that has it", names(.0))]
    Role(&'static [Role]),
}

fn names(roles: &[Role]) -> String {
    roles.iter().map(|role| format!("`{}`", role.as_str())).collect::<Vec<_>>().join(" or ")
}

impl Door {
    /// A door for the token of the enforcement points, the token of operators and
    /// the peers of the Unix socket.
    ///
    /// # Errors
    /// [`BuildError`]: a token is too short, or a role cannot be held.
    pub fn new(pep: Option<&str>, operator: &str, peers: PeerRoles) -> Result<Self, BuildError> {
        let mut tokens = DoorTokens::default();
        if let Some(pep) = pep {
            tokens.add(pep, &[Role::Pep])?;
        }
        tokens.add(operator, &[Role::Operator, Role::Auditor])?;
        let authenticator = Authenticator::new(Settings::default())?;
        let authenticator = authenticator.with_door_tokens(tokens).with_peers(peers);
        Ok(Self { authenticator, approvers: None, registered: Arc::default() })
    }

    /// Also lets in those who are registered by name.
    #[must_use]
    pub fn with_registered(mut self, registered: Arc<Registered>) -> Self {
        self.registered = registered;
        self
    }

    /// Also lets in approvers, to approvals alone.
    #[must_use]
    pub fn with_approvers(mut self, approvers: Option<Arc<Authenticator>>) -> Self {
        self.approvers = approvers;
        self
    }

    /// An approver who presents a credential of their own and is `in_service`.
    pub async fn approver(
        &self,
        authorization: Option<&str>,
        in_service: impl Fn(&Identity) -> bool,
        now_ms: i64,
    ) -> Option<Peer> {
        let identity = self
            .approvers
            .as_ref()?
            .identify(Presented::authorization(authorization), now_ms)
            .await
            .ok()?;
        let person = identity.agent.is_none() && identity.has(Role::Approver);
        let person = person && in_service(&identity);
        let peer = Peer::new(&identity.credential.id, &[Role::Approver]);
        person.then(|| peer.of_tenant(&identity.tenant))
    }

    /// Lets in who holds one of `roles`. A token counts before the certificate of the connection,
    /// and that before the socket's peer.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn enter(
        &self,
        authorization: Option<&str>,
        certificate: Option<&ClientCertificate>,
        uid: Option<u32>,
        roles: &'static [Role],
        now_ms: i64,
    ) -> Result<Peer, Refused> {
        let presented = Presented { peer: uid, ..Presented::authorization(authorization) };
        let registered = match presented.token {
            Some(token) if token.scheme == Scheme::Bearer => {
                self.registered.by_token(token.text, now_ms)
            }
            Some(_) => None,
            None => certificate.and_then(|shown| self.registered.by_certificate(shown, now_ms)),
        };
        let peer = match registered {
            Some(peer) => peer.clone(),
            None => peer_of(self.authenticator.authenticate(presented, now_ms)?),
        };
        let may = roles.iter().any(|role| peer.has(*role));
        if may { Ok(peer) } else { Err(Refused::Role(roles)) }
    }
}

fn peer_of(identity: Identity) -> Peer {
    Peer::new(&identity.credential.id, &identity.roles)
}

/// The value of the one `Authorization` header.
///
/// # Errors
/// [`AuthError`] for several, and for one that cannot be read: neither is none, for which
/// certificate or socket would count.
pub(crate) fn authorization(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(AuthError::TokenSeveral);
    }
    let (part, why) = ("`Authorization` header", "it is not visible ASCII");
    let unreadable = |_| AuthError::TokenMalformed { part, why };
    first.map(|value| value.to_str().map_err(unreadable)).transpose()
}

/// What somebody came in with, held up again while a stream of theirs goes on: a token may be
/// replaced and a certificate end meanwhile. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Pass(Arc<Shown>);

struct Shown {
    door: Arc<Door>,
    authorization: Option<Secret>,
    certificate: Option<ClientCertificate>,
    uid: Option<u32>,
    peer: Peer,
    /// Found when it is held up for the first time: most requests never do that.
    standing: OnceLock<Standing>,
}

/// What of a pass does not change as long as the process runs, so that it need not be found out
/// for each message of a stream. It holds no secret.
struct Standing {
    /// By which registered peers are known.
    known_by: KnownBy,
    /// Whether the door's own tokens and socket peers let the same peer in.
    own: bool,
}

enum KnownBy {
    /// The digest of a bearer token.
    Token(Digest),
    /// The certificate, where no token came.
    Certificate,
    /// Nothing: registered peers send their tokens in no other way.
    Nothing,
}

impl Pass {
    /// What `peer` showed at `door`.
    pub(crate) fn new(
        door: &Arc<Door>,
        authorization: Option<&str>,
        certificate: Option<&ClientCertificate>,
        uid: Option<u32>,
        peer: &Peer,
    ) -> Self {
        Self(Arc::new(Shown {
            door: Arc::clone(door),
            authorization: authorization.map(|text| Secret::from(text.to_owned())),
            certificate: certificate.cloned(),
            uid,
            peer: peer.clone(),
            standing: OnceLock::new(),
        }))
    }

    /// Whether the same would still let the same peer in.
    pub(crate) fn holds(&self, now_ms: i64) -> bool {
        let Shown { door, certificate, peer, .. } = &*self.0;
        let standing = self.0.standing.get_or_init(|| self.0.standing(now_ms));
        // Tokens of registered peers are replaced, and certificates end.
        let registered = match &standing.known_by {
            KnownBy::Token(digest) => door.registered.by_digest(digest, now_ms),
            KnownBy::Certificate => {
                let shown = certificate.as_ref();
                shown.and_then(|shown| door.registered.by_certificate(shown, now_ms))
            }
            KnownBy::Nothing => None,
        };
        registered.map_or(standing.own, |now| now == peer)
    }
}

impl Shown {
    fn standing(&self, now_ms: i64) -> Standing {
        let authorization = self.authorization.as_deref();
        let presented = Presented { peer: self.uid, ..Presented::authorization(authorization) };
        let known_by = match presented.token {
            Some(token) if token.scheme == Scheme::Bearer => KnownBy::Token(digest_of(token.text)),
            Some(_) => KnownBy::Nothing,
            None => KnownBy::Certificate,
        };
        let own = self.door.authenticator.authenticate(presented, now_ms);
        Standing { known_by, own: own.is_ok_and(|identity| peer_of(identity) == self.peer) }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::registered::{Allow, PepConfig, TOKEN_OVERLAP_MS};

    const OPERATOR: &str = "an-operators-token-of-enough-bytes-and-more";
    const PEP: &str = "an-enforcement-points-token-of-enough-bytes";

    #[test]
    fn a_pass_holds_as_long_as_what_was_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pep.token");
        let pep = PepConfig {
            id: "pep-1".to_owned(),
            token_file: Some(path.clone()),
            spiffe_id: None,
            dns: None,
            allow: Allow::default(),
        };
        let registered = Arc::new(Registered::new(&[pep], &[], false).unwrap());
        let door = Door::new(None, OPERATOR, PeerRoles::own(7)).unwrap();
        let door = Arc::new(door.with_registered(Arc::clone(&registered)));
        let enter = |authorization: Option<&str>, uid| {
            let peer = door.enter(authorization, None, uid, &Role::ALL, 0).unwrap();
            Pass::new(&door, authorization, None, uid, &peer)
        };
        let token = std::fs::read_to_string(&path).unwrap();
        let bearer = format!("Bearer {}", token.trim());
        let (named, peer) = (enter(Some(&bearer), None), enter(None, Some(7)));
        assert!(named.holds(0) && peer.holds(0));
        std::fs::write(&path, "another-token-of-enough-bytes-for-a-door-token").unwrap();
        registered.reload(1_000);
        assert!(named.holds(999 + TOKEN_OVERLAP_MS));
        assert!(!named.holds(1_000 + TOKEN_OVERLAP_MS), "the token is not the peer's any more");
        assert!(peer.holds(1_000 + TOKEN_OVERLAP_MS));
    }

    /// What a pass says that finds everything out anew.
    fn anew(pass: &Pass, now_ms: i64) -> bool {
        let Shown { door, authorization, certificate, uid, peer, .. } = &*pass.0;
        let authorization = authorization.as_deref();
        let entered = door.enter(authorization, certificate.as_ref(), *uid, &Role::ALL, now_ms);
        entered.is_ok_and(|now| now == *peer)
    }

    #[test]
    fn a_pass_that_remembers_says_what_one_says_that_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let pep = |id: &str| PepConfig {
            id: id.to_owned(),
            token_file: Some(dir.path().join(id)),
            spiffe_id: None,
            dns: None,
            allow: Allow::default(),
        };
        let registered = Registered::new(&[pep("a"), pep("b")], &[], false).unwrap();
        let registered = Arc::new(registered);
        let door = Door::new(Some(PEP), OPERATOR, PeerRoles::own(7)).unwrap();
        let door = Arc::new(door.with_registered(Arc::clone(&registered)));
        let read = |id: &str| std::fs::read_to_string(dir.path().join(id)).unwrap();
        let tokens = [read("a"), read("b"), PEP.to_owned(), OPERATOR.to_owned()];
        let others = ["another-token-of-enough-bytes-for-a-door-token", "x"].map(str::to_owned);
        let mut shown = vec![None, Some("Basic YTpi".to_owned()), Some("Bearer ".to_owned())];
        for token in tokens.iter().chain(&others) {
            shown.extend(
                ["Bearer", "bearer", "DPoP"].map(|s| Some(format!("{s} {}", token.trim()))),
            );
        }
        let peers = [
            Peer::new("peer:a", &[Role::Pep]).only_for(Allow::default()),
            Peer::new("peer:b", &[Role::Pep]).only_for(Allow::default()),
            Peer::new("somebody", &[Role::Approver]),
        ];
        let mut passes = Vec::new();
        for authorization in &shown {
            for uid in [None, Some(7), Some(8)] {
                let text = authorization.as_deref();
                let entered = door.enter(text, None, uid, &Role::ALL, 0).ok();
                for peer in peers.iter().chain(&entered) {
                    passes.push(Pass::new(&door, text, None, uid, peer));
                }
            }
        }
        let check = |now_ms: i64| {
            let held = passes.iter().filter(|pass| pass.holds(now_ms)).count();
            for pass in &passes {
                assert_eq!(pass.holds(now_ms), anew(pass, now_ms), "{:?}", pass.0.peer);
            }
            held
        };
        let before = check(0);
        // Another token for one peer; and one that was the other's before.
        std::fs::write(dir.path().join("a"), &others[0]).unwrap();
        registered.reload(1_000);
        std::fs::write(dir.path().join("b"), &tokens[0]).unwrap();
        registered.reload(2_000);
        let after: Vec<usize> = [2_000, 999 + TOKEN_OVERLAP_MS, 1_000 + TOKEN_OVERLAP_MS]
            .into_iter()
            .chain([1_999 + TOKEN_OVERLAP_MS, 2_000 + TOKEN_OVERLAP_MS])
            .map(check)
            .collect();
        assert!(before > 0 && after.iter().any(|held| *held != before), "{before} {after:?}");
    }

    #[test]
    fn several_credentials_and_one_that_cannot_be_read_are_not_none() {
        let read = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = HeaderValue::from_bytes(value).unwrap();
                headers.append(header::AUTHORIZATION, value);
            }
            authorization(&headers).map(|text| text.map(str::to_owned)).map_err(|e| e.id())
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[b"Bearer a"]), Ok(Some("Bearer a".to_owned())));
        assert_eq!(read(&[b"Bearer a", b"Bearer a"]), Err("token_several"));
        assert_eq!(read(&[b"Bearer \xe4"]), Err("token_malformed"));
    }
}
