//! The content of a message: a text, or a list of parts with kinds.

use serde_json::Value as Json;

use crate::aggregate::value::path;

/// The text of a message: itself, or the texts among its parts. Other parts are thoughts.
pub(super) fn said(content: &Json) -> Option<String> {
    if let Json::String(text) = content {
        return Some(text.clone());
    }
    let texts = parts(content).filter(|part| matches!(kind(part), "text" | "output_text"));
    let texts: Vec<_> = texts.filter_map(|part| path(part, "text").as_str()).collect();
    (!texts.is_empty()).then(|| texts.concat())
}

/// Whether a part of the message is a refusal.
pub(super) fn is_refusal(content: &Json) -> bool {
    parts(content).any(|part| kind(part) == "refusal")
}

fn parts(content: &Json) -> impl Iterator<Item = &Json> {
    content.as_array().into_iter().flatten()
}

fn kind(part: &Json) -> &str {
    path(part, "type").as_str().unwrap_or_default()
}
