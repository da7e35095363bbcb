//! Every builtin that OPA has, and what it is here.
//!
//! The names are those of OPA 1.20's capabilities. `docs/rego.md` has this table;
//! a test keeps the two equal.

/// What one of OPA's builtins is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The engine has it.
    Present,
    /// The engine lacks it, and it is added in `extra`.
    Added,
    /// Resolved at load, from the place of the call.
    Resolved,
    /// It would make decisions unrepeatable, or leave the process: why, and what to
    /// use instead.
    Refused(&'static str),
    /// It is not there: what to use instead.
    Missing(&'static str),
}

use Status::{Added, Missing, Present, Refused, Resolved};

const NO_IO: &str = "policies do no I/O; put what they need into data or facts";
const VERIFY: &str =
    "tokens are verified before policy; read `input.subject.claims` and `input.credential`";
const SIGN: &str = "policies hold no keys; credentials are minted by the enforcement point";
const GRAPHQL: &str =
    "GraphQL is not parsed; let the enforcement point pass operations as arguments";
const X509: &str = "certificates are checked before policy; read `input.credential`";
const URI: &str =
    "readers of URIs differ; take it apart with `split`, or match it whole with `regex.match`";
const CAST: &str = "it is gone from Rego v1; ask `is_string` and the like";
const INTERNAL: &str = "it is a compiler's own";

/// Names of OPA's builtins, sorted, and what they are.
pub(crate) const CATALOGUE: &[(&str, Status)] = &[
    ("abs", Present),
    ("all", Missing("it is gone from Rego v1; write `every x in xs { x }`")),
    ("and", Missing("write `x & y`")),
    ("any", Missing("it is gone from Rego v1; write `true in xs`")),
    ("array.concat", Present),
    ("array.flatten", Added),
    ("array.reverse", Present),
    ("array.slice", Present),
    ("assign", Missing("write `x := y`")),
    ("base64.decode", Present),
    ("base64.encode", Present),
    ("base64.is_valid", Present),
    ("base64url.decode", Present),
    ("base64url.encode", Present),
    ("base64url.encode_no_pad", Present),
    ("bits.and", Present),
    ("bits.lsh", Present),
    ("bits.negate", Present),
    ("bits.or", Present),
    ("bits.rsh", Present),
    ("bits.xor", Present),
    ("cast_array", Missing(CAST)),
    ("cast_boolean", Missing(CAST)),
    ("cast_null", Missing(CAST)),
    ("cast_object", Missing(CAST)),
    ("cast_set", Missing(CAST)),
    ("cast_string", Missing(CAST)),
    ("ceil", Present),
    ("concat", Present),
    ("contains", Present),
    ("count", Present),
    ("crypto.hmac.equal", Added),
    ("crypto.hmac.md5", Added),
    ("crypto.hmac.sha1", Added),
    ("crypto.hmac.sha256", Added),
    ("crypto.hmac.sha512", Added),
    ("crypto.md5", Added),
    ("crypto.parse_private_keys", Refused(SIGN)),
    ("crypto.sha1", Added),
    ("crypto.sha256", Added),
    ("crypto.x509.parse_and_verify_certificates", Refused(X509)),
    ("crypto.x509.parse_and_verify_certificates_with_options", Refused(X509)),
    ("crypto.x509.parse_certificate_request", Missing(X509)),
    ("crypto.x509.parse_certificates", Missing(X509)),
    ("crypto.x509.parse_keypair", Refused(SIGN)),
    ("crypto.x509.parse_rsa_private_key", Refused(SIGN)),
    ("div", Missing("write `x / y`")),
    ("endswith", Present),
    ("eq", Missing("write `x = y`")),
    ("equal", Missing("write `x == y`")),
    ("floor", Present),
    ("format_int", Present),
    ("glob.match", Present),
    ("glob.quote_meta", Present),
    ("graph.reachable", Present),
    ("graph.reachable_paths", Present),
    ("graphql.is_valid", Missing(GRAPHQL)),
    ("graphql.parse", Missing(GRAPHQL)),
    ("graphql.parse_and_verify", Missing(GRAPHQL)),
    ("graphql.parse_query", Missing(GRAPHQL)),
    ("graphql.parse_schema", Missing(GRAPHQL)),
    ("graphql.schema_is_valid", Missing(GRAPHQL)),
    ("gt", Missing("write `x > y`")),
    ("gte", Missing("write `x >= y`")),
    ("hex.decode", Present),
    ("hex.encode", Present),
    ("http.send", Refused(NO_IO)),
    ("indexof", Present),
    ("indexof_n", Present),
    ("internal.member_2", Missing("write `x in xs`")),
    ("internal.member_3", Missing("write `k, v in xs`")),
    ("internal.print", Missing(INTERNAL)),
    ("internal.template_string", Missing(INTERNAL)),
    ("internal.test_case", Missing(INTERNAL)),
    ("intersection", Present),
    ("io.jwt.decode", Added),
    ("io.jwt.decode_verify", Refused(VERIFY)),
    ("io.jwt.encode_sign", Refused(SIGN)),
    ("io.jwt.encode_sign_raw", Refused(SIGN)),
    ("io.jwt.verify_eddsa", Refused(VERIFY)),
    ("io.jwt.verify_es256", Refused(VERIFY)),
    ("io.jwt.verify_es384", Refused(VERIFY)),
    ("io.jwt.verify_es512", Refused(VERIFY)),
    ("io.jwt.verify_hs256", Refused(VERIFY)),
    ("io.jwt.verify_hs384", Refused(VERIFY)),
    ("io.jwt.verify_hs512", Refused(VERIFY)),
    ("io.jwt.verify_ps256", Refused(VERIFY)),
    ("io.jwt.verify_ps384", Refused(VERIFY)),
    ("io.jwt.verify_ps512", Refused(VERIFY)),
    ("io.jwt.verify_rs256", Refused(VERIFY)),
    ("io.jwt.verify_rs384", Refused(VERIFY)),
    ("io.jwt.verify_rs512", Refused(VERIFY)),
    ("is_array", Present),
    ("is_boolean", Present),
    ("is_null", Present),
    ("is_number", Present),
    ("is_object", Present),
    ("is_set", Present),
    ("is_string", Present),
    ("json.filter", Present),
    ("json.is_valid", Present),
    ("json.marshal", Present),
    ("json.marshal_with_options", Present),
    ("json.match_schema", Present),
    ("json.patch", Present),
    ("json.remove", Present),
    ("json.unmarshal", Present),
    ("json.verify_schema", Present),
    ("lower", Present),
    ("lt", Missing("write `x < y`")),
    ("lte", Missing("write `x <= y`")),
    ("max", Present),
    ("min", Present),
    ("minus", Missing("write `x - y`")),
    ("mul", Missing("write `x * y`")),
    ("neq", Missing("write `x != y`")),
    ("net.cidr_contains", Present),
    ("net.cidr_contains_matches", Added),
    ("net.cidr_expand", Present),
    ("net.cidr_intersects", Added),
    ("net.cidr_is_valid", Present),
    ("net.cidr_merge", Added),
    ("net.cidr_overlap", Missing("it is gone from Rego v1; write `net.cidr_contains`")),
    ("net.lookup_ip_addr", Refused(NO_IO)),
    ("numbers.range", Present),
    ("numbers.range_step", Present),
    ("object.filter", Present),
    ("object.get", Present),
    ("object.keys", Present),
    ("object.remove", Present),
    ("object.subset", Present),
    ("object.union", Present),
    ("object.union_n", Present),
    ("opa.runtime", Refused("policies do not see the machine they run on")),
    ("or", Missing("write `x | y`")),
    ("plus", Missing("write `x + y`")),
    ("print", Present),
    ("product", Present),
    ("providers.aws.sign_req", Refused(SIGN)),
    ("rand.intn", Refused("decisions must be repeatable")),
    ("re_match", Missing("it is gone from Rego v1; write `regex.match`")),
    ("regex.find_all_string_submatch_n", Present),
    ("regex.find_n", Present),
    ("regex.globs_match", Added),
    ("regex.is_valid", Present),
    ("regex.match", Present),
    ("regex.replace", Present),
    ("regex.split", Present),
    ("regex.template_match", Present),
    ("rego.metadata.chain", Resolved),
    ("rego.metadata.rule", Resolved),
    (
        "rego.parse_module",
        Missing("policies do not parse policies; check them with `lictor check`"),
    ),
    ("rem", Missing("write `x % y`")),
    ("replace", Present),
    ("round", Present),
    ("semver.compare", Present),
    ("semver.is_valid", Present),
    ("set_diff", Missing("it is gone from Rego v1; write `x - y`")),
    ("sort", Present),
    ("split", Present),
    ("sprintf", Present),
    ("startswith", Present),
    ("strings.any_prefix_match", Present),
    ("strings.any_suffix_match", Present),
    ("strings.count", Present),
    ("strings.render_template", Missing("templates are not rendered; write `sprintf`")),
    ("strings.replace_n", Present),
    ("strings.reverse", Present),
    ("strings.split_n", Added),
    ("substring", Present),
    ("sum", Present),
    ("time.add_date", Present),
    ("time.clock", Present),
    ("time.date", Present),
    ("time.diff", Present),
    ("time.format", Present),
    ("time.now_ns", Refused("decisions must be repeatable; use `input.facts.time.now_ms`")),
    ("time.parse_duration_ns", Present),
    ("time.parse_ns", Present),
    ("time.parse_rfc3339_ns", Present),
    ("time.weekday", Present),
    ("to_number", Present),
    ("trace", Refused("use `print`")),
    ("trim", Present),
    ("trim_left", Present),
    ("trim_prefix", Present),
    ("trim_right", Present),
    ("trim_space", Present),
    ("trim_suffix", Present),
    ("type_name", Present),
    ("union", Present),
    ("units.parse", Present),
    ("units.parse_bytes", Present),
    ("upper", Present),
    ("uri.is_valid", Missing(URI)),
    ("uri.parse", Missing(URI)),
    ("urlquery.decode", Present),
    ("urlquery.decode_object", Present),
    ("urlquery.encode", Present),
    ("urlquery.encode_object", Present),
    ("uuid.parse", Added),
    ("uuid.rfc4122", Refused("decisions must be repeatable")),
    ("walk", Present),
    ("yaml.is_valid", Present),
    ("yaml.marshal", Present),
    ("yaml.unmarshal", Present),
];

/// What OPA's builtin `name` is here.
pub(crate) fn status(name: &str) -> Option<Status> {
    let at = CATALOGUE.binary_search_by(|(known, _)| known.cmp(&name)).ok()?;
    CATALOGUE.get(at).map(|(_, status)| *status)
}

#[cfg(test)]
mod tests {
    use regorus::unstable::BUILTINS;

    use super::*;
    use crate::rego::{builtins, extra, metadata};

    #[test]
    fn the_table_is_sorted_and_names_each_builtin_once() {
        assert!(CATALOGUE.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a < b)));
    }

    #[test]
    fn what_is_present_is_in_the_engine_and_what_is_added_is_ours() {
        for (name, status) in CATALOGUE {
            let there = match status {
                Present => *name == "print" || BUILTINS.contains_key(name),
                Added => extra::of(name).is_some(),
                Resolved => metadata::NAMES.contains(name),
                Refused(why) | Missing(why) => !why.is_empty() && extra::of(name).is_none(),
            };
            assert!(there, "{name} is not {status:?}");
        }
    }

    /// A new version of the engine may bring what is missing here.
    #[test]
    fn everything_in_the_engine_and_in_our_list_is_in_the_table() {
        for name in BUILTINS.keys() {
            let listed = match status(name) {
                Some(Present | Refused(_)) => true,
                Some(_) => false,
                None => matches!(builtins::lookup(name), builtins::Known::Refused(_)),
            };
            assert!(listed, "{name}");
        }
        for extra in extra::EXTRAS {
            assert_eq!(status(extra.name), Some(Added));
        }
    }

    const OPEN: &str = "<!-- builtins: written by a test, see policy-lib/src/rego/catalogue -->\n";
    const CLOSE: &str = "<!-- /builtins -->\n";

    /// The table as `docs/rego.md` has it.
    fn written() -> String {
        let of = |wanted: Status| {
            let names = CATALOGUE.iter().filter(|(_, status)| *status == wanted);
            names.map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>()
        };
        let (present, added, resolved) = (of(Present), of(Added), of(Resolved));
        let mut rows: Vec<(String, Vec<&str>)> = Vec::new();
        for (name, status) in CATALOGUE {
            let said = match status {
                Refused(why) => format!("refused: {why}"),
                Missing(why) => format!("not there: {why}"),
                Present | Added | Resolved => continue,
            };
            match rows.iter_mut().find(|(known, _)| *known == said) {
                Some((_, names)) => names.push(name),
                None => rows.push((said, vec![name])),
            }
        }
        let mut text = format!(
            "Of {} builtins of OPA, {} are the engine's, {} are added to it, {} are resolved at load.\n\n",
            CATALOGUE.len(),
            present.len(),
            added.len(),
            resolved.len()
        );
        text.push_str(&format!("The engine's: {}.\n\n", present.join(", ")));
        text.push_str(&format!("Added: {}.\n\n", added.join(", ")));
        text.push_str(&format!("Resolved at load: {}.\n\n", resolved.join(", ")));
        text.push_str("| builtin | here |\n|---|---|\n");
        for (said, names) in rows {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            text.push_str(&format!("| {} | {} |\n", names.join(", "), said.replace('|', "\\|")));
        }
        text
    }

    /// Run with `LICTOR_BLESS=1` after a change of the table.
    #[test]
    fn the_documentation_has_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rego.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (head, rest) = page.split_once(OPEN).unwrap();
        let (found, tail) = rest.split_once(CLOSE).unwrap();
        let wanted = format!("\n{}\n", written());
        if std::env::var_os("LICTOR_BLESS").is_some() {
            std::fs::write(path, format!("{head}{OPEN}{wanted}{CLOSE}{tail}")).unwrap();
            return;
        }
        assert_eq!(found, wanted, "run once with LICTOR_BLESS=1");
    }
}
