//! The forms in which models and servers wrap an answer. Around it, everything is understood; inside it, nothing is
//! repaired.

use super::*;

fn completion(content: Json) -> Say {
    Say::json(json!({"model": "m", "choices": [{"finish_reason": "stop", "message": {"content": content}}]}))
}

fn text(around: impl Fn(&str) -> String) -> Say {
    completion(around(&valid_answer().to_string()).into())
}

fn changed(at: &str, value: Json) -> Say {
    let mut answer = valid_answer();
    *answer.pointer_mut(at).unwrap() = value;
    Say::answer(&answer)
}

/// The answer in two pieces, and what each piece and the end look like.
fn streamed(end: &str) -> Say {
    let answer = valid_answer().to_string();
    let (first, second) = answer.split_at(20);
    let piece = |content: &str| json!({"model": "m", "choices": [{"delta": {"content": content}}]});
    let body = format!(": hello\r\n\r\ndata: {}\r\n\r\ndata: {}\r\n\r\n{end}", piece(first), piece(second));
    Say::Http(200, "content-type: text/event-stream\r\n", body.into_bytes())
}

#[tokio::test]
async fn an_answer_is_found_in_each_form_that_is_reported_of_models_and_servers() {
    let thoughts = "I could say {\"market_positioning\": 1}.";
    let answer = || valid_answer().to_string();
    for (form, say) in [
        ("thoughts", text(|answer| format!("<think>{thoughts}</think>\n{answer}"))),
        ("thoughts whose opening mark the template wrote", text(|answer| format!("{thoughts}</think>\n\n{answer}"))),
        ("a code block", text(|answer| format!("```json\n{answer}\n```"))),
        ("a code block between sentences", text(|answer| format!("Here it is:\n```\n{answer}\n```\nAnything else?"))),
        ("a draft before it", text(|answer| format!("{{\"draft\": true}}\n{answer}"))),
        (
            "parts",
            completion(json!([
                {"type": "thinking", "thinking": [{"type": "text", "text": thoughts}]},
                {"type": "text", "text": answer()},
            ])),
        ),
        (
            "two parts",
            completion(json!([{"type": "text", "text": &answer()[..9]}, {"type": "text", "text": &answer()[9..]}])),
        ),
        ("a byte order mark in the text", text(|answer| format!("\u{feff}{answer}"))),
        ("blanks", text(|answer| format!(" \n{answer}\n "))),
        ("a stream", streamed("data: [DONE]\n\n")),
        (
            "a stream without its last mark",
            streamed("data: {\"choices\": [{\"delta\": {}, \"finish_reason\": \"stop\"}]}\n\n"),
        ),
    ] {
        let setup = Setup::new([say]).await;
        let results = setup.analyse().await.unwrap_or_else(|unanswered| panic!("{form}: {}", unanswered.error));
        assert_eq!(title(&results), "Start", "{form}");
    }
}

#[tokio::test]
async fn a_body_with_a_byte_order_mark_is_read() {
    let Say::Http(status, headers, body) = titled("marked") else { panic!("it is HTTP") };
    let setup = Setup::new([Say::Http(status, headers, ["\u{feff}".as_bytes(), &body].concat())]).await;
    assert_eq!(title(&setup.analyse().await.unwrap()), "marked");
}

#[tokio::test]
async fn reasoning_beside_the_answer_and_odd_ends_change_nothing() {
    for (finish_reason, more) in [(json!(null), json!("thoughts")), (json!("eos_token"), json!(null))] {
        let message = json!({"content": valid_answer().to_string(), "reasoning_content": more});
        let setup =
            Setup::new([Say::json(json!({"choices": [{"finish_reason": finish_reason, "message": message}]}))]).await;
        assert_eq!(title(&setup.analyse().await.unwrap()), "Start");
    }
}

#[tokio::test]
async fn what_breaks_the_table_is_refused_and_what_is_no_answer_is_none() {
    let mut one_more = valid_answer();
    one_more["confidence"] = json!(1);
    let share = "/strategic_scores/overall_strategic_score";
    let cut = valid_answer().to_string();
    for (form, say, expected) in [
        ("one member more", Say::answer(&one_more), "AI_INVALID"),
        ("a capital", changed("/risk_assessment/0/severity", json!("High")), "AI_INVALID"),
        ("a number as text", changed(share, json!("0.5")), "AI_INVALID"),
        ("a percentage", changed(share, json!(75)), "AI_INVALID"),
        ("thoughts only", text(|answer| format!("<think>{answer}")), "AI_MALFORMED"),
        ("cut off", completion(cut[..cut.len() - 1].into()), "AI_MALFORMED"),
        ("no text", completion(json!([{"type": "image_url", "image_url": {"url": "x"}}])), "AI_MALFORMED"),
        ("a refusal among parts", completion(json!([{"type": "refusal", "refusal": "no"}])), "AI_REFUSED"),
        ("a stream that is cut off", streamed(""), "AI_MALFORMED"),
        ("a stream of something else", streamed("data: <html>\n\ndata: [DONE]\n\n"), "AI_MALFORMED"),
        (
            "a stream that was cut by its limit",
            streamed("data: {\"choices\": [{\"delta\": {}, \"finish_reason\": \"length\"}]}\n\ndata: [DONE]\n\n"),
            "AI_TRUNCATED",
        ),
    ] {
        let setup = Setup::new([say]).await;
        assert_eq!(setup.reason().await, expected, "{form}");
    }
}
