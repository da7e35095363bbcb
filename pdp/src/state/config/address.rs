//! Addresses of a store, which may hold passwords: no message, print or error shows them.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::RedisConfig;

/// Stands in place of a password that is not shown.
const HIDDEN: &str = "***";
/// How a node of a cluster is named.
pub(super) const NODE_FORMS: &str = "`redis://HOST:PORT` or `rediss://HOST:PORT`";
/// How a single server is named.
pub(super) const SERVER_FORMS: &str = "`redis://HOST:PORT`, `rediss://HOST:PORT` or `unix:PATH`";

/// Address of a store. Whoever prints it does not see the password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct StoreUrl(String);

impl StoreUrl {
    /// An address as it is configured.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self(url.to_owned())
    }

    /// All of it, for whoever connects.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }

    /// Whether it can be one server, or a node of a cluster.
    pub(super) fn is_of(&self, cluster: bool) -> bool {
        match self.0.parse::<ConnectionInfo>() {
            Ok(info) => !cluster || !matches!(info.addr(), ConnectionAddr::Unix(_)),
            Err(_) => false,
        }
    }

    fn shown(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            // A socket's URL has its password in the query; what is no URL may have it anywhere.
            if let Some((_, host)) = self.0.rsplit_once('@') {
                return format!("{HIDDEN}@{host}");
            }
            let (path, query) = self.0.split_once('?').unwrap_or((&self.0, ""));
            return if query.is_empty() { path.to_owned() } else { format!("{path}?{HIDDEN}") };
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, _)) => (rest, format!("?{HIDDEN}")),
            None => (rest, String::new()),
        };
        match rest.rsplit_once('@') {
            Some((who, host)) => {
                let user = who.split(':').next().unwrap_or_default();
                format!("{scheme}://{user}:{HIDDEN}@{host}{query}")
            }
            None => format!("{scheme}://{rest}{query}"),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Serialize for StoreUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown())
    }
}

/// `redis` of the section. The usual complaint about a value of another sort would repeat it, so a
/// URL alone is taken for one server.
pub(super) fn store<'de, D: Deserializer<'de>>(from: D) -> Result<Option<RedisConfig>, D::Error> {
    from.deserialize_any(Store).map(Some)
}

/// `urls` of `redis`; one alone needs no list.
pub(super) fn urls<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<StoreUrl>, D::Error> {
    from.deserialize_any(Urls)
}

struct Store;

impl<'de> Visitor<'de> for Store {
    type Value = RedisConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL, or a table with `urls`")
    }

    fn visit_str<E: Error>(self, url: &str) -> Result<RedisConfig, E> {
        Ok(RedisConfig { urls: vec![StoreUrl::new(url)], ..RedisConfig::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RedisConfig, A::Error> {
        RedisConfig::deserialize(MapAccessDeserializer::new(map))
    }
}

struct Urls;

impl<'de> Visitor<'de> for Urls {
    type Value = Vec<StoreUrl>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a URL, or a list of them")
    }

    fn visit_str<E: Error>(self, url: &str) -> Result<Vec<StoreUrl>, E> {
        Ok(vec![StoreUrl::new(url)])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<StoreUrl>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list))
    }
}
