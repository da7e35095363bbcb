//! What a registry wants before it answers: nothing, HTTP Basic, or a token of the service that it
//! names (Docker Registry v2 authentication).

use http_auth::parse_challenges;
use lictor_identity::Secret;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, Url};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::super::client::{FetchError, Fetcher, Get, Shown, is_loopback, named, status_error};

/// Largest answer of a token service that is read, bytes.
pub(super) const TOKEN_BYTES_MAX: usize = 64 * 1_024;

/// How one question proves itself. What was wanted once is shown to every later question.
pub(super) struct Login {
    registry: Url,
    repository: String,
    shown: Shown,
    fetcher: Fetcher,
    authorization: Option<HeaderValue>,
}

/// What a registry wants.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Basic,
    /// A token of the service at `realm`.
    Token {
        realm: String,
        service: Option<String>,
    },
}

/// The answer of a token service.
/// Some services give the same under both names.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Token {
    fn read(body: &[u8]) -> Option<Secret> {
        let answer: Self = serde_json::from_slice(body).ok()?;
        let (token, other) =
            (answer.token.map(Secret::from), answer.access_token.map(Secret::from));
        token.or(other).filter(|token| !token.is_empty())
    }
}

impl Login {
    pub(super) fn new(registry: &Url, repository: &str, shown: Shown, fetcher: Fetcher) -> Self {
        Self {
            registry: registry.clone(),
            repository: repository.to_owned(),
            shown,
            fetcher,
            authorization: None,
        }
    }

    /// Asks, and asks once more with what the registry wants. A configured token is shown at
    /// once, a password only to whoever asks for it.
    pub(super) async fn get(
        &mut self,
        fetcher: &Fetcher,
        url: &Url,
        (name, value): (HeaderName, HeaderValue),
    ) -> Result<Response, FetchError> {
        if self.authorization.is_none() && matches!(self.shown, Shown::Bearer(_)) {
            self.authorization = self.shown.header()?;
        }
        let get = || Get::new(url).header(name.clone(), value.clone());
        let first = fetcher.head(get().proved_by(self.authorization.clone())).await?;
        if first.status() != 401 || matches!(self.shown, Shown::Bearer(_)) {
            return Ok(first);
        }
        self.authorization = match wanted(first.headers()) {
            Some(Wanted::Basic) => self.shown.header()?,
            Some(Wanted::Token { realm, service }) => Some(self.token(&realm, service).await?),
            None => return Ok(first),
        };
        if self.authorization.is_none() {
            return Ok(first);
        }
        fetcher.head(get().proved_by(self.authorization.clone())).await
    }

    /// Asks the token service for the right to pull.
    async fn token(&self, realm: &str, service: Option<String>) -> Result<HeaderValue, FetchError> {
        let elsewhere = |to: &str, why| FetchError::Elsewhere {
            url: named(&self.registry),
            to: to.to_owned(),
            why,
        };
        let mut url = Url::parse(realm)
            .map_err(|_| elsewhere(&realm.escape_debug().to_string(), "it is not a URL"))?;
        let plain = url.scheme() == "http" && is_loopback(&url) && self.registry.scheme() == "http";
        if url.scheme() != "https" && !plain {
            return Err(elsewhere(&named(&url), "tokens are asked for over https only"));
        }
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("scope", &format!("repository:{}:pull", self.repository));
            if let Some(service) = &service {
                query.append_pair("service", service);
            }
        }
        let fetcher = self.fetcher.for_others(&url)?;
        let response = fetcher.head(Get::new(&url).proved_by(self.shown.header()?)).await?;
        if response.status() != 200 {
            return Err(status_error(&url, response.status().as_u16()));
        }
        let body = Zeroizing::new(fetcher.body(response, &url, TOKEN_BYTES_MAX).await?);
        let token = Token::read(&body).ok_or_else(|| FetchError::Unreachable {
            url: named(&url),
            why: "its answer holds no `token`".to_owned(),
        })?;
        let header = Shown::Bearer(token).header()?;
        header.ok_or_else(|| FetchError::Own("a token cannot be sent".to_owned()))
    }
}

/// The first challenge that can be met.
fn wanted(headers: &HeaderMap) -> Option<Wanted> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.filter_map(|text| parse_challenges(text).ok()).flatten().find_map(|challenge| {
        let param = |wanted: &str| {
            let mut params = challenge.params.iter();
            let found = params.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.to_unescaped())
        };
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            return Some(Wanted::Basic);
        }
        if challenge.scheme.eq_ignore_ascii_case("bearer") {
            return Some(Wanted::Token { realm: param("realm")?, service: param("service") });
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Wanted> {
        let value = HeaderValue::from_str(text).unwrap();
        wanted(&HeaderMap::from_iter([(WWW_AUTHENTICATE, value)]))
    }

    #[test]
    fn the_first_challenge_that_can_be_met_counts() {
        let token = |service: Option<&str>| Wanted::Token {
            realm: "https://auth.example/token".to_owned(),
            service: service.map(str::to_owned),
        };
        assert_eq!(of("Basic realm=\"x\""), Some(Wanted::Basic));
        let docker = "Bearer realm=\"https://auth.example/token\",service=\"r.example\",\
            scope=\"repository:p:pull,push\"";
        assert_eq!(of(docker), Some(token(Some("r.example"))));
        assert_eq!(of("bearer Realm=\"https://auth.example/token\""), Some(token(None)));
        assert_eq!(of(&format!("Digest nonce=\"a\", {docker}")), Some(token(Some("r.example"))));
        for none in ["Bearer service=\"x\"", "Digest nonce=\"a\"", "", "Bearer realm=\"unclosed"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn a_token_is_found_under_either_name() {
        for text in [
            r#"{"token":"a"}"#,
            r#"{"access_token":"a","expires_in":60}"#,
            r#"{"token":"a","access_token":"a"}"#,
        ] {
            assert_eq!(&*Token::read(text.as_bytes()).unwrap(), "a");
        }
        for text in ["{}", r#"{"token":""}"#, "[]", ""] {
            assert!(Token::read(text.as_bytes()).is_none(), "{text}");
        }
    }
}
