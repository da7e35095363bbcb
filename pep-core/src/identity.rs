//! Stage 2: what the caller presented becomes who is calling, or a refusal.

use std::sync::Arc;

use lictor_identity::remote::health::metrics_text;
use lictor_identity::{AuthError, Authenticator, DpopError, Identity};

use crate::challenge::Challenge;
use crate::proof::Proof;
use crate::refusal::Refusal;

/// Finds out who calls.
#[derive(Clone)]
pub(crate) struct Doorkeeper {
    authenticator: Arc<Authenticator>,
}

impl Doorkeeper {
    pub(crate) fn new(authenticator: Arc<Authenticator>) -> Self {
        Self { authenticator }
    }

    /// Who presented `proof`: found out once for each request, since a proof of possession counts
    /// only once. Every failure is 401 with the reason's id.
    pub(crate) async fn identify(
        &self,
        proof: &Proof,
        now_ms: i64,
    ) -> Result<Arc<Identity>, Refusal> {
        let known = proof.known().get_or_try_init(|| self.ask(proof, now_ms)).await;
        match known {
            Ok(known) if known.expires_ms.is_none_or(|end_ms| now_ms < end_ms) => {
                Ok(Arc::clone(known))
            }
            // It ended on the way: the answer is why.
            Ok(_) => self.ask(proof, now_ms).await.map_err(|error| refusal(&error)),
            Err(error) => Err(refusal(&error)),
        }
    }

    /// Who presented `proof` still, some time after that was found out.
    pub(crate) fn again(&self, proof: &Proof, now_ms: i64) -> Result<Identity, Refusal> {
        let presented = match proof.known().get() {
            Some(_) => proof.presented(),
            None => Err(AuthError::TokenMissing),
        };
        let found = presented.and_then(|accepted| self.authenticator.again(accepted, now_ms));
        found.map_err(|error| refusal(&error))
    }

    async fn ask(&self, proof: &Proof, now_ms: i64) -> Result<Arc<Identity>, AuthError> {
        self.authenticator.identify(proof.presented()?, now_ms).await.map(Arc::new)
    }

    /// How the keys of issuers are doing, as Prometheus text.
    pub(crate) fn metrics_text(&self, now_ms: i64) -> String {
        metrics_text(&self.authenticator.health(), now_ms)
    }
}

/// What a caller is told who could not prove itself.
fn refusal(error: &AuthError) -> Refusal {
    let challenge = match error {
        AuthError::Dpop(DpopError::Unbound) => Challenge::Bearer,
        AuthError::Dpop(error) => match error.nonce() {
            Some(nonce) => Challenge::Nonce(nonce.to_owned()),
            None if error.is_about_proof() => Challenge::Proof,
            None => Challenge::Bound,
        },
        AuthError::TokenBound => Challenge::Bound,
        _ => Challenge::Bearer,
    };
    Refusal::unauthenticated(error.id(), error.to_string()).with_challenge(challenge)
}
