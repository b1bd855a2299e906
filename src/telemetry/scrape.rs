//! The metrics as Prometheus asks for them.

use prometheus::{Encoder as _, Registry, TextEncoder};

/// The numbers of this process. Clones are the same.
#[derive(Clone)]
pub struct Scrape(Registry);

impl std::fmt::Debug for Scrape {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Scrape")
    }
}

impl Scrape {
    pub(super) fn of(registry: Registry) -> Self {
        Self(registry)
    }

    /// What the text is, for the reply's head.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// All of them, now.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.0.gather(), &mut text) {
            tracing::warn!(%error, "the metrics cannot be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}
