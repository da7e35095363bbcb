//! The whole `lictor.toml`: every section, each owned by its crate.

use std::path::Path;

use lictor_audit::config::AuditConfig;
use lictor_identity::config::IdentityConfig;
use lictor_pdp::config::PdpConfig;
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, io};

/// `lictor.toml`. An enforcement point whose section is missing is not started.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The decision point.
    pub(crate) pdp: PdpConfig,
    /// Where evidence is kept, by all three.
    pub(crate) audit: AuditConfig,
    /// Who is believed, by all three.
    pub(crate) identity: IdentityConfig,
    /// The enforcement point in front of LLM providers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pep_http: Option<lictor_pep_http::Config>,
    /// The enforcement point in front of MCP servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pep_mcp: Option<lictor_pep_mcp::Config>,
}

impl Config {
    /// Reads the file at `path`. Relative paths in it are taken from its folder.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key or a value that does not fit, with file,
    /// line and column.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            io("read", path, error).help("name the configuration with `-c FILE`")
        })?;
        let mut config = Self::parse(&path.display().to_string(), &text)?;
        config.take_paths_from(path.parent().unwrap_or_else(|| Path::new("")));
        Ok(config)
    }

    /// Reads the text of a file that messages call `name`.
    fn parse(name: &str, text: &str) -> Result<Self, Failure> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start);
            let (line, column) = place(text, start);
            Failure::usage(format!("{name}:{line}:{column}: {}", error.message()))
        })
    }

    /// Makes every relative path one below `base`.
    fn take_paths_from(&mut self, base: &Path) {
        self.pdp.take_paths_from(base);
        self.audit.take_paths_from(base);
        self.identity.take_paths_from(base);
        if let Some(pep) = &mut self.pep_http {
            pep.take_paths_from(base);
        }
        if let Some(pep) = &mut self.pep_mcp {
            pep.take_paths_from(base);
        }
    }

    /// The configuration as TOML, defaults included.
    ///
    /// # Errors
    /// A value that TOML cannot hold.
    pub(crate) fn to_toml(&self) -> Result<String, Failure> {
        toml::to_string_pretty(self).map_err(|error| Failure::error(&error))
    }
}

/// Line and column, both counted from one, of a byte of `text`.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at.min(text.len())).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use lictor_identity::config::KeysAt;

    use super::*;

    const WHOLE: &str = r#"
[pdp]
listen = "127.0.0.1:7070"
bundle = "bundle.tar.gz"
trust_keys = ["keys/bundle.pub"]

[pdp.revocations]
file = "revocations.jws"
trust_keys = ["keys/revocation.pub"]

[audit]
dir = "audit"

[identity]
issuers = [{ iss = "https://login.example.com", aud = "lictor", jwks = "jwks.json" }]
api_keys = "/etc/lictor/api-keys.json"

[pep_http]
upstreams = [{ id = "openai", base_url = "https://api.openai.com/v1", key_env = "OPENAI_API_KEY" }]

[pep_mcp]
servers = [{ id = "accounting", url = "http://127.0.0.1:9000/mcp" }]
"#;

    fn refused(text: &str) -> String {
        Config::parse("lictor.toml", text).unwrap_err().text()
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_place() {
        let text = refused("[pdp]\n  lisetn = \"127.0.0.1:1\"\n");
        assert!(text.contains("lictor.toml:2:3:") && text.contains("`lisetn`"), "{text}");
        let text = refused("[pep_mpc]\n");
        assert!(text.contains("lictor.toml:1:2:") && text.contains("`pep_mpc`"), "{text}");
        let text =
            refused("[pep_http]\nupstreams = [{id = 'a', base_url = 'http://h', kye = 'x'}]\n");
        assert!(text.contains(":2:") && text.contains("`kye`"), "{text}");
    }

    #[test]
    fn what_is_printed_is_read_as_the_same() {
        let config = Config::parse("lictor.toml", WHOLE).unwrap();
        let printed = config.to_toml().unwrap();
        let again = Config::parse("printed", &printed).unwrap();
        assert_eq!(again.to_toml().unwrap(), printed);
        assert!(printed.contains("poll_ms = "), "defaults are shown: {printed}");
    }

    #[test]
    fn the_stores_password_is_in_no_print_and_no_message() {
        let state = |text: &str| format!("[pdp.state]\nkind = \"redis\"\nredis = {text}\n");
        let text = state("\"redis://:open-sesame@h\"");
        let printed = Config::parse("lictor.toml", &text).unwrap().to_toml().unwrap();
        assert!(printed.contains("redis://:***@h") && !printed.contains("sesame"), "{printed}");
        let text = refused(&state("{ urls = [\"redis://:open-sesame@h\"], prefx = \"x\" }"));
        assert!(text.contains(":3:") && text.contains("`prefx`"), "{text}");
        assert!(!text.contains("sesame"), "{text}");
        let printed = Config::default().to_toml().unwrap();
        assert!(printed.contains("kind = \"embedded\""), "the default is shown: {printed}");
    }

    #[test]
    fn relative_paths_are_below_the_files_folder() {
        let mut config = Config::parse("lictor.toml", WHOLE).unwrap();
        config.take_paths_from(Path::new("/srv/lictor"));
        assert_eq!(config.pdp.bundle, Path::new("/srv/lictor/bundle.tar.gz").into());
        assert_eq!(config.pdp.trust_keys, [Path::new("/srv/lictor/keys/bundle.pub")]);
        assert_eq!(config.audit.dir, Path::new("/srv/lictor/audit"));
        let jwks = config.identity.issuers.first().and_then(|issuer| issuer.jwks.clone());
        assert_eq!(jwks, Some(KeysAt::File("/srv/lictor/jwks.json".into())));
        let keys = config.identity.api_keys.unwrap();
        assert_eq!(keys, Path::new("/etc/lictor/api-keys.json"));
    }

    #[test]
    fn an_enforcement_point_without_a_section_is_not_there() {
        let config = Config::parse("lictor.toml", "[pdp]\n").unwrap();
        assert!(config.pep_http.is_none() && config.pep_mcp.is_none());
    }
}
