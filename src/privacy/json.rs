//! An encrypted value in a JSON column: `{"sealed": "<base64>"}`.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::Deserialize;

/// What the column's text begins with, for statements that look for values in clear.
pub const SEALED_PREFIX: &str = "{\"sealed\":";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    sealed: &'a str,
}

/// The column's text.
#[must_use]
pub fn sealed(encrypted: &[u8]) -> String {
    // Base64 needs no escapes.
    format!("{SEALED_PREFIX}\"{}\"}}", BASE64.encode(encrypted))
}

/// The encrypted value. None if the text holds none.
#[must_use]
pub fn read_sealed(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(serde_json::from_str::<Envelope<'_>>(text).ok()?.sealed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_is_json_and_nothing_else_is_one() {
        let text = sealed(&[0, 255, 7]);
        assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["sealed"].is_string(), "{text}");
        assert_eq!(read_sealed(&text), Some(vec![0, 255, 7]));
        assert_eq!(read_sealed(&text.replace(':', ": ")), Some(vec![0, 255, 7]), "as another writer spaces it");
        for other in ["", "{}", "[]", r#"{"sealed":1}"#, r#"{"sealed":"?"}"#, r#"{"sealed":"AA==","user_id":"1"}"#] {
            assert_eq!(read_sealed(other), None, "{other}");
        }
    }
}
