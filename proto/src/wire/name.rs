//! Names of closed sets, through their serde names, so that wire and JSON can never differ.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::de::value::{Error, StrDeserializer};

use super::{Result, invalid};

/// Reads a name of a closed set.
pub(super) fn closed<T: DeserializeOwned>(field: &str, name: &str) -> Result<T> {
    let unknown = |_: Error| invalid(format!("`{name}` is not a known {field}"));
    T::deserialize(StrDeserializer::new(name)).map_err(unknown)
}

/// The name in a closed set.
pub(super) fn name_of<T: Serialize>(value: &T) -> String {
    use fmt::Write as _;
    let mut name = String::new();
    // A value without a name gets an empty one, which is in no closed set, so the reader refuses it.
    match write!(name, "{}", Named(value)) {
        Ok(()) => name,
        Err(_) => String::new(),
    }
}

struct Named<'a, T>(&'a T);

impl<T: Serialize> fmt::Display for Named<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.serialize(f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::call::{CredentialKind, Origin, ResourceKind};
    use crate::decide::{Outcome, QuotaUnit, ResponseCheck, ToolEffect};
    use crate::decision::{Confidentiality, Integrity, ObligationKind, Severity};
    use crate::revocation::Kind;

    /// By way of a JSON value.
    fn plainly<T: DeserializeOwned>(name: &str) -> Option<T> {
        serde_json::from_value(Value::String(name.to_owned())).ok()
    }

    fn same<T: DeserializeOwned + Serialize>(names: &[&str]) {
        for name in names {
            let read: Option<T> = closed("name", name).ok();
            let plain: Option<T> = plainly(name);
            assert_eq!(read.is_some(), plain.is_some(), "{name}");
            if let (Some(read), Some(plain)) = (read, plain) {
                assert_eq!(name_of(&read), *name);
                assert_eq!(Value::String(name_of(&plain)), serde_json::to_value(&plain).unwrap());
            }
        }
    }

    #[test]
    fn every_set_reads_and_writes_what_its_json_does() {
        let names = [
            "jwt",
            "api_key",
            "mtls",
            "spiffe",
            "peer",
            "tool",
            "model",
            "server",
            "resource",
            "prompt",
            "agent",
            "memory",
            "system",
            "user",
            "assistant",
            "tool_result",
            "tool_args",
            "tool_definition",
            "retrieved",
            "mask",
            "route",
            "cap_tokens",
            "set_header",
            "strip_tools",
            "spotlight",
            "step_up",
            "notify",
            "label",
            "log_full",
            "low",
            "medium",
            "high",
            "critical",
            "trusted",
            "untrusted",
            "public",
            "internal",
            "secret",
            "none",
            "mutate",
            "egress",
            "exec",
            "whole",
            "stream",
            "not_sent",
            "failed",
            "done",
            "unknown",
            "calls",
            "tokens",
            "usd_micros",
            "bytes",
            "concurrent",
            "subject",
            "credential",
            "session",
            "",
            "Tool",
            "tools",
            "tool ",
            "0",
            "null",
        ];
        same::<CredentialKind>(&names);
        same::<ResourceKind>(&names);
        same::<Origin>(&names);
        same::<ObligationKind>(&names);
        same::<Severity>(&names);
        same::<Integrity>(&names);
        same::<Confidentiality>(&names);
        same::<ToolEffect>(&names);
        same::<ResponseCheck>(&names);
        same::<Outcome>(&names);
        same::<QuotaUnit>(&names);
        same::<Kind>(&names);
    }

    #[test]
    fn what_has_no_name_gets_none() {
        assert_eq!(name_of(&[1]), "");
        assert_eq!(name_of(&Some(ResourceKind::Tool)), "");
    }
}
