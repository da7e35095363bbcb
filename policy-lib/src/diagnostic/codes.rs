//! Every code that a problem can have, and what it means.

use super::Level;

/// A code, explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Stable name, as [`super::Diagnostic::code`].
    pub id: &'static str,
    /// `Error` if a bundle can be refused for it.
    pub level: Level,
    /// One sentence.
    pub text: &'static str,
}

const fn error(id: &'static str, text: &'static str) -> Code {
    Code { id, level: Level::Error, text }
}

const fn warning(id: &'static str, text: &'static str) -> Code {
    Code { id, level: Level::Warning, text }
}

/// All codes, sorted.
pub const CODES: &[Code] = &[
    warning(
        "agent_expired",
        "An agent of the registry is past its `expires`: every call of it is denied.",
    ),
    error(
        "agent_identity",
        "Two agents, or one twice, claim the same credential name, so that it would not lead to one agent.",
    ),
    error(
        "agent_transferable",
        "An entry of `transferable` or of a scope is not `<action> <resource>` as the registry describes it.",
    ),
    error("bundle_archive_too_large", "The archive is larger than a bundle may be."),
    error("bundle_case_duplicate", "Two entries differ only in upper and lower case."),
    error("bundle_corrupt", "The archive's checksum or structure is broken."),
    error("bundle_delta", "The archive is a delta bundle, which cannot be verified."),
    error("bundle_device", "The archive holds a device."),
    error("bundle_directory_data", "A folder entry of the archive carries data."),
    error("bundle_duplicate", "Two entries of the archive have one name."),
    error("bundle_entry_type", "An entry is neither a file nor a folder."),
    error("bundle_expired", "The bundle or its signature is past its end."),
    error("bundle_extra_file", "A file has no place in a bundle."),
    error("bundle_fifo", "The archive holds a pipe."),
    error("bundle_file_listed_twice", "The signature lists a file twice."),
    error("bundle_file_missing", "A file that the signature lists is not there."),
    error("bundle_file_too_large", "A file is larger than a bundle's may be."),
    error("bundle_file_unsigned", "The signature does not list a file."),
    error("bundle_gzip_members", "The archive is several gzip members in one."),
    error("bundle_gzip_trailing", "Bytes follow the archive."),
    error("bundle_hash", "A file is not the one that was signed."),
    error("bundle_hash_algorithm", "The signature uses another digest than SHA-256."),
    error("bundle_header", "An entry's header is broken."),
    error("bundle_key_unknown", "No signature is by a key that is trusted."),
    error("bundle_link", "The archive holds a link."),
    error("bundle_long_name", "The archive uses the GNU extension for long names."),
    error("bundle_manifest_invalid", "`.manifest` is not strict JSON of its form."),
    error(
        "bundle_manifest_mismatch",
        "The signature is for another name or version than the manifest's.",
    ),
    error("bundle_manifest_missing", "The bundle has no `.manifest`."),
    error("bundle_manifest_too_large", "`.manifest` is too large."),
    error("bundle_manifest_value", "A value of `.manifest` is out of its range."),
    error("bundle_name_absolute", "An entry's name is an absolute path."),
    error("bundle_name_backslash", "An entry's name has a backslash."),
    error("bundle_name_control", "An entry's name has control, direction or invisible characters."),
    error("bundle_name_dot", "An entry's name has a `.` part."),
    error("bundle_name_empty", "An entry's name has an empty part."),
    error("bundle_name_nul", "An entry's name has a NUL."),
    error("bundle_name_parent", "An entry's name has a `..` part."),
    error("bundle_name_too_long", "An entry's name is too long."),
    error("bundle_name_utf8", "An entry's name is not UTF-8."),
    error("bundle_not_gzip", "The file is not a gzip archive."),
    error("bundle_not_packed", "A signed archive is not packed as `lictor build` packs it."),
    error("bundle_not_yet_valid", "The bundle or its signature is not yet valid."),
    error("bundle_padding", "Bytes are hidden in the archive's padding."),
    error("bundle_pax", "The archive uses PAX extensions."),
    error("bundle_ratio", "The archive grows too much when unpacked."),
    error("bundle_rego_version", "`rego_version` is not 1."),
    error("bundle_roots_overlap", "Two roots of the manifest overlap."),
    error("bundle_scope", "The signature is for another scope."),
    error("bundle_signature_algorithm", "A signature uses another algorithm than its key's."),
    error("bundle_signature_duplicate", "One key signed twice."),
    error("bundle_signature_header", "A signature's header has more than `alg` and `kid`."),
    error("bundle_signature_invalid", "A signature does not verify."),
    error("bundle_signature_malformed", "A signature is not a compact JWS."),
    error("bundle_signature_payload", "A signature's payload is not of its form."),
    error("bundle_signatures_disagree", "Two signatures are for different content."),
    error("bundle_signatures_invalid", "`.signatures.json` is not of its form."),
    error("bundle_signatures_too_few", "Fewer keys signed than are required."),
    error("bundle_signatures_too_large", "`.signatures.json` is too large."),
    error("bundle_signatures_too_many", "There are more signatures than are looked at."),
    error("bundle_sparse", "The archive holds a sparse file."),
    error("bundle_tar_trailing", "Bytes follow the end of the archive."),
    error("bundle_too_many_entries", "The archive has too many entries."),
    error("bundle_total_too_large", "The archive is too large when unpacked."),
    error("bundle_truncated", "The archive ends too early."),
    error("bundle_unit_name", "A unit of the manifest has a name that units cannot have."),
    error("bundle_unit_unknown", "The manifest names a unit that the bundle does not have."),
    error("bundle_unsigned", "The bundle has no signatures."),
    error("bundle_version_lower", "The bundle's version is below the floor."),
    error(
        "case_invalid",
        "A file under `cases/` cannot be read as test cases; `lictor test` would not run them.",
    ),
    error("cedar", "This build of Cedar lacks a part that policies need."),
    error(
        "cedar_action_unknown",
        "A policy names an action that no protocol and no registered tool has, so it could never apply.",
    ),
    warning(
        "cedar_action_unused",
        "An action of the bundle's own schema belongs to no call, so policies on it never apply.",
    ),
    warning(
        "cedar_annotation_unknown",
        "An annotation that means nothing here; it is often a misspelt `@reason` or `@obligation`.",
    ),
    error(
        "cedar_ask",
        "`@ask` is not a list of approvers, or stands on a `permit`, where nothing could be asked.",
    ),
    error("cedar_entities", "`cedar/entities.json` is not a list of entities that fit the schema."),
    error(
        "cedar_id_duplicate",
        "Two policies have the same `@id`, so that decisions and audit records would not tell them apart.",
    ),
    error("cedar_id_invalid", "An `@id` has characters other than a-z, 0-9, `_` and `.`."),
    error(
        "cedar_id_missing",
        "A policy has no `@id`, by which decisions and audit records name it.",
    ),
    error(
        "cedar_invalid",
        "Strict validation against the schema made of the registry refuses the policy: it could err or compare values of different types.",
    ),
    error("cedar_mode", "`@mode` is something else than `shadow`."),
    error(
        "cedar_obligation",
        "`@obligation` is not an obligation with `id`, `type` and `properties`, or a list of such.",
    ),
    error(
        "cedar_overlap",
        "The bundle's own schema or entities define what the registry alone defines, or a tool is named like a protocol's action.",
    ),
    error("cedar_parse", "The text is not Cedar."),
    error(
        "cedar_schema",
        "`cedar/schema.cedarschema` is not a schema, or does not go with the one made of the registry.",
    ),
    warning(
        "cedar_suspect",
        "The policy is valid, but the validator doubts it: it can never hold, or its action does not apply to its principal and resource.",
    ),
    error(
        "cedar_template",
        "A policy has a slot such as `?principal`, and a bundle links no templates.",
    ),
    warning(
        "cedar_untyped",
        "Cedar cannot type some arguments of a tool, so no Cedar policy can read them; Rego can.",
    ),
    error(
        "data_invalid",
        "`data.json` is not strict JSON: a syntax error, a duplicate key, or a number that is not exact.",
    ),
    error(
        "guardrails_invalid",
        "`guardrails` names a detector that does not exist, or has a pattern that does not compile.",
    ),
    error(
        "limit_invalid",
        "An entry of `limits` has a member or a value that limits do not have, or `per` is no period.",
    ),
    warning("limit_zero", "A limit has `max` 0, so whatever draws on it is always denied."),
    warning(
        "manifest_scope",
        "The scope of a unit names no registered agent, server or model, so that its permits never count.",
    ),
    warning(
        "name_unknown",
        "A policy or a scope names a tool, model, server, agent, user, team, label, detector or limit that the bundle does not have.",
    ),
    warning("no_policies", "The bundle has no policies, so nothing is allowed."),
    error("not_utf8", "A file of the bundle is not UTF-8 text."),
    error(
        "opa_data",
        "A data file of an OPA bundle cannot be read, or stands in the place of another or of the registry.",
    ),
    error(
        "opa_file",
        "A file of an OPA bundle cannot be taken over; a warning where OPA leaves it out as well.",
    ),
    error("opa_manifest", "The manifest of an OPA bundle cannot be taken over."),
    warning(
        "opa_negation",
        "A negation that holds here and not in OPA, where the negated reference is undefined.",
    ),
    error("opa_option", "An option for OPA bundles does not name what it should."),
    error("opa_rego_version", "An OPA bundle is of another version of Rego than 1."),
    error("opa_roots", "Data of an OPA bundle lies outside of its roots."),
    warning("opa_signatures", "The signatures of an OPA bundle are neither checked nor kept."),
    error(
        "registry_invalid",
        "The registry does not match its JSON Schema (`lictor schema registry`).",
    ),
    error("registry_reference", "An entry of the registry names another that is not there."),
    error("rego_arity", "A function is called with more or fewer arguments than it has."),
    error(
        "rego_body",
        "The body of a rule is a set, object or list, which always holds; conditions are separated by `;` or new lines.",
    ),
    error(
        "rego_builtin",
        "The builtin may not be called by policies: it would read the clock, draw randomness or do I/O.",
    ),
    error("rego_compile", "The engine refuses the policy."),
    error(
        "rego_conflict",
        "Two rules of one name contradict each other: different constants, different kinds, another number of arguments, or two defaults.",
    ),
    error(
        "rego_constant",
        "A rule that does not depend on the input fails, and so would every call.",
    ),
    error(
        "rego_data",
        "`data.json` is not an object, or has data where a package stands: the engine would take it for the rules.",
    ),
    warning(
        "rego_data_unknown",
        "A reference under `data` leads to nothing, so that it is always undefined.",
    ),
    error(
        "rego_dialect",
        "The text is Rego of another version or engine, which is not evaluated here.",
    ),
    warning(
        "rego_element",
        "An element of a decision rule has a form that is an error whenever the rule fires, which denies the call.",
    ),
    error(
        "rego_form",
        "A decision rule is written in a form in which its meaning could be lost; the help says which form it has.",
    ),
    error("rego_function", "A function is called that neither the policies nor the engine have."),
    error(
        "rego_head",
        "The head of a decision rule picks any element with `_`, so that which one is left to chance.",
    ),
    error("rego_import", "An import says nothing, or its name is taken by an earlier one."),
    warning("rego_import_unused", "An import is never used."),
    warning(
        "rego_input",
        "The call and its facts have no such member, so that the reference is always undefined.",
    ),
    error(
        "rego_metadata",
        "Annotations cannot be read, or are asked for in a way that is not supported.",
    ),
    error(
        "rego_minus",
        "A minus stands in front of something that is not a number, which the engine refuses when it evaluates it.",
    ),
    warning(
        "rego_negation",
        "A negation in a rule that permits holds where what it reads is undefined; in OPA it would not.",
    ),
    warning(
        "rego_never",
        "The conditions of a rule contradict each other, so that it can never hold.",
    ),
    error(
        "rego_package",
        "A package is not a plain path, does not lie in its folder, or is under `lictor` without being a unit.",
    ),
    error("rego_parse", "The text is not Rego."),
    error(
        "rego_pattern",
        "A pattern comes from the call, and its rule is not annotated with `custom.lictor.patterns_from_calls: true`.",
    ),
    error("rego_print", "`print` is used as a value; it is a statement of its own."),
    error(
        "rego_recursion",
        "Rules or functions depend on themselves, or read each other more deeply than the stack bears.",
    ),
    error(
        "rego_reference",
        "A policy reads whole units or all data at once, or uses `input` or `data` for a variable.",
    ),
    error("rego_reserved", "Names that start with `_lictor` belong to the loader."),
    error("rego_rule", "A rule of a unit is none that decisions ask for; helpers start with `_`."),
    warning(
        "rego_shadow",
        "A variable or function has the name of a builtin, an import, a rule or a member of the input, and hides it.",
    ),
    error("rego_size", "A policy file is too large, or has too many operators in a row."),
    warning(
        "rego_slow",
        "The policies are too large for the fast path: the interpreter decides, and takes longer with each rule.",
    ),
    error("rego_test", "A test would never be run, or has the name of another."),
    warning("rego_uncalled", "No rule reads this helper."),
    error("rego_unsafe", "Nothing gives a variable its value."),
    warning("rego_unused", "A variable or an argument is never read; `_` says that this is meant."),
    error("rego_walk", "`walk` is called with one argument, which yields nothing here."),
    error("rego_watch", "The policies load, but coverage and explanations cannot watch them."),
    error("schema_invalid", "The `input_schema` of a tool is not a JSON Schema."),
    warning(
        "schema_missing",
        "A tool has neither `input_schema` nor `\"schema\": \"any\"`: every call of it is denied.",
    ),
    warning(
        "shadow_expired",
        "An element or policy is marked as shadow until a day that is past, so that it is enforced now.",
    ),
    warning("value_unknown", "A member of the input is compared with a text that it can never be."),
];

/// The code called `id`.
#[must_use]
pub fn find(id: &str) -> Option<&'static Code> {
    let index = CODES.binary_search_by(|code| code.id.cmp(id)).ok()?;
    CODES.get(index)
}

#[cfg(test)]
#[path = "codes_tests.rs"]
mod tests;
