//! How a call can be adapted to what an endpoint takes, and where it goes.

use super::*;
use crate::config::TokenLimitField;

#[tokio::test]
async fn what_an_endpoint_refuses_can_be_left_out_or_named_otherwise() {
    let setup = Setup::with([titled("a")], |config| {
        (config.temperature, config.structured) = (None, Structured::None);
        config.token_limit_field = TokenLimitField::MaxCompletionTokens;
    })
    .await;
    setup.analyse().await.unwrap();
    let (_, body) = setup.endpoint.newest_call();
    let members: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["max_completion_tokens", "messages", "model"]);
    assert_eq!(body["max_completion_tokens"], 4096);
    assert!(body["messages"][0]["content"].as_str().unwrap().contains("\"additionalProperties\":false"));

    let unlimited = setup.beside(|config| config.token_limit_field = TokenLimitField::None);
    unlimited.analyse().await.unwrap();
    let (_, body) = setup.endpoint.newest_call();
    assert!(body.get("max_tokens").is_none() && body.get("max_completion_tokens").is_none(), "{body}");
}

#[tokio::test]
async fn headers_and_a_query_go_with_each_call() {
    let setup = Setup::with([titled("a")], |config| {
        config.headers = Some(Secret::new("api-key: the-key\nX-Team: content"));
        config.query = Some(Secret::new("api-version=2024-10-21"));
    })
    .await;
    setup.analyse().await.unwrap();
    let (head, _) = setup.endpoint.newest_call();
    assert!(head.starts_with("post /v1/chat/completions?api-version=2024-10-21 "), "{head}");
    assert!(head.contains("\r\napi-key: the-key\r\n") && head.contains("\r\nx-team: content"), "{head}");
}

#[tokio::test]
async fn calls_go_through_the_proxy() {
    // The proxy is what answers; there is no such host.
    let setup = Setup::with([titled("by proxy")], |config| {
        let proxy = config.base_url.replace("http://model.invalid:11434/v1".to_owned()).unwrap();
        config.proxy = Some(Secret::new(proxy.replace("http://", "http://user:word@").replace("/v1", "")));
        config.insecure_http = true;
    })
    .await;
    assert_eq!(title(&setup.analyse().await.unwrap()), "by proxy");
    let (head, _) = setup.endpoint.newest_call();
    assert!(head.starts_with("post http://model.invalid:11434/v1/chat/completions "), "{head}");
    assert!(head.contains("proxy-authorization: basic "), "{head}");
}

#[tokio::test]
async fn a_second_try_waits_until_the_date_that_was_asked_for() {
    let headers = "date: Wed, 21 Oct 2015 07:28:00 GMT\r\nretry-after: Wed, 21 Oct 2015 07:28:01 GMT\r\n";
    let setup = Setup::new([Say::Http(429, headers, Vec::new()), titled("second")]).await;
    let begun = Instant::now();
    assert_eq!(title(&setup.analyse().await.unwrap()), "second");
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_refused_call_is_told_with_the_endpoints_words_and_none_of_the_question() {
    let error = json!({"error": {
        "message": "Unsupported parameter: 'max_tokens' about developers", "type": "invalid_request_error",
        "param": "max_tokens", "code": "unsupported_parameter",
    }});
    let setup = Setup::new([Say::Http(400, "", error.to_string().into_bytes())]).await;
    assert_eq!(
        setup.analyse().await.unwrap_err().error.to_string(),
        "AI_REJECTED: the endpoint answered 400 (code unsupported_parameter, type invalid_request_error, param max_tokens)"
    );
}
