//! How values are written: each form reads text into a type, with bounds where there is a quantity, and says what it
//! expects, in words and as JSON Schema.
//!
//! No form of a quantity exists without bounds, so no setting can be without them.

use std::{net::SocketAddr, path::PathBuf};

use chrono::NaiveDate;
use serde_json::{Value as Json, json};

mod quantity;
mod secret;

pub use quantity::read_duration;
pub(super) use quantity::{Bytes, Count, Durations, KIB, MIB, Number, days, hours, millis, minutes, seconds};
pub(super) use secret::{SecretText, Url};

/// How a setting of type `T` is written.
pub(super) trait Form<T> {
    /// The value, if the text is one.
    fn parse(&self, text: &str) -> Option<T>;
    /// The value as text that [`Form::parse`] reads; `***` for a secret.
    fn show(&self, value: &T) -> String;
    /// Completes "expected ..".
    fn expected(&self) -> String;
    /// The form as JSON Schema.
    fn schema(&self) -> Json;
    /// Whether the value must not be shown.
    fn secret(&self) -> bool {
        false
    }
}

/// What may be absent: an empty text is none.
pub(super) struct Optional<F>(pub(super) F);

impl<T, F: Form<T>> Form<Option<T>> for Optional<F> {
    fn parse(&self, text: &str) -> Option<Option<T>> {
        if text.is_empty() { Some(None) } else { self.0.parse(text).map(Some) }
    }
    fn show(&self, value: &Option<T>) -> String {
        value.as_ref().map(|value| self.0.show(value)).unwrap_or_default()
    }
    fn expected(&self) -> String {
        format!("{}, or nothing", self.0.expected())
    }
    fn schema(&self) -> Json {
        json!({ "anyOf": [self.0.schema(), { "const": "" }] })
    }
    fn secret(&self) -> bool {
        self.0.secret()
    }
}

/// `true` or `false`.
pub(super) struct Switch;

impl Form<bool> for Switch {
    fn parse(&self, text: &str) -> Option<bool> {
        text.parse().ok()
    }
    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
    fn expected(&self) -> String {
        "true or false".to_owned()
    }
    fn schema(&self) -> Json {
        json!({ "type": "boolean" })
    }
}

/// An address and a port.
pub(super) struct ListenOn;

impl Form<SocketAddr> for ListenOn {
    fn parse(&self, text: &str) -> Option<SocketAddr> {
        text.parse().ok()
    }
    fn show(&self, value: &SocketAddr) -> String {
        value.to_string()
    }
    fn expected(&self) -> String {
        "an address and a port such as 127.0.0.1:50051".to_owned()
    }
    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^.+:[0-9]+$" })
    }
}

/// A port of this machine that only this machine reaches.
pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The path of a file, which is read when it is needed.
pub(super) struct FilePath;

impl Form<PathBuf> for FilePath {
    fn parse(&self, text: &str) -> Option<PathBuf> {
        (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.into())
    }
    fn show(&self, value: &PathBuf) -> String {
        value.display().to_string()
    }
    fn expected(&self) -> String {
        "the path of a file".to_owned()
    }
    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// A day, as `2026-01-31`.
pub(super) struct Day;

impl Form<NaiveDate> for Day {
    fn parse(&self, text: &str) -> Option<NaiveDate> {
        text.parse().ok()
    }
    fn show(&self, value: &NaiveDate) -> String {
        value.to_string()
    }
    fn expected(&self) -> String {
        "a day such as 2026-01-31".to_owned()
    }
    fn schema(&self) -> Json {
        json!({ "type": "string", "format": "date" })
    }
}

/// One of a few names.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Choice<T> {
    fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }
}

impl<T: Copy + PartialEq> Form<T> for Choice<T> {
    fn parse(&self, text: &str) -> Option<T> {
        self.0.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice)
    }
    fn show(&self, value: &T) -> String {
        self.0.iter().find(|(_, choice)| choice == value).map(|(name, _)| (*name).to_owned()).unwrap_or_default()
    }
    fn expected(&self) -> String {
        self.names().join(" or ")
    }
    fn schema(&self) -> Json {
        json!({ "enum": self.names() })
    }
}

/// Printable text of so many bytes.
pub(super) struct Text(pub(super) std::ops::RangeInclusive<usize>);

impl Form<String> for Text {
    fn parse(&self, text: &str) -> Option<String> {
        (self.0.contains(&text.len()) && !text.chars().any(char::is_control)).then(|| text.to_owned())
    }
    fn show(&self, value: &String) -> String {
        value.clone()
    }
    fn expected(&self) -> String {
        format!("printable text of {} to {} bytes", self.0.start(), self.0.end())
    }
    fn schema(&self) -> Json {
        json!({ "type": "string", "minLength": self.0.start(), "maxLength": self.0.end() })
    }
}

/// A filter of log lines.
pub(super) struct Filter;

impl Form<String> for Filter {
    fn parse(&self, text: &str) -> Option<String> {
        text.parse::<tracing_subscriber::EnvFilter>().ok().map(|_| text.to_owned())
    }
    fn show(&self, value: &String) -> String {
        value.clone()
    }
    fn expected(&self) -> String {
        "a tracing filter such as info,userdata=debug".to_owned()
    }
    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

/// The URL of an HTTP endpoint: encrypted, unless nobody can listen in. Credentials have a setting of their own.
pub(super) struct Endpoint;

impl Form<String> for Endpoint {
    fn parse(&self, text: &str) -> Option<String> {
        let url: http::Uri = text.parse().ok()?;
        let authority = url.authority()?;
        let encrypted = match url.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let safe = encrypted || is_loopback(authority.host());
        (safe && !authority.as_str().contains('@') && url.query().is_none()).then(|| text.to_owned())
    }
    fn show(&self, value: &String) -> String {
        value.clone()
    }
    fn expected(&self) -> String {
        "an https:// URL, or http:// to this machine, without credentials and query".to_owned()
    }
    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^https?://" })
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}
