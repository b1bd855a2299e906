//! One call to the configured endpoint: the request, its limits and its failures.
//!
//! The endpoint is not trusted: calls go only to the configured host or proxy, without proxies from the environment and
//! without redirects, and a reply is read up to a limit.

use std::{error::Error as _, net::IpAddr, time::Duration};

use chrono::{DateTime, Utc};
use reqwest::{
    Client, Proxy, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
    redirect, retry,
};
use serde_json::{Value as Json, json};

use super::{
    failure::{CallFailure, FailureReason},
    input::Asking,
    prompt::{PROMPT_VERSION, response_format, system_message},
    refusal::{self, PAUSE},
    reply::{MODEL_CHARS_MAX, ModelReply},
};
use crate::config::{AiSettings, Structured, TokenLimitField};

/// After this time without a connection, another try is better.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Shorter than the minute after which most servers close an idle connection, so that no call meets a closing one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Limit of a reply: sixteen times the longest answer.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Why the AI settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum AiConfigError {
    #[error("ai.base_url must be an address such as https://host/v1, without user, query and fragment")]
    BaseUrl,
    #[error("ai.base_url must be https; plain http to another machine needs ai.insecure_http")]
    Insecure,
    #[error("ai.model must have 1 to {MODEL_CHARS_MAX} characters")]
    Model,
    #[error("ai.api_key must be printable ASCII")]
    ApiKey,
    #[error("ai.headers must be lines `name: value`")]
    Headers,
    #[error("ai.proxy must be an address such as http://host:3128")]
    Proxy(#[source] reqwest::Error),
    /// For example because the system trusts no certificate authority.
    #[error("the HTTP client for the AI endpoint cannot be built")]
    Client(#[source] reqwest::Error),
}

/// The model's address and the parameters of each call.
#[derive(Debug)]
pub(super) struct AiEndpoint {
    client: Client,
    url: Url,
    pub(super) model: String,
    temperature: Option<f64>,
    max_output_tokens: u32,
    token_limit_field: TokenLimitField,
    structured: Structured,
}

impl AiEndpoint {
    pub(super) fn new(config: &AiSettings, base_url: &str) -> Result<Self, AiConfigError> {
        if config.model.trim().is_empty() || config.model.chars().count() > MODEL_CHARS_MAX {
            return Err(AiConfigError::Model);
        }
        let url = completions_url(config, base_url)?;
        Ok(Self {
            client: client(config, &url)?,
            url,
            model: config.model.clone(),
            temperature: config.temperature,
            max_output_tokens: config.max_output_tokens,
            token_limit_field: config.token_limit_field,
            structured: config.structured,
        })
    }

    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The parameters that a response depends on besides the input.
    pub(super) fn asking(&self) -> Asking<'_> {
        Asking {
            model: &self.model,
            prompt_version: PROMPT_VERSION,
            temperature: self.temperature,
            max_output_tokens: self.max_output_tokens,
            token_limit_field: self.token_limit_field,
            structured: self.structured,
        }
    }

    /// One call, without a time limit. `now`: for an endpoint that names a moment.
    pub(super) async fn ask(&self, input: &str, now: DateTime<Utc>) -> Result<ModelReply, CallFailure> {
        let asked = self.client.post(self.url.clone()).json(&self.request(input)).send();
        let response = asked.await.map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(refusal::refused(response, now).await);
        }
        ModelReply::read(&body(response).await?)
    }

    fn request(&self, input: &str) -> Json {
        let mut request = json!({
            "model": self.model,
            "messages": [
                { "role": "system", "content": system_message(self.structured) },
                { "role": "user", "content": input },
            ],
        });
        if let Some(temperature) = self.temperature {
            request["temperature"] = temperature.into();
        }
        if let Some(field) = self.token_limit_field.name() {
            request[field] = self.max_output_tokens.into();
        }
        if let Some(format) = response_format(self.structured) {
            request["response_format"] = format;
        }
        request
    }
}

fn completions_url(config: &AiSettings, base_url: &str) -> Result<Url, AiConfigError> {
    let mut url = Url::parse(base_url.trim()).map_err(|_| AiConfigError::BaseUrl)?;
    let host = url.host_str().ok_or(AiConfigError::BaseUrl)?;
    let plain = url.username().is_empty() && url.password().is_none();
    if !plain || url.query().is_some() || url.fragment().is_some() {
        return Err(AiConfigError::BaseUrl);
    }
    let host = host.trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match url.scheme() {
        "https" => {}
        "http" if loopback || config.insecure_http => {}
        _ => return Err(AiConfigError::Insecure),
    }
    let path = format!("{}/chat/completions", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url.set_query(config.query.as_ref().map(|query| query.expose().trim_start_matches('?')));
    Ok(url)
}

fn client(config: &AiSettings, url: &Url) -> Result<Client, AiConfigError> {
    // reqwest uses the process's cryptography provider. If another part of this program has installed it already, the
    // error is ignored: it is the same provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .default_headers(headers(config)?)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        // Order: this also forgets proxies that were added before.
        .no_proxy();
    let builder = match &config.proxy {
        Some(proxy) => builder.proxy(Proxy::all(proxy.expose()).map_err(AiConfigError::Proxy)?),
        None => builder,
    };
    // Plain http needs no certificate authorities, and a minimal container has none.
    let is_plain =
        url.scheme() != "https" && !config.proxy.as_ref().is_some_and(|proxy| proxy.expose().starts_with("https"));
    let builder = if is_plain { builder.tls_certs_only([]) } else { builder };
    builder.https_only(url.scheme() == "https").build().map_err(AiConfigError::Client)
}

/// The key, and further headers, which may replace it.
fn headers(config: &AiSettings) -> Result<HeaderMap, AiConfigError> {
    let mut headers = HeaderMap::new();
    if let Some(key) = &config.api_key {
        let bearer = format!("Bearer {}", key.expose());
        let mut bearer = HeaderValue::try_from(bearer).map_err(|_| AiConfigError::ApiKey)?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    for line in config.headers.iter().flat_map(|lines| lines.header_lines()) {
        let (name, value) = line.ok_or(AiConfigError::Headers)?;
        headers.insert(name, value);
    }
    Ok(headers)
}

async fn body(mut response: Response) -> Result<Vec<u8>, CallFailure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(CallFailure::new(FailureReason::TooLarge, format!("the reply exceeds {BODY_BYTES_MAX} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A connection that could not be made, or broke. The innermost cause says most. The address is left out, because it
/// may hold more than a host.
fn unreachable(error: reqwest::Error) -> CallFailure {
    let error = error.without_url();
    let innermost = std::iter::successors(error.source(), |&cause| cause.source()).last();
    let detail = innermost.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
    CallFailure::new(FailureReason::Unreachable, detail).retry_after(PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn only_https_or_loopback_is_spoken_to() {
        for (base_url, expected) in [
            ("https://ai.example/v1", "https://ai.example/v1/chat/completions"),
            ("https://ai.example/v1/", "https://ai.example/v1/chat/completions"),
            ("http://localhost:8080", "http://localhost:8080/chat/completions"),
            ("http://127.0.0.2/v1", "http://127.0.0.2/v1/chat/completions"),
            ("http://[::1]:1/v1", "http://[::1]:1/v1/chat/completions"),
        ] {
            assert_eq!(completions_url(&AiSettings::default(), base_url).unwrap().as_str(), expected);
        }
        for base_url in ["http://ai.example/v1", "http://10.0.0.1", "ftp://localhost/", "http://127.0.0.1.example/"] {
            assert!(
                matches!(completions_url(&AiSettings::default(), base_url), Err(AiConfigError::Insecure)),
                "{base_url}"
            );
        }
        for base_url in ["ai.example/v1", "https://u:p@ai.example", "https://ai.example/?a=b", "https://ai.example/#a"]
        {
            assert!(
                matches!(completions_url(&AiSettings::default(), base_url), Err(AiConfigError::BaseUrl)),
                "{base_url}"
            );
        }
    }

    #[test]
    fn a_server_in_the_cluster_is_spoken_to_in_plain_if_that_is_allowed_and_a_query_is_added() {
        let query = Some(Secret::new("api-version=2024-10-21&b=c"));
        let allowed = AiSettings { insecure_http: true, query, ..AiSettings::default() };
        for base_url in ["http://ollama:11434/v1", "http://10.0.0.5:8000/v1", "https://ai.example/openai"] {
            let url = completions_url(&allowed, base_url).unwrap();
            assert_eq!(url.as_str(), format!("{base_url}/chat/completions?api-version=2024-10-21&b=c"));
        }
        assert!(matches!(completions_url(&allowed, "ftp://ollama/v1"), Err(AiConfigError::Insecure)));
    }

    fn endpoint(model: &str, key: &str) -> Result<AiEndpoint, AiConfigError> {
        let config = AiSettings { model: model.to_owned(), api_key: Some(Secret::new(key)), ..AiSettings::default() };
        AiEndpoint::new(&config, "http://127.0.0.1/v1")
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        assert!(matches!(endpoint(" ", "k"), Err(AiConfigError::Model)));
        assert!(matches!(endpoint(&"m".repeat(129), "k"), Err(AiConfigError::Model)));
        assert!(matches!(endpoint("m", "a\nb"), Err(AiConfigError::ApiKey)));
    }

    #[test]
    fn the_key_is_never_printed() {
        let endpoint = endpoint("m", "hush-hush").unwrap();
        assert!(!format!("{endpoint:?}").contains("hush"));
    }
}
