//! What an endpoint says when it refuses a call: the status, a pause, and an error from a closed vocabulary.
//!
//! The log gets the error's code, type and parameter. Its message may quote the question, so it is only searched for
//! the names of our own request's members.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{
    Response,
    header::{DATE, HeaderMap, RETRY_AFTER},
};
use serde_json::Value as Json;

use super::failure::{CallFailure, FailureReason};
use crate::aggregate::value::path;

/// The pause between two tries, unless the endpoint names one: long enough for a restarted connection.
pub(super) const PAUSE: Duration = Duration::from_millis(250);
/// If the endpoint asks for a longer pause, it is not tried again for this document.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Errors have some hundred bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// For the body of an error, which may never end.
const BODY_MAX: Duration = Duration::from_secs(1);
const WORD_CHARS_MAX: usize = 64;
/// Members of a request that endpoints refuse.
const MEMBERS: [&str; 4] = ["max_completion_tokens", "max_tokens", "temperature", "response_format"];

/// The failure that a response without an answer means.
pub(super) async fn refused(response: Response, now: DateTime<Utc>) -> CallFailure {
    let status = response.status().as_u16();
    let reason = match status {
        429 => FailureReason::RateLimited,
        401 | 403 => FailureReason::Unauthorized,
        500.. => FailureReason::ServerError,
        // Includes redirects, which are not followed.
        _ => FailureReason::Rejected,
    };
    let pause = asked_pause(response.headers(), now);
    // The status alone says what to do; the words are for people.
    let start = tokio::time::timeout(BODY_MAX, start_of(response)).await.unwrap_or_default();
    let (words, member) = stated(&start);
    let failure = CallFailure::new(reason, format!("the endpoint answered {status}{words}")).about(member);
    match pause {
        _ if !matches!(status, 429 | 500 | 502 | 503 | 504) => failure,
        Some(pause) if pause > PAUSE_MAX => failure,
        Some(pause) => failure.retry_after(pause),
        None => failure.retry_after(PAUSE),
    }
}

/// Retry-After in seconds, or as a date. A date is compared with the response's own, because two machines' clocks differ.
fn asked_pause(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let asked = text(RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse() {
        // Not for a negative number or one that is none.
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = |text: &str| DateTime::parse_from_rfc2822(text).ok();
    let said_at = text(DATE).and_then(date).map_or(now, |date| date.to_utc());
    Some((date(asked)?.to_utc() - said_at).to_std().unwrap_or_default())
}

/// The start of a body, as far as it can be read.
async fn start_of(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < BODY_BYTES_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body
}

/// The words of an error for the log, and which member of the request it is about.
fn stated(body: &[u8]) -> (String, Option<&'static str>) {
    let body: Json = serde_json::from_slice(body).unwrap_or_default();
    // Some servers have the error's members at the top.
    let error = body.get("error").filter(|error| error.is_object()).unwrap_or(&body);
    let stated = ["code", "type", "param"].map(|name| (name, word(path(error, name))));
    let words: Vec<_> = stated.iter().filter_map(|(name, word)| Some(format!("{name} {}", word.as_ref()?))).collect();
    let message = ["param", "message"].map(|name| path(error, name).as_str().unwrap_or_default()).join(" ");
    let places = MEMBERS.iter().filter_map(|member| Some((message.find(member)?, *member)));
    let member = places.min().map(|(_, member)| member);
    let words = if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) };
    (words, member)
}

/// A word of a vocabulary. Anything else could be a sentence that quotes the question.
fn word(value: &Json) -> Option<String> {
    let text = match value {
        Json::String(text) => text.clone(),
        Json::Number(number) => number.to_string(),
        _ => return None,
    };
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']' | '/' | ':');
    (!text.is_empty() && text.chars().all(is_word)).then(|| text.chars().take(WORD_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_is_told_by_its_vocabulary_and_quotes_nothing() {
        let body = |body: Json| stated(body.to_string().as_bytes());
        let openai = json!({ "error": {
            "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'.",
            "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter",
        }});
        let words = " (code unsupported_parameter, type invalid_request_error, param max_tokens)";
        assert_eq!(body(openai), (words.to_owned(), Some("max_tokens")));
        let at_the_top =
            json!({"object": "error", "message": "temperature must be 1", "type": "BadRequestError", "code": 400});
        assert_eq!(body(at_the_top), (" (code 400, type BadRequestError)".to_owned(), Some("temperature")));
        let prose = json!({"error": {"code": "about Anna, 34", "type": "x".repeat(70), "message": "Anna"}});
        assert_eq!(body(prose), (format!(" (type {})", "x".repeat(64)), None));
        for nothing in ["", "<html>", "[]", r#"{"error": "no"}"#] {
            assert_eq!(stated(nothing.as_bytes()), (String::new(), None), "{nothing}");
        }
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        let pause = |lines: &[(&'static str, &str)]| {
            let headers = lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            asked_pause(&headers, DateTime::from_timestamp(1_445_412_478, 0).unwrap())
        };
        let seconds = |seconds| Some(Duration::from_millis(seconds));
        assert_eq!(pause(&[("retry-after", "2")]), seconds(2000));
        assert_eq!(pause(&[("retry-after", "0.5")]), seconds(500));
        let date = ("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(pause(&[date]), seconds(2000), "by our clock");
        assert_eq!(pause(&[date, ("date", "Wed, 21 Oct 2015 07:27:57 GMT")]), seconds(3000), "by the endpoint's clock");
        assert_eq!(pause(&[date, ("date", "Wed, 21 Oct 2015 07:29:00 GMT")]), seconds(0), "over");
        for nonsense in ["-1", "NaN", "soon", ""] {
            assert_eq!(pause(&[("retry-after", nonsense)]), None, "{nonsense}");
        }
    }
}
