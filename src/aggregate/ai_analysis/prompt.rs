//! The prompt. A change of it changes the responses, so it needs a new version and new response keys; a test checks
//! that version and text belong together.

use serde_json::{Value as Json, json};

use super::shape::ANSWER;
use crate::config::Structured;

/// Part of each response key: raise it with any change of `prompt.txt` or of the answer's shape.
pub(super) const PROMPT_VERSION: &str = "1";

const PROMPT: &str = include_str!("prompt.txt");

pub(super) fn system_message(structured: Structured) -> String {
    match structured {
        Structured::JsonSchema => PROMPT.to_owned(),
        Structured::JsonObject | Structured::None => {
            format!("{PROMPT}\nThe JSON schema of the answer:\n{}\n", ANSWER.schema())
        }
    }
}

/// None: it is not sent.
pub(super) fn response_format(structured: Structured) -> Option<Json> {
    match structured {
        Structured::JsonSchema => Some(json!({
            "type": "json_schema",
            "json_schema": { "name": "strategic_intelligence", "strict": true, "schema": ANSWER.schema() },
        })),
        Structured::JsonObject => Some(json!({ "type": "json_object" })),
        Structured::None => None,
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn any_edit_of_prompt_or_schema_changes_the_version() {
        let hash = hex::encode(Sha256::digest(system_message(Structured::JsonObject)));
        assert_eq!(
            (PROMPT_VERSION, hash.as_str()),
            ("1", "ca345b65598c27aa87dee3419b4f06a798638670351c7baabdf3111b6dcf3b01"),
            "the prompt has changed: raise PROMPT_VERSION and state the new hash here"
        );
    }
}
