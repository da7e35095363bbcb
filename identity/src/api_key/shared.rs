//! The API keys that are in effect, replaced while requests run.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::store::ApiKeyStore;

/// The API keys that are in effect. Cloning shares them, so that a key that was taken back is
/// refused by everyone at once.
#[derive(Debug, Clone)]
pub struct ApiKeys(Arc<ArcSwap<ApiKeyStore>>);

impl From<ApiKeyStore> for ApiKeys {
    fn from(store: ApiKeyStore) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(store)))
    }
}

impl ApiKeys {
    /// Puts `store` in the place of all keys before.
    pub fn replace(&self, store: ApiKeyStore) {
        self.0.store(Arc::new(store));
    }

    /// The keys as they are now.
    #[must_use]
    pub fn now(&self) -> Arc<ApiKeyStore> {
        self.0.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_key::IssueRequest;

    #[test]
    fn clones_share_the_keys() {
        let keys = ApiKeys::from(ApiKeyStore::default());
        let clone = keys.clone();
        let mut store = ApiKeyStore::default();
        let request =
            IssueRequest { id: "a".into(), tenant: "t".into(), ..IssueRequest::default() };
        store.issue(&request, 0, [1; 32]).unwrap();
        keys.replace(store);
        assert_eq!(clone.now().records().len(), 1);
    }
}
