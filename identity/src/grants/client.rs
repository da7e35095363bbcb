//! One token endpoint.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Url};

use super::answer::{self, ANSWER_MAX_BYTES};
use super::client_auth::ClientAuth;
use super::error::{GrantError, GrantSetupError};
use super::grant::Grant;
use crate::error::shown;
use crate::files::read_public;
use crate::remote::client::{FetchError, Fetcher, named};
use crate::remote::place::{fetchable, is_loopback};
use crate::secret::Secret;

/// What makes one request unlike all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// Unix milliseconds.
    pub now_ms: i64,
    /// A name never used before, for proofs that are signed.
    pub jti: &'a str,
}

/// A token as it was issued.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The token.
    pub token: Secret,
    /// How long it lives, seconds, 1 to [`LIFE_MAX_S`](answer::LIFE_MAX_S).
    pub life_s: u64,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issued({:?}, {} s)", self.token, self.life_s)
    }
}

/// A token endpoint that can be asked. It keeps no secret.
#[derive(Debug, Clone)]
pub struct TokenClient {
    fetcher: Fetcher,
    url: Url,
}

impl TokenClient {
    /// The endpoint at `token_url`: `https`, or `http` on this machine. `ca_file` holds
    /// authorities beside those of the platform; `timeout` bounds one request as a whole.
    ///
    /// # Errors
    /// [`GrantSetupError`].
    pub fn new(
        token_url: &str,
        ca_file: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, GrantSetupError> {
        let refused = |why| GrantSetupError::Url { url: without_query(token_url), why };
        let url = fetchable(token_url).map_err(refused)?;
        let roots = ca_file.map(roots).transpose()?.unwrap_or_default();
        let failed = |why| GrantSetupError::Client { url: named(&url), why };
        let fetcher = Fetcher::new(roots, timeout, is_loopback(&url)).map_err(failed)?;
        Ok(Self { fetcher, url })
    }

    /// Asks for a token.
    ///
    /// # Errors
    /// [`GrantError`]: also for every answer that cannot be relied on as a whole.
    pub async fn ask(
        &self,
        auth: &ClientAuth,
        grant: &Grant<'_>,
        stamp: &Stamp<'_>,
    ) -> Result<Issued, GrantError> {
        let mut form = grant.form();
        let authorization = auth.prove(&mut form, self.url.as_str(), stamp)?;
        let asked =
            self.fetcher.post(&self.url, form.into_bytes(), authorization, ANSWER_MAX_BYTES).await;
        let answered = asked.map_err(|error| self.unreachable(error))?;
        match answered.status {
            200 if !answered.is_json => Err(self.unusable("it is not `application/json`")),
            200 => answer::issued(&answered.bytes, grant).map_err(|why| self.unusable(why)),
            status @ (400 | 401 | 403) => Err(match answer::error_code(&answered.bytes) {
                Some(code) => GrantError::Refused { url: named(&self.url), code },
                None => GrantError::Status { url: named(&self.url), status },
            }),
            status => Err(GrantError::Status { url: named(&self.url), status }),
        }
    }

    pub(super) fn unusable(&self, why: &'static str) -> GrantError {
        GrantError::Answer { url: named(&self.url), why }
    }

    fn unreachable(&self, error: FetchError) -> GrantError {
        match error {
            FetchError::Unreachable { url, why } => GrantError::Unreachable { url, why },
            _ => self.unusable("it is larger than what is read"),
        }
    }
}

fn without_query(url: &str) -> String {
    shown(url.split(['?', '#']).next().unwrap_or_default())
}

fn roots(path: &Path) -> Result<Vec<Certificate>, GrantSetupError> {
    let pem = read_public(path)?;
    let roots = Certificate::from_pem_bundle(pem.as_bytes()).unwrap_or_default();
    if roots.is_empty() {
        return Err(GrantSetupError::NoRoots { path: path.to_owned() });
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);

    #[test]
    fn secrets_go_over_tls_or_stay_on_this_machine() {
        for url in ["https://as.example/token", "http://127.0.0.1:9/t", "http://[::1]/t"] {
            assert!(TokenClient::new(url, None, TIMEOUT).is_ok(), "{url}");
        }
        for url in
            ["http://as.example/token", "as.example", "ftp://a/", "https://u:p@a/", "https://a/#f"]
        {
            let error = TokenClient::new(url, None, TIMEOUT).unwrap_err();
            assert!(matches!(error, GrantSetupError::Url { .. }), "{url}");
        }
    }

    #[test]
    fn a_query_is_not_shown() {
        let error = TokenClient::new("http://as.example/t?key=hunter2", None, TIMEOUT).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_file_of_authorities_must_hold_some() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = TokenClient::new("https://a/t", Some(file.path()), TIMEOUT).unwrap_err();
        assert!(matches!(error, GrantSetupError::NoRoots { .. }));
    }
}
