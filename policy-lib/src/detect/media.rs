//! Which media types the detectors can read.

/// Longest media type that is repeated in a detector id.
const MAX_MEDIA_BYTES: usize = 100;

/// Types outside `text/` that are text.
const TEXTUAL: [&str; 16] = [
    "application/ecmascript",
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/json5",
    "application/jsonl",
    "application/ndjson",
    "application/sql",
    "application/toml",
    "application/x-javascript",
    "application/x-ndjson",
    "application/x-sh",
    "application/x-www-form-urlencoded",
    "application/x-yaml",
    "application/xml",
    "application/yaml",
];

/// Structured-syntax suffixes of types that are text.
const TEXTUAL_SUFFIXES: [&str; 4] = ["+json", "+json-seq", "+xml", "+yaml"];

/// `None` when the detectors read `media`, else the name under which it is reported as not inspected.
/// An empty media type is read: it only means that nobody said.
pub(crate) fn unread(media: &str) -> Option<String> {
    // As they nearly always are.
    if media.is_empty() || media.starts_with("text/") {
        return None;
    }
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let read = essence.is_empty()
        || essence.starts_with("text/")
        || TEXTUAL.contains(&essence.as_str())
        || TEXTUAL_SUFFIXES.iter().any(|suffix| essence.ends_with(suffix));
    if read {
        return None;
    }
    Some(if is_type(&essence) { essence } else { "other".to_owned() })
}

/// Whether the text has the form of a media type, so that it may be part of an id.
fn is_type(essence: &str) -> bool {
    essence.len() <= MAX_MEDIA_BYTES
        && essence.split('/').count() == 2
        && essence.split('/').all(|half| {
            !half.is_empty()
                && half.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$&-^_.+".contains(&b)
                })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read() {
        for media in [
            "",
            "text/plain",
            "TEXT/HTML; charset=utf-8",
            "application/json",
            "application/problem+json",
            "image/svg+xml",
        ] {
            assert_eq!(unread(media), None, "{media}");
        }
    }

    #[test]
    fn the_rest_is_named() {
        assert_eq!(unread("image/png").as_deref(), Some("image/png"));
        assert_eq!(unread("Application/PDF; x=1").as_deref(), Some("application/pdf"));
    }

    #[test]
    fn a_name_that_is_no_media_type_is_not_repeated() {
        for media in ["png", "a/b/c", "a/", "/", "a b/c", "audio/\u{200b}x"] {
            assert_eq!(unread(media).as_deref(), Some("other"), "{media}");
        }
        let edge = format!("a/{}", "b".repeat(MAX_MEDIA_BYTES - 2));
        assert_eq!(unread(&edge), Some(edge.clone()));
        assert_eq!(unread(&format!("{edge}b")).as_deref(), Some("other"));
    }
}
