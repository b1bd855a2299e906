//! A model's answer after its check: the only form in which it is cached or returned.
//!
//! It is stored as the JSON that was checked. Its member names are those of the contract's message, so that the message
//! is read from it directly.

use serde::Deserialize;
use serde_json::Value as Json;

use super::{
    failure::{CallFailure, FailureReason},
    object::{last_object, without_thoughts},
    shape::ANSWER,
};
use crate::proto::v1::{AiAnalysisResults, Generator};

/// Limit of an answer: several times the size of the output tokens that are asked for.
const BYTES_MAX: usize = 64 * 1024;
/// Limit of the text around it: what is searched for the answer.
const TEXT_BYTES_MAX: usize = 4 * BYTES_MAX;

/// An answer that keeps all limits.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ModelAnswer(Json);

impl ModelAnswer {
    /// Reads a model's text: JSON as a whole, or else the last complete object behind the thoughts in it.
    pub(super) fn read(text: &str) -> Result<Self, CallFailure> {
        let too_large = |bytes| CallFailure::new(FailureReason::TooLarge, format!("the answer has {bytes} bytes"));
        let behind_thoughts = without_thoughts(text);
        if behind_thoughts.len() > TEXT_BYTES_MAX {
            return Err(too_large(behind_thoughts.len()));
        }
        let whole = text.trim_start_matches('\u{feff}');
        // Order: as a whole first. A text in the answer may quote what looks like a thought.
        let (mut value, bytes) = match serde_json::from_str::<Json>(whole) {
            Ok(value) => (value, whole.len()),
            Err(error) => last_object(&behind_thoughts)
                .and_then(|object| Some((serde_json::from_str(object).ok()?, object.len())))
                .ok_or_else(|| {
                    let why = format!("the answer is not JSON, and holds none: {}", place(&error));
                    CallFailure::new(FailureReason::Malformed, why)
                })?,
        };
        if bytes > BYTES_MAX {
            return Err(too_large(bytes));
        }
        remove_controls(&mut value);
        Self::check(value).map_err(|why| CallFailure::new(FailureReason::Invalid, why))
    }

    /// Checks the limits of an answer, which may be a cached one.
    pub(super) fn check(value: Json) -> Result<Self, String> {
        ANSWER.check(&value)?;
        Ok(Self(value))
    }

    /// The checked JSON, to be stored.
    pub(super) fn as_json(&self) -> &Json {
        &self.0
    }

    /// The message. The caller adds the model and the strategy.
    pub(super) fn results(&self) -> AiAnalysisResults {
        // The checked shape has the message's members, so this cannot fail. A default would be a made-up answer.
        let mut results = AiAnalysisResults::deserialize(&self.0).expect("every member of the shape is in the message");
        results.set_generator(Generator::Model);
        for recommendation in &mut results.content_recommendations {
            recommendation.set_generator(Generator::Model);
        }
        results
    }
}

/// The place of an error. serde's own message could repeat the text.
fn place(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

/// Removes control characters other than newline; some databases refuse U+0000. Nothing else of an answer is changed.
fn remove_controls(value: &mut Json) {
    match value {
        Json::String(text) => text.retain(|c| c == '\n' || !c.is_control()),
        Json::Array(items) => items.iter_mut().for_each(remove_controls),
        Json::Object(members) => members.values_mut().for_each(remove_controls),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

#[cfg(test)]
mod tests;
