//! A text that no log, error or `config show` prints.

use http::{HeaderName, HeaderValue};

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The headers of lines `name: value`, marked as sensitive; none for a line of another form.
    pub fn header_lines(&self) -> impl Iterator<Item = Option<(HeaderName, HeaderValue)>> {
        self.0.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| {
            let (name, value) = line.split_once(':')?;
            let value = value.trim();
            if !value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
                return None;
            }
            let (name, mut value) = (name.trim().parse().ok()?, HeaderValue::from_str(value).ok()?);
            value.set_sensitive(true);
            Some((name, value))
        })
    }

    /// Where a URL points, without what it may hold of credentials: before the host, or among the options.
    #[must_use]
    pub fn place(&self) -> String {
        match self.0.split_once("://") {
            Some((scheme, rest)) => {
                let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
                format!("{scheme}://{}", place.split('?').next().unwrap_or_default())
            }
            None => "?".to_owned(),
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[redacted]")
    }
}
