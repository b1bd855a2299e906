//! A position in the fence log, as callers carry it from an invalidation to a read.

use std::{fmt, str::FromStr, sync::Arc};

/// A position in the log of one incarnation. Its text is `incarnation:position`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The log's incarnation; a position means nothing in another one.
    pub incarnation: Arc<str>,
    /// The position.
    pub position: i64,
}

/// The text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a token that InvalidateCache or CacheInfo returned")]
pub struct TokenError;

impl Token {
    /// The same as `to_string`, without the machinery of formatting: every reply has one.
    #[must_use]
    pub fn to_text(&self) -> String {
        [&self.incarnation, ":", itoa::Buffer::new().format(self.position)].concat()
    }
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_text())
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let (incarnation, position) = text.rsplit_once(':').ok_or(TokenError)?;
        let plain = |text: &str| {
            !text.is_empty() && text.len() <= 36 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if !plain(incarnation) || !position.bytes().all(|b| b.is_ascii_digit()) {
            return Err(TokenError);
        }
        Ok(Self { incarnation: incarnation.into(), position: position.parse().map_err(|_| TokenError)? })
    }
}
