//! One call to the configured endpoint: the request, its limits and its failures.
//!
//! The endpoint is not trusted: calls go only to the configured host, without proxies from the environment and without
//! redirects, and a reply is read up to a limit.

use std::{error::Error as _, net::IpAddr, time::Duration};

use reqwest::{
    Client, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect, retry,
};
use serde_json::json;

use super::{
    failure::{CallFailure, FailureReason},
    input::Asking,
    prompt::{PROMPT_VERSION, response_format, system_message},
    reply::{MODEL_CHARS_MAX, ModelReply},
};
use crate::config::{AiSettings, Structured};

/// After this time without a connection, another try is better.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Shorter than the minute after which most servers close an idle connection, so that no call meets a closing one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Limit of a reply: sixteen times the longest answer.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// The pause between two tries, unless the endpoint names one: long enough for a restarted connection.
const PAUSE: Duration = Duration::from_millis(250);
/// If the endpoint asks for a longer pause, it is not tried again for this document.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Why the AI settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum AiConfigError {
    #[error("ai.base_url must be an address such as https://host/v1, without user, query and fragment")]
    BaseUrl,
    #[error("ai.base_url must be https; plain http is for loopback only")]
    Insecure,
    #[error("ai.model must have 1 to {MODEL_CHARS_MAX} characters")]
    Model,
    #[error("ai.api_key must be printable ASCII")]
    ApiKey,
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
    temperature: f64,
    max_output_tokens: u32,
    structured: Structured,
}

impl AiEndpoint {
    pub(super) fn new(config: &AiSettings, base_url: &str) -> Result<Self, AiConfigError> {
        if config.model.trim().is_empty() || config.model.chars().count() > MODEL_CHARS_MAX {
            return Err(AiConfigError::Model);
        }
        let url = completions_url(base_url)?;
        Ok(Self {
            client: client(config, &url)?,
            url,
            model: config.model.clone(),
            temperature: config.temperature,
            max_output_tokens: config.max_output_tokens,
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
            structured: self.structured,
        }
    }

    /// One call, without a time limit.
    pub(super) async fn ask(&self, input: &str) -> Result<ModelReply, CallFailure> {
        let request = json!({
            "model": self.model,
            "temperature": self.temperature,
            "max_tokens": self.max_output_tokens,
            "messages": [
                { "role": "system", "content": system_message(self.structured) },
                { "role": "user", "content": input },
            ],
            "response_format": response_format(self.structured),
        });
        let response = self.client.post(self.url.clone()).json(&request).send().await.map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(refused(&response));
        }
        ModelReply::read(&body(response).await?)
    }
}

fn completions_url(base_url: &str) -> Result<Url, AiConfigError> {
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
        "http" if loopback => {}
        _ => return Err(AiConfigError::Insecure),
    }
    let path = format!("{}/chat/completions", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

fn client(config: &AiSettings, url: &Url) -> Result<Client, AiConfigError> {
    // reqwest uses the process's cryptography provider. If another part of this program has installed it already, the
    // error is ignored: it is the same provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut headers = HeaderMap::new();
    if let Some(key) = &config.api_key {
        let bearer = format!("Bearer {}", key.expose());
        let mut bearer = HeaderValue::try_from(bearer).map_err(|_| AiConfigError::ApiKey)?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    let builder = Client::builder()
        .default_headers(headers)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy();
    // Plain http needs no certificate authorities, and a minimal container has none.
    let builder = if url.scheme() == "https" { builder.https_only(true) } else { builder.tls_certs_only([]) };
    builder.build().map_err(AiConfigError::Client)
}

/// The failure that a status means.
fn refused(response: &Response) -> CallFailure {
    let status = response.status();
    let reason = match status.as_u16() {
        429 => FailureReason::RateLimited,
        401 | 403 => FailureReason::Unauthorized,
        500.. => FailureReason::ServerError,
        // Includes redirects, which are not followed.
        _ => FailureReason::Rejected,
    };
    let failure = CallFailure::new(reason, format!("the endpoint answered {}", status.as_u16()));
    if !matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504) {
        return failure;
    }
    match asked_pause(response.headers()) {
        Some(pause) if pause > PAUSE_MAX => failure,
        Some(pause) => failure.retry_after(pause),
        None => failure.retry_after(PAUSE),
    }
}

/// Retry-After in seconds; endpoints do not use its other form, a date.
fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
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
            assert_eq!(completions_url(base_url).unwrap().as_str(), expected);
        }
        for base_url in ["http://ai.example/v1", "http://10.0.0.1", "ftp://localhost/", "http://127.0.0.1.example/"] {
            assert!(matches!(completions_url(base_url), Err(AiConfigError::Insecure)), "{base_url}");
        }
        for base_url in ["ai.example/v1", "https://u:p@ai.example", "https://ai.example/?a=b", "https://ai.example/#a"]
        {
            assert!(matches!(completions_url(base_url), Err(AiConfigError::BaseUrl)), "{base_url}");
        }
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
