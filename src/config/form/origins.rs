//! OriginList of web pages, as browsers send them (RFC 6454).

use serde_json::{Value as Json, json};

use super::Form;

/// The scheme, host and port of a web page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebOrigin(String);

impl WebOrigin {
    /// Whether a browser's `origin` header says it.
    #[must_use]
    pub fn is(&self, header: &[u8]) -> bool {
        self.0.as_bytes() == header
    }
}

/// A list of origins, separated by commas.
pub(in crate::config) struct OriginList;

impl Form<Vec<WebOrigin>> for OriginList {
    fn parse(&self, text: &str) -> Option<Vec<WebOrigin>> {
        let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
        origins.map(|origin| is_origin(origin).then(|| WebOrigin(origin.to_owned()))).collect()
    }
    fn show(&self, value: &Vec<WebOrigin>) -> String {
        value.iter().map(|origin| origin.0.as_str()).collect::<Vec<_>>().join(",")
    }
    fn expected(&self) -> String {
        "origins such as https://app.example:8443, in lower case and without a path, separated by commas".to_owned()
    }
    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

/// `*` and `null` are none: every page can have them.
fn is_origin(text: &str) -> bool {
    let host = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte);
    host.is_some_and(|host| !host.is_empty() && host.bytes().all(is_legal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_as_browsers_write_them() {
        let origins = OriginList.parse("https://app.example, http://localhost:3000").unwrap();
        assert!(origins[0].is(b"https://app.example") && origins[1].is(b"http://localhost:3000"));
        assert_eq!(OriginList.show(&origins), "https://app.example,http://localhost:3000");
        assert_eq!(OriginList.parse(""), Some(Vec::new()));
        for wrong in ["*", "null", "app.example", "https://", "https://app.example/", "https://App.example", "ftp://a"]
        {
            assert_eq!(OriginList.parse(wrong), None, "{wrong}");
        }
    }
}
