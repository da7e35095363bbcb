//! A tenant's live bundle follows its source: what is taken, refused or out of reach is recorded
//! and told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use lictor_audit::{AppendError, Durability, Entry, Kind};
use lictor_identity::files::random;
use lictor_policy_lib::bundle::Trust;
use lictor_policy_lib::load::LoadedBundle;
use lictor_proto::call::DEFAULT_TENANT;
use serde_json::json;

use super::{Origin, Refusal, RefusedBundle};
use crate::config::PdpConfig;
use crate::decide::Pdp;
use crate::source::watch::{Sink, Watch};
use crate::source::{BundleSource, SourceError};

/// The bundle that decides.
pub(crate) struct Deciding {
    pdp: Arc<Pdp>,
    /// What the shared store said last, for while it does not answer.
    floor: AtomicU64,
}

/// Makes the bundle of `pdp` follow the source of `config`.
///
/// # Errors
/// [`SourceError`]: a key or setting that cannot be used.
pub(crate) fn follow(pdp: &Arc<Pdp>, config: &PdpConfig) -> Result<Watch<Deciding>, SourceError> {
    let source = BundleSource::open(&config.source())?;
    let sink = Deciding { pdp: Arc::clone(pdp), floor: AtomicU64::new(0) };
    Ok(Watch::new(source, sink, pdp.clock.clone(), chance))
}

/// Chance, to spread the questions of many decision points; without any they are asked at once.
pub(crate) fn chance() -> u16 {
    random::<2>().map_or(0, u16::from_le_bytes)
}

#[async_trait]
impl Sink for Deciding {
    async fn floor(&self) -> u64 {
        // What is live counts too: the store may have been away when it became so.
        let live = self.pdp.live.of(DEFAULT_TENANT).map_or(0, |live| live.reference().version);
        self.raise(live).await;
        self.floor.load(Ordering::Relaxed)
    }

    fn current(&self) -> Option<Arc<LoadedBundle>> {
        self.pdp.live.of(DEFAULT_TENANT)
    }

    async fn live(&self, bundle: LoadedBundle, origin: Origin) -> Result<(), AppendError> {
        if !bundle.has_policies() {
            tracing::error!("the bundle has no policies: NOTHING IS ALLOWED");
        }
        let now_ms = self.pdp.clock.now_ms();
        let trust = match bundle.verified().trust() {
            Trust::Signed { kids, .. } => json!({ "signed_by": kids }),
            Trust::Unsigned => json!("unsigned"),
        };
        let reference = bundle.reference();
        tracing::info!(name = reference.name, version = reference.version, "bundle live");
        let body = json!({
            "outcome": "live", "from": origin.from, "tenant": DEFAULT_TENANT,
            "bundle": reference, "trust": trust,
        });
        // The record first: no decision may name a bundle that the log lacks.
        let entry = Entry::new(Kind::Bundle, now_ms, body.to_string());
        let version = reference.version;
        if let Err(error) = self.pdp.audit.append(entry, Durability::Sync).await {
            self.pdp.live.discard(bundle);
            return Err(error);
        }
        self.pdp.live.swap(DEFAULT_TENANT, bundle, origin, now_ms);
        self.raise(version).await;
        Ok(())
    }

    async fn refuse(&self, refused: RefusedBundle) -> Result<(), AppendError> {
        let Refusal { id, message, .. } = refused.why.clone();
        tracing::error!(id, message, "bundle refused");
        // What is not known is left out.
        let members = [
            ("outcome", Some(json!("refused"))),
            ("tenant", Some(json!(DEFAULT_TENANT))),
            ("reason", Some(json!(id))),
            ("digest", refused.digest.as_ref().map(|digest| json!(digest))),
            ("version", refused.version.map(|version| json!(version))),
        ];
        let known = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let body = known.collect::<serde_json::Value>();
        let at_ms = refused.why.at_ms;
        self.pdp.live.refuse(DEFAULT_TENANT, refused);
        self.note(&body, &message, at_ms).await
    }

    async fn unreachable(&self, why: Refusal, first: bool) -> Result<(), AppendError> {
        let Refusal { id, message, at_ms } = why.clone();
        tracing::warn!(id, message, "no answer from the bundle's source");
        self.pdp.live.unreachable(DEFAULT_TENANT, why);
        if !first {
            return Ok(());
        }
        let body = json!({ "outcome": "unreachable", "tenant": DEFAULT_TENANT, "reason": id });
        self.note(&body, &message, at_ms).await
    }

    fn answered(&self, now_ms: i64) {
        self.pdp.live.answered(DEFAULT_TENANT, now_ms);
    }
}

impl Deciding {
    /// Tells all who share our store that nothing below `version` is to be live, and hears the
    /// same of them. A store that does not answer leaves what it said before, and what is on disk.
    async fn raise(&self, version: u64) {
        match self.pdp.state.raise_floor(DEFAULT_TENANT, version).await {
            Ok(Some(floor)) => {
                self.floor.fetch_max(floor, Ordering::Relaxed);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the shared version floor is not known");
            }
        }
    }

    async fn note(
        &self,
        body: &serde_json::Value,
        message: &str,
        at_ms: i64,
    ) -> Result<(), AppendError> {
        let mut entry = Entry::new(Kind::Bundle, at_ms, body.to_string());
        entry.sensitive.push(("/message".to_owned(), json!(message).to_string()));
        self.pdp.audit.append(entry, Durability::Bounded).await.map(|_| ())
    }
}
