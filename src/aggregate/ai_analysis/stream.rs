//! A reply as a stream of server-sent events, which some endpoints send although none was asked for. Its pieces make
//! one envelope.

use serde_json::{Value as Json, json};

use super::content::said;
use crate::aggregate::value::path;

/// Whether a body is a stream: no JSON begins like that.
pub(super) fn is_stream(body: &str) -> bool {
    ["data:", "event:", "id:", "retry:", ":"].iter().any(|field| body.starts_with(field))
}

/// The envelope of the whole stream; none if a piece is not JSON, or the end is missing.
pub(super) fn assemble(body: &str) -> Option<Json> {
    let (mut content, mut refusal) = (String::new(), String::new());
    let [mut finish_reason, mut model, mut usage] = [Json::Null, Json::Null, Json::Null];
    let mut has_ended = false;
    for event in body.replace("\r\n", "\n").split("\n\n") {
        let data: Vec<_> = event.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim_start).collect();
        match data.join("\n").trim() {
            "" => {}
            "[DONE]" => has_ended = true,
            data => {
                let piece: Json = serde_json::from_str(data).ok()?;
                let choice = piece.pointer("/choices/0").unwrap_or(&Json::Null);
                content.extend(said(path(choice, "delta.content")));
                refusal.extend(path(choice, "delta.refusal").as_str());
                keep(&mut finish_reason, path(choice, "finish_reason"));
                keep(&mut model, path(&piece, "model"));
                keep(&mut usage, path(&piece, "usage"));
            }
        }
    }
    has_ended |= !finish_reason.is_null();
    let message = json!({ "content": content, "refusal": (!refusal.is_empty()).then_some(refusal) });
    let choices = json!([{ "finish_reason": finish_reason, "message": message }]);
    has_ended.then(|| json!({ "model": model, "choices": choices, "usage": usage }))
}

fn keep(kept: &mut Json, newer: &Json) {
    if !newer.is_null() {
        *kept = newer.clone();
    }
}
