//! Forms of values: a form reads text into a type, and describes what it expects in words and as JSON Schema.
//!
//! Each form of a quantity has bounds, so each setting with a quantity has bounds.

use std::{ffi::OsStr, net::SocketAddr, str::FromStr};

use serde_json::{Value as Json, json};

use crate::text::first_unprintable;

mod origins;
mod quantity;
mod secret;
mod templates;

pub(super) use origins::OriginList;
pub use origins::WebOrigin;
pub use quantity::read_duration;
pub(super) use quantity::{Bytes, Count, Durations, KIB, MIB, Number, days, hours, millis, minutes, seconds};
pub(super) use secret::{HeaderLines, SecretText, Url};
pub(super) use templates::{Templates, UrlOrTemplate};

/// The text form of a setting of type `T`.
pub(super) trait Form<T> {
    fn parse(&self, text: &str) -> Option<T>;
    /// The value as text that [`Form::parse`] reads; `***` for a secret.
    fn show(&self, value: &T) -> String;
    /// Completes "expected ..".
    fn expected(&self) -> String;
    /// The form as JSON Schema.
    fn schema(&self) -> Json;
    /// Whether the value must not be printed.
    fn secret(&self) -> bool {
        false
    }
}

/// A value that can be absent: an empty text is none.
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

/// A value that `FromStr` reads and `Display` shows.
pub(super) struct Plain {
    expected: &'static str,
    schema: fn() -> Json,
}

pub(super) const SWITCH: Plain = Plain { expected: "true or false", schema: || json!({ "type": "boolean" }) };
pub(super) const LISTEN_ON: Plain = Plain {
    expected: "an address and a port such as 127.0.0.1:50051",
    schema: || json!({ "type": "string", "pattern": "^.+:[0-9]+$" }),
};
pub(super) const DAY: Plain =
    Plain { expected: "a day such as 2026-01-31", schema: || json!({ "type": "string", "format": "date" }) };

impl<T: FromStr + ToString> Form<T> for Plain {
    fn parse(&self, text: &str) -> Option<T> {
        text.parse().ok()
    }
    fn show(&self, value: &T) -> String {
        value.to_string()
    }
    fn expected(&self) -> String {
        self.expected.to_owned()
    }
    fn schema(&self) -> Json {
        (self.schema)()
    }
}

/// A port that only this machine can reach.
pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
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

/// Printable text, with bounds of its bytes.
pub(super) struct Text(pub(super) std::ops::RangeInclusive<usize>);

impl Form<String> for Text {
    fn parse(&self, text: &str) -> Option<String> {
        (self.0.contains(&text.len()) && first_unprintable(text).is_none()).then(|| text.to_owned())
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

/// Text that passes a check.
pub(super) struct Checked {
    is_valid: fn(&str) -> bool,
    expected: &'static str,
    schema: fn() -> Json,
}

/// The file is read when it is needed.
pub(super) const FILE: Checked = Checked {
    is_valid: |text| !text.is_empty() && first_unprintable(text).is_none(),
    expected: "the path of a file",
    schema: || json!({ "type": "string", "minLength": 1 }),
};
pub(super) const FILTER: Checked = Checked {
    is_valid: |text| text.parse::<tracing_subscriber::EnvFilter>().is_ok(),
    expected: "a tracing filter such as info,userdata=debug",
    schema: || json!({ "type": "string" }),
};
/// The URL of an HTTP endpoint, without credentials and query, which have their own settings.
pub(super) const ENDPOINT: Checked = Checked {
    is_valid: |text| is_endpoint(text).unwrap_or(false),
    expected: "an https:// or http:// URL, without credentials and query",
    schema: || json!({ "type": "string", "pattern": "^https?://" }),
};

/// The URL of a set of keys. Plain HTTP would let the network between exchange the keys.
pub(super) const KEYS_URL: Checked = Checked {
    is_valid: |text| is_without_user(text).unwrap_or(false) && !is_exposed(text),
    expected: "an https:// URL without credentials",
    schema: || json!({ "type": "string", "pattern": "^https?://" }),
};

impl<T: for<'a> From<&'a str> + AsRef<OsStr>> Form<T> for Checked {
    fn parse(&self, text: &str) -> Option<T> {
        (self.is_valid)(text).then(|| text.into())
    }
    fn show(&self, value: &T) -> String {
        value.as_ref().to_string_lossy().into_owned()
    }
    fn expected(&self) -> String {
        self.expected.to_owned()
    }
    fn schema(&self) -> Json {
        (self.schema)()
    }
}

fn is_endpoint(text: &str) -> Option<bool> {
    let url: http::Uri = text.parse().ok()?;
    Some(is_without_user(text)? && url.query().is_none())
}

fn is_without_user(text: &str) -> Option<bool> {
    let url: http::Uri = text.parse().ok()?;
    let authority = url.authority()?;
    let has_scheme = matches!(url.scheme_str()?, "https" | "http");
    Some(has_scheme && !authority.as_str().contains('@'))
}

/// Whether what is sent to a URL can be read on the way: plain HTTP to another machine.
pub(super) fn is_exposed(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else { return true };
    url.scheme_str() != Some("https") && !url.host().is_some_and(is_loopback)
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}
