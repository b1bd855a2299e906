//! Forms of values that are never shown. A URL is one because it may hold a password.

use std::str::FromStr as _;

use sea_orm::sqlx::{postgres::PgConnectOptions, sqlite::SqliteConnectOptions};
use serde_json::{Value as Json, json};

use super::{super::Secret, Form};
use crate::text::first_unprintable;

const SHOWN: &str = "***";

/// A URL of one of these schemes.
pub(in crate::config) struct Url(pub(in crate::config) &'static [&'static str]);

impl Form<Secret> for Url {
    fn parse(&self, text: &str) -> Option<Secret> {
        // A variable may end with the line end of the file that it was made from.
        let text = text.trim();
        let (scheme, rest) = text.split_once(':').filter(|_| first_unprintable(text).is_none())?;
        (self.0.contains(&scheme) && !rest.is_empty() && is_readable(scheme, text)).then(|| Secret::new(text))
    }
    fn show(&self, _: &Secret) -> String {
        SHOWN.to_owned()
    }
    fn expected(&self) -> String {
        format!(
            "a URL with one host that can be read and begins with {}",
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

/// As the client reads it that connects.
fn is_readable(scheme: &str, url: &str) -> bool {
    match scheme {
        "sqlite" => SqliteConnectOptions::from_str(url).is_ok(),
        "postgres" | "postgresql" => PgConnectOptions::from_str(url).is_ok(),
        "http" | "https" => url.parse::<http::Uri>().is_ok_and(|url| url.host().is_some()),
        _ => fred::types::config::Config::from_url(url).is_ok(),
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

/// Headers of a request, one per line.
pub(in crate::config) struct HeaderLines;

/// Each would contradict what the HTTP client sends itself.
const CLIENTS_OWN: [&str; 6] = ["connection", "content-length", "content-type", "host", "te", "transfer-encoding"];

impl Form<Secret> for HeaderLines {
    fn parse(&self, text: &str) -> Option<Secret> {
        let secret = Secret::new(text);
        let all_fit =
            secret.header_lines().all(|line| line.is_some_and(|(name, _)| !CLIENTS_OWN.contains(&name.as_str())));
        all_fit.then_some(secret)
    }
    fn show(&self, _: &Secret) -> String {
        SHOWN.to_owned()
    }
    fn expected(&self) -> String {
        format!("lines `name: value` of visible ASCII, without {}", CLIENTS_OWN.join(", "))
    }
    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^[!-9;-~]+:[^\r\n]+([\r\n]+[!-9;-~]+:[^\r\n]+)*$" })
    }
    fn secret(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_as_by_the_client_that_connects() {
        let forms = [
            (
                Url(&["sqlite", "postgres"]),
                vec!["sqlite://a.db?mode=rwc", "sqlite::memory:", "postgres://u:p@[::1]:5432/d?sslmode=require"],
            ),
            (Url(&["redis", "redis-cluster"]), vec!["redis://:p@h:6379/1", "redis-cluster://h:1?node=h:2"]),
        ];
        for (form, readable) in forms {
            for url in readable {
                assert!(form.parse(url).is_some(), "{url}");
            }
            for url in [
                "postgres://o@[bad/x",
                "postgres://h:99999/x",
                "redis://",
                "redis://h:1:2",
                "redis://:p@:bad",
                "http://h",
            ] {
                assert!(form.parse(url).is_none(), "{url}");
            }
        }
    }

    #[test]
    fn headers_are_lines_of_a_name_and_a_value() {
        let secret = HeaderLines.parse("api-key: k 1\r\n\n X-Team:a:b ").unwrap();
        let headers: Vec<_> = secret.header_lines().map(|header| header.unwrap()).collect();
        let shown: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(shown, [("api-key", "k 1"), ("x-team", "a:b")]);
        assert!(headers.iter().all(|(_, value)| value.is_sensitive()));
        for refused in ["api-key", "a b: c", ": c", "Host: other.example", "a: \u{1}", "a: é"] {
            assert!(HeaderLines.parse(refused).is_none(), "{refused}");
        }
    }
}
