//! The envelope of an answer, in the format of OpenAI's chat completions, whole or as a stream.

use serde_json::Value as Json;

use super::{
    answer::ModelAnswer,
    content::{is_refusal, said},
    failure::{CallFailure, FailureReason},
    stream,
};
use crate::{
    aggregate::value::{path, text},
    text::is_unprintable,
};

/// Limit of nesting, far above that of a correct reply.
const LEVELS_MAX: usize = 64;
/// Limit of the model's name: the width of the response cache's column.
pub(super) const MODEL_CHARS_MAX: usize = 128;

/// A reply that is JSON. It may not hold an answer.
#[derive(Clone, Debug)]
pub(super) struct ModelReply(Json);

/// The cost of a reply, if it states it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) prompt_tokens: Option<i32>,
    pub(super) completion_tokens: Option<i32>,
}

impl ModelReply {
    pub(super) fn read(body: &[u8]) -> Result<Self, CallFailure> {
        let malformed = |why| CallFailure::new(FailureReason::Malformed, why);
        let body = str::from_utf8(body).map_err(|_| malformed("the reply is not UTF-8"))?;
        let body = body.trim_start_matches('\u{feff}').trim_start();
        let value = if stream::is_stream(body) {
            stream::assemble(body).ok_or_else(|| malformed("the reply is a stream that is cut off or not JSON"))?
        } else {
            serde_json::from_str(body).map_err(|_| malformed("the reply is not JSON"))?
        };
        if levels(&value) > LEVELS_MAX {
            return Err(malformed("the reply is nested too deeply"));
        }
        Ok(Self(value))
    }

    /// The first choice's answer, checked.
    pub(super) fn answer(&self) -> Result<ModelAnswer, CallFailure> {
        let choice = self.0.pointer("/choices/0").unwrap_or(&Json::Null);
        let finish_reason = path(choice, "finish_reason").as_str();
        let content = path(choice, "message.content");
        let is_refused = text(path(choice, "message.refusal")).is_some() || is_refusal(content);
        if finish_reason == Some("content_filter") || is_refused {
            return Err(CallFailure::new(FailureReason::Refused, "the model refused to answer"));
        }
        if finish_reason == Some("length") {
            return Err(CallFailure::new(FailureReason::Truncated, "the answer ran into the limit of output tokens"));
        }
        let said = said(content);
        ModelAnswer::read(&said.ok_or_else(|| CallFailure::new(FailureReason::Malformed, "the reply has no message"))?)
    }

    /// The model that answered, if the reply names it.
    pub(super) fn model(&self) -> Option<String> {
        let name = text(path(&self.0, "model"))?;
        let name: String = name.chars().filter(|c| !is_unprintable(*c)).take(MODEL_CHARS_MAX).collect();
        Some(name).filter(|name| !name.is_empty())
    }

    pub(super) fn usage(&self) -> Usage {
        let tokens = |at| path(&self.0, at).as_u64().and_then(|tokens| tokens.try_into().ok());
        Usage { prompt_tokens: tokens("usage.prompt_tokens"), completion_tokens: tokens("usage.completion_tokens") }
    }
}

/// The depth of a value. The parser stops at 128, so this cannot overflow the stack.
fn levels(value: &Json) -> usize {
    match value {
        Json::Array(items) => 1 + items.iter().map(levels).max().unwrap_or(0),
        Json::Object(members) => 1 + members.values().map(levels).max().unwrap_or(0),
        _ => 0,
    }
}

/// Reads an endpoint's answer as it is, and as the text of a model. What is accepted is accepted again from the cache.
#[cfg(feature = "mutants")]
pub(crate) fn read_answer(bytes: &[u8]) {
    let envelope = ModelReply::read(bytes).and_then(|reply| {
        reply.model();
        reply.usage();
        reply.answer()
    });
    let bare = ModelAnswer::read(&String::from_utf8_lossy(bytes));
    for answer in [envelope, bare].into_iter().flatten() {
        let results = answer.results();
        let stored = serde_json::from_str(&answer.as_json().to_string()).expect("JSON");
        assert_eq!(ModelAnswer::check(stored).expect("a checked answer").results(), results);
    }
}
