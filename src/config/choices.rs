//! Settings that are one of a few names.

/// The cache library of the memory tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryEngine {
    /// TinyLFU. Writes are serialized, because concurrent ones are not safe.
    MiniMoka,
    /// Clock-PRO, sharded.
    QuickCache,
}

/// Which callers of the planning application's routes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpCompat {
    /// Since June 2026: user ids are text.
    New,
    /// Of August 2025: a user id in digits is a number.
    Aug22,
}

/// What stands between a database's clients and its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooler {
    /// Nothing, or what keeps a connection of the server for each client.
    None,
    /// A connection pooler such as PgBouncer, which keeps one for each transaction, or for each client.
    Transaction,
}

/// How a request to the AI endpoint describes the form of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structured {
    /// `response_format: json_schema`.
    JsonSchema,
    /// `response_format: json_object` and the schema in the prompt, for endpoints without support for schemas.
    JsonObject,
    /// The schema in the prompt, for endpoints that refuse `response_format`.
    None,
}

impl Structured {
    /// The value of the setting.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JsonSchema => "json_schema",
            Self::JsonObject => "json_object",
            Self::None => "none",
        }
    }
}

/// The member of a request to the AI endpoint that limits the tokens of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenLimitField {
    MaxTokens,
    /// Newer models of OpenAI refuse the other one.
    MaxCompletionTokens,
    None,
}

impl TokenLimitField {
    /// The member's name; none if no limit is sent.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::MaxTokens => Some("max_tokens"),
            Self::MaxCompletionTokens => Some("max_completion_tokens"),
            Self::None => None,
        }
    }
}

/// How callers authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    None,
    /// By a token in each request.
    Token,
    /// By the certificate of the connection.
    Mtls,
    /// By a user's token alone. In the other two modes users' tokens count beside those of services.
    Jwt,
}

impl AuthMode {
    pub(super) const NAMES: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("token", Self::Token), ("mtls", Self::Mtls), ("jwt", Self::Jwt)];
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    /// One JSON object per line.
    Json,
}
