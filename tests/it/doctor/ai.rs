//! `doctor --ask-ai`: which trap an endpoint is, and what to set.

use serde_json::json;
use testkit::ai::{FakeAi, Say, valid_answer};

use super::*;

async fn asked(endpoint: &FakeAi, more: &[(&str, &str)]) -> Report {
    let url = endpoint.base_url();
    let settings = [&[("USERDATA__AI__BASE_URL", url.as_str()), ("USERDATA__AI__MODEL", "m")][..], more].concat();
    doctor(&settings, &[&PORTS[..], &["--ask-ai"]].concat()).await
}

fn says(content: &str) -> Say {
    Say::json(json!({"choices": [{"message": {"content": content}}]}))
}

fn refuses(param: &str) -> Say {
    let message = format!("Unsupported parameter: '{param}' is not supported with this model.");
    let error = json!({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": "no"}});
    Say::Http(400, "", error.to_string().into_bytes())
}

#[tokio::test]
async fn one_small_question_tells_which_trap_an_endpoint_is() {
    let thoughts_only = says("<think>What a question");
    for (say, found, remedy) in [
        (refuses("max_tokens"), "param max_tokens", "ai.token_limit_field = max_completion_tokens"),
        (refuses("temperature"), "param temperature", "leave ai.temperature empty"),
        (refuses("response_format"), "param response_format", "ai.structured = json_object, or none"),
        (Say::status(404), "answered 404", "ai.base_url"),
        (Say::status(401), "AI_UNAUTHORIZED", "ai.api_key"),
        (Say::status(429), "AI_RATE_LIMITED", "ai.calls_per_minute"),
        (Say::answer_finished(&valid_answer(), "length"), "AI_TRUNCATED", "ai.max_output_tokens"),
        (Say::answer_finished(&valid_answer(), "content_filter"), "AI_REFUSED", "another ai.model"),
        (thoughts_only, "AI_MALFORMED", "switch the model's thoughts off"),
        (says("{}"), "AI_INVALID: answer.market_positioning is missing", "ai.structured = json_schema"),
    ] {
        let endpoint = FakeAi::saying([say]).await;
        asked(&endpoint, &[]).await.has("ai endpoint", "FAIL", found, remedy);
    }
}

#[tokio::test]
async fn an_answer_that_can_be_used_is_enough_and_nothing_is_asked_without_the_flag() {
    let endpoint = FakeAi::saying([says(&format!("<think>Hm.</think>```json\n{}\n```", valid_answer()))]).await;
    let url = endpoint.base_url();
    let settings = [("USERDATA__AI__BASE_URL", url.as_str()), ("USERDATA__AI__MODEL", "m")];
    let said = doctor(&settings, &PORTS).await;
    said.has("ai endpoint", "OK", "can be reached", "");
    // The connection that was only opened is no call.
    assert_eq!(endpoint.calls(), 0);
    asked(&endpoint, &[]).await.has("ai endpoint", "OK", "gives an answer that can be used", "");
    assert_eq!(endpoint.calls(), 1);
}

#[tokio::test]
async fn a_proxy_is_what_has_to_be_reached() {
    let endpoint = FakeAi::saying([Say::answer(&valid_answer())]).await;
    let proxy = endpoint.base_url().replace("http://", "http://user:hunter2@").replace("/v1", "");
    let through = [
        ("USERDATA__AI__BASE_URL", "http://model.invalid/v1"),
        ("USERDATA__AI__MODEL", "m"),
        ("USERDATA__AI__INSECURE_HTTP", "true"),
        ("USERDATA__AI__PROXY", proxy.as_str()),
    ];
    let said = doctor(&through, &[&PORTS[..], &["--ask-ai"]].concat()).await;
    said.has("ai endpoint", "OK", "gives an answer that can be used", "");
    assert!(!said.text.contains("hunter2"), "{}", said.text);
    let nowhere = [&through[..3], &[("USERDATA__AI__PROXY", "http://127.0.0.1:1")]].concat();
    doctor(&nowhere, &PORTS).await.has(
        "ai endpoint",
        "FAIL",
        "the proxy http://127.0.0.1:1 to http://model.invalid/v1",
        "ai.proxy",
    );
}
