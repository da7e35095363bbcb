//! The body of a request for a token, which is a secret as a whole.

use zeroize::Zeroizing;

/// Room that one form begins with, bytes. Growing leaves copies behind, so it is ample.
const ROOM_BYTES: usize = 16 * 1024;

/// `application/x-www-form-urlencoded`, wiped when dropped.
pub(super) struct Form(Zeroizing<String>);

impl Form {
    pub(super) fn new() -> Self {
        Self(Zeroizing::new(String::with_capacity(ROOM_BYTES)))
    }

    /// Adds `name=value`.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(form_urlencoded::byte_serialize(value.as_bytes()));
    }

    pub(super) fn add_some(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    /// The bytes, wiped when whoever sends them lets go.
    pub(super) fn into_bytes(mut self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(std::mem::take(&mut *self.0).into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_separates_is_escaped() {
        let mut form = Form::new();
        form.add("scope", "a b");
        form.add_some("resource", None);
        form.add_some("x", Some("&=%+ü\n"));
        assert_eq!(&**form.into_bytes(), b"scope=a+b&x=%26%3D%25%2B%C3%BC%0A");
    }
}
