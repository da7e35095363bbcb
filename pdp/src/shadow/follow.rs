//! The shadow bundle follows its source as the live one does, with a version floor and a kept copy
//! of its own.

use std::sync::Arc;

use async_trait::async_trait;
use lictor_audit::{AppendError, Durability};
use lictor_policy_lib::load::LoadedBundle;
use lictor_proto::call::DEFAULT_TENANT;

use super::{Shadow, record};
use crate::live::{Origin, Refusal, RefusedBundle};
use crate::source::SourceError;
use crate::source::watch::Sink;

/// The bundle that decisions are compared with.
pub(crate) struct Watching {
    pub(super) shadow: Arc<Shadow>,
}

#[async_trait]
impl Sink for Watching {
    fn current(&self) -> Option<Arc<LoadedBundle>> {
        self.shadow.live.of(DEFAULT_TENANT)
    }

    async fn live(&self, bundle: LoadedBundle, origin: Origin) -> Result<(), AppendError> {
        let (shadow, now_ms) = (&self.shadow, self.shadow.clock.now_ms());
        let reference = bundle.reference();
        tracing::info!(name = reference.name, version = reference.version, "shadow bundle live");
        // The record first: no flip may name a bundle that the log lacks.
        let entry = record::live(&bundle, &origin, now_ms);
        if let Err(error) = shadow.audit.append(entry, Durability::Bounded).await {
            shadow.live.discard(bundle);
            return Err(error);
        }
        shadow.live.swap(DEFAULT_TENANT, bundle, origin, now_ms);
        Ok(())
    }

    async fn refuse(&self, refused: RefusedBundle) -> Result<(), AppendError> {
        let Refusal { id, message, .. } = &refused.why;
        tracing::warn!(id, message, "shadow bundle refused");
        let entry = record::refused(&refused);
        self.shadow.live.refuse(DEFAULT_TENANT, refused);
        self.shadow.audit.append(entry, Durability::Bounded).await.map(|_| ())
    }

    async fn unreachable(&self, why: Refusal, first: bool) -> Result<(), AppendError> {
        let Refusal { id, message, .. } = &why;
        tracing::warn!(id, message, "no answer from the shadow bundle's source");
        let entry = first.then(|| record::unreachable(&why));
        self.shadow.live.unreachable(DEFAULT_TENANT, why);
        match entry {
            None => Ok(()),
            Some(entry) => self.shadow.audit.append(entry, Durability::Bounded).await.map(|_| ()),
        }
    }

    fn answered(&self, now_ms: i64) {
        self.shadow.live.answered(DEFAULT_TENANT, now_ms);
    }

    fn nothing(&self, kept: &SourceError) {
        tracing::warn!(%kept, "no shadow bundle is live: nothing is compared");
    }
}
