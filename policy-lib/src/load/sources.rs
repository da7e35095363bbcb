//! The texts of a bundle as the engines take them, for whoever loads them again.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize as _;
use serde_json::Value;

use super::{of_kind, scopes, texts};
use crate::bundle::{Kind, VerifiedBundle};
use crate::cedar::CedarSource;
use crate::engine::Scope;
use crate::registry::Registry;
use crate::rego::RegoSource;

/// Every text of a bundle.
#[derive(Debug)]
pub(crate) struct Sources {
    texts: BTreeMap<String, String>,
    scopes: BTreeMap<String, Scope>,
    /// The whole registry, read where Cedar is asked for.
    registry: OnceLock<Registry>,
}

impl Sources {
    /// The texts of a bundle that was loaded, so that there is nothing to report.
    pub(crate) fn of(verified: &VerifiedBundle) -> Self {
        Self {
            texts: texts(verified, &mut Vec::new()),
            scopes: scopes(verified),
            registry: OnceLock::new(),
        }
    }

    /// A file's text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// What the Rego engine is made of.
    pub(crate) fn rego(&self) -> RegoSource<'_> {
        RegoSource {
            files: of_kind(&self.texts, |kind| matches!(kind, Kind::Rego { .. })),
            data: self.text("data.json").unwrap_or("{}"),
            scopes: &self.scopes,
        }
    }

    /// What the Cedar engine is made of.
    pub(crate) fn cedar(&self) -> CedarSource<'_> {
        CedarSource {
            policies: of_kind(&self.texts, |kind| matches!(kind, Kind::Cedar { .. })),
            schema: self.text("cedar/schema.cedarschema"),
            entities: self.text("cedar/entities.json"),
            scopes: &self.scopes,
            registry: self.registry.get_or_init(|| self.read_registry().unwrap_or_default()),
        }
    }

    /// The registry, which was read once before.
    fn read_registry(&self) -> Option<Registry> {
        let data: Value = serde_json::from_str(self.text("data.json")?).ok()?;
        Registry::deserialize(data.get("registry")?).ok()
    }
}
