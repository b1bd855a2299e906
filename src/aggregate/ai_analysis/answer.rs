//! A model's answer, checked: the only form in which it is remembered or shown.
//!
//! It is kept as the JSON that was checked. Its member names are those of our message, so the
//! message is read from it and no third form exists.

use serde::Deserialize;
use serde_json::Value as Json;

use super::{
    failure::{CallFailure, FailureReason},
    shape::ANSWER,
};
use crate::proto::v1::{AiAnalysisResults, Generator};

/// Bytes of an answer at most: several times what the output tokens asked for can hold.
const BYTES_MAX: usize = 64 * 1024;

/// An answer that keeps every limit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ModelAnswer(Json);

impl ModelAnswer {
    /// Reads the text that a model wrote.
    pub(super) fn read(text: &str) -> Result<Self, CallFailure> {
        if text.len() > BYTES_MAX {
            return Err(CallFailure::new(FailureReason::TooLarge, format!("the answer has {} bytes", text.len())));
        }
        let mut value: Json = serde_json::from_str(text).map_err(|error| {
            CallFailure::new(FailureReason::Malformed, format!("the answer is no JSON: {}", place(&error)))
        })?;
        remove_controls(&mut value);
        Self::check(value).map_err(|why| CallFailure::new(FailureReason::Invalid, why))
    }

    /// Takes what is said to be an answer, such as a remembered one, if it keeps every limit.
    pub(super) fn check(value: Json) -> Result<Self, String> {
        ANSWER.check(&value)?;
        Ok(Self(value))
    }

    /// The checked JSON, to be remembered.
    pub(super) fn as_json(&self) -> &Json {
        &self.0
    }

    /// The message; who answered, and about what, is the caller's to add.
    pub(super) fn results(&self) -> AiAnalysisResults {
        // A default would be an answer nobody gave; but the shape that was checked is the message's own.
        let mut results = AiAnalysisResults::deserialize(&self.0).expect("every member of the shape is in the message");
        results.set_generator(Generator::Model);
        for recommendation in &mut results.content_recommendations {
            recommendation.set_generator(Generator::Model);
        }
        results
    }
}

/// Where a text stops being JSON; the error's own words could repeat the text.
fn place(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

/// Control characters other than newline have no place in a text for people, and some databases
/// refuse U+0000. Removing them is the one thing that is done to an answer.
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
