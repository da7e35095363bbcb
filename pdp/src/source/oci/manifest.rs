//! Which layer of an image manifest is the bundle.

use oci_client::manifest::OciImageManifest;

use super::super::client::FetchError;

/// Largest manifest that is read, bytes.
pub(super) const MANIFEST_BYTES_MAX: usize = 256 * 1_024;
/// What we read. An index is named so that a registry sends it as what it is, to be refused.
pub(super) const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.image.index.v1+json";
/// Media types of a layer that is a bundle: OPA's tools push the first, ours may say what it is.
const BUNDLE_TYPES: [&str; 2] =
    ["application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.lictor.bundle.v1.tar+gzip"];

/// What a manifest says of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    /// `sha256:<hex>`.
    pub(super) digest: String,
    pub(super) bytes: usize,
}

/// The one layer that is a bundle.
pub(super) fn layer(manifest: &[u8], place: &str) -> Result<Layer, FetchError> {
    let refused = |found: &str, hint| {
        Err(FetchError::NotABundle { url: place.to_owned(), found: found.to_owned(), hint })
    };
    let Ok(read) = serde_json::from_slice::<OciImageManifest>(manifest) else {
        return refused(
            "no image manifest",
            "an index or another artifact is refused: name the manifest of one bundle",
        );
    };
    let mut layers =
        read.layers.iter().filter(|layer| BUNDLE_TYPES.contains(&layer.media_type.as_str()));
    let (Some(layer), None) = (layers.next(), layers.next()) else {
        return refused(
            "a manifest without exactly one layer of a bundle's media type",
            "push it with one layer of `application/vnd.oci.image.layer.v1.tar+gzip`",
        );
    };
    let bytes = usize::try_from(layer.size).ok().filter(|_| is_sha256(&layer.digest));
    let Some(bytes) = bytes else {
        return refused(
            "a layer whose size or digest says nothing",
            "only digests of the form `sha256:…` are checked: push it again",
        );
    };
    Ok(Layer { digest: layer.digest.clone(), bytes })
}

pub(super) fn is_sha256(digest: &str) -> bool {
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(layers: Value) -> Result<Layer, FetchError> {
        let config = json!({"mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"});
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        layer(manifest.to_string().as_bytes(), "oci://r.example/p:1")
    }

    #[test]
    fn exactly_one_layer_is_the_bundle() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let layer = |kind: &str| json!({"mediaType": kind, "digest": digest, "size": 9});
        let (opa, ours, other) = (layer(BUNDLE_TYPES[0]), layer(BUNDLE_TYPES[1]), layer("text/x"));
        let found = Layer { digest: digest.clone(), bytes: 9 };
        assert_eq!(of(json!([opa])).unwrap(), found);
        assert_eq!(of(json!([other, ours])).unwrap(), found);
        for bad in [json!([]), json!([other]), json!([opa, ours]), json!([opa, opa]), json!(null)] {
            assert_eq!(of(bad.clone()).unwrap_err().id(), "bundle_content_type", "{bad}");
        }
    }

    #[test]
    fn a_layer_without_a_size_or_a_sha256_is_refused() {
        for (digest, size) in [
            (format!("sha256:{}", "0".repeat(64)), -1),
            (format!("sha256:{}", "0".repeat(63)), 9),
            (format!("sha256:{}", "A".repeat(64)), 9),
            (format!("sha512:{}", "0".repeat(128)), 9),
            ("sha256:../../x".to_owned(), 9),
        ] {
            let layer = json!([{"mediaType": BUNDLE_TYPES[0], "digest": digest, "size": size}]);
            assert!(of(layer.clone()).is_err(), "{layer}");
        }
    }

    #[test]
    fn an_index_is_no_bundle() {
        let index = json!({"schemaVersion": 2, "manifests": []}).to_string();
        let error = layer(index.as_bytes(), "oci://r.example/p:1").unwrap_err();
        assert!(error.to_string().contains("index"), "{error}");
    }
}
