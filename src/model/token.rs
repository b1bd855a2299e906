//! A token: a position in the invalidation log that a caller passes from an invalidation to a read.

use std::{fmt, str::FromStr, sync::Arc};

/// A position in the log of one epoch. Its text is `epoch:position`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// A position is only valid in its epoch.
    pub epoch: Arc<str>,
    pub position: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a token that InvalidateCache or CacheInfo returned")]
pub struct TokenError;

impl Token {
    /// Faster than `to_string`: every response has a token.
    #[must_use]
    pub fn to_text(&self) -> String {
        [&self.epoch, ":", itoa::Buffer::new().format(self.position)].concat()
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
        let (epoch, position) = text.rsplit_once(':').ok_or(TokenError)?;
        let plain = |text: &str| {
            !text.is_empty() && text.len() <= 36 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if !plain(epoch) || !position.bytes().all(|b| b.is_ascii_digit()) {
            return Err(TokenError);
        }
        Ok(Self { epoch: epoch.into(), position: position.parse().map_err(|_| TokenError)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::withstands_mutated;

    #[test]
    fn any_text_is_a_token_or_none_and_a_token_says_the_same_again() {
        let valid = ["8ed2dc9e-2957-4d77-b446-f69ea95410c1:17", "a:0", "log:9223372036854775807"];
        let (mut read, mut refused) = (0, 0);
        withstands_mutated(
            &valid.map(|text| text.as_bytes().to_vec()),
            // What is no UTF-8 takes three bytes each, in a text that doubles.
            |length| 16 * length + 1024,
            |bytes| match String::from_utf8_lossy(&bytes).parse::<Token>() {
                Ok(token) => {
                    read += 1;
                    assert!(token.position >= 0);
                    assert_eq!(token.to_string().parse(), Ok(token));
                }
                Err(TokenError) => refused += 1,
            },
        );
        assert!(read > 100 && refused > 100, "{read} read, {refused} refused: the inputs are not nearly right");
    }
}
