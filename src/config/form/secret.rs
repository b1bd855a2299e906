//! Forms of values that are never shown. A URL is one because it may hold a password.

use serde_json::{Value as Json, json};

use super::{super::Secret, Form};

const SHOWN: &str = "***";

/// A URL of one of these schemes.
pub(in crate::config) struct Url(pub(in crate::config) &'static [&'static str]);

impl Form<Secret> for Url {
    fn parse(&self, text: &str) -> Option<Secret> {
        let (scheme, rest) = text.split_once(':')?;
        (self.0.contains(&scheme) && !rest.is_empty()).then(|| Secret::new(text))
    }
    fn show(&self, _: &Secret) -> String {
        SHOWN.to_owned()
    }
    fn expected(&self) -> String {
        format!(
            "a URL that begins with {}",
            self.0.iter().map(|scheme| format!("{scheme}:")).collect::<Vec<_>>().join(" or ")
        )
    }
    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": format!("^({}):.+", self.0.join("|")) })
    }
    fn secret(&self) -> bool {
        true
    }
}

/// A key or password: visible ASCII, so that it fits into a header.
pub(in crate::config) struct SecretText;

impl Form<Secret> for SecretText {
    fn parse(&self, text: &str) -> Option<Secret> {
        (!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())).then(|| Secret::new(text))
    }
    fn show(&self, _: &Secret) -> String {
        SHOWN.to_owned()
    }
    fn expected(&self) -> String {
        "visible ASCII characters without spaces".to_owned()
    }
    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^[!-~]+$" })
    }
    fn secret(&self) -> bool {
        true
    }
}
