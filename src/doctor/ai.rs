//! The AI endpoint: connected to, or asked one small question if the operator wants to pay for it.

use std::time::Duration;

use super::{Findings, network::reach};
use crate::{
    aggregate::ai_analysis::{SampleError, ask_sample},
    config::{AiSettings, Config},
};

const CHECK: &str = "ai endpoint";

/// How the AI endpoint is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AiCheck {
    /// Costs nothing, and tells little.
    Connect,
    /// Costs one call.
    Ask,
}

impl AiCheck {
    /// How long the check may take: that of a question as long as any other.
    pub(super) fn takes_at_most(self, config: &Config, area_max: Duration) -> Duration {
        match self {
            Self::Connect => area_max,
            Self::Ask => area_max + config.ai.hard_timeout,
        }
    }
}

pub(super) async fn examine(check: AiCheck, config: &Config, found: &mut Findings) {
    let ai = &config.ai;
    let Some(url) = &ai.base_url else {
        return found.ok(CHECK, "not configured (ai.base_url): the analysis is made by rules");
    };
    let (place, first) = match &ai.proxy {
        Some(proxy) => (format!("the proxy {} to {url}", proxy.place()), proxy.expose()),
        None => (url.clone(), url.as_str()),
    };
    if let Err(error) = reach(first, None).await {
        return found.fail(
            CHECK,
            format!("{place} cannot be reached: {error}"),
            "correct ai.base_url or ai.proxy, or let this machine through to it; until then documents come without the \
             analysis",
        );
    }
    match check {
        AiCheck::Connect => found.ok(
            CHECK,
            format!(
                "{place} can be reached; model {}; `doctor --ask-ai` asks it a question, for the price of one",
                ai.model
            ),
        ),
        AiCheck::Ask => ask(ai, url, found).await,
    }
}

async fn ask(ai: &AiSettings, url: &str, found: &mut Findings) {
    match ask_sample(ai, url).await {
        Ok(took) if took > ai.soft_timeout => found.warn(
            CHECK,
            format!("{url}: model {} gives an answer that can be used, after {took:.1?}", ai.model),
            "raise ai.soft_timeout, or documents come without the analysis first and are completed later",
        ),
        Ok(took) => {
            found.ok(CHECK, format!("{url}: model {} gives an answer that can be used, after {took:.1?}", ai.model));
        }
        Err(error) => found.fail(CHECK, format!("{url}: model {}: {error}", ai.model), remedy(&error)),
    }
}

/// What helps against each trap.
fn remedy(error: &SampleError) -> &'static str {
    let SampleError::Unanswered { reason, about, .. } = error else { return "correct the settings of ai" };
    match (*reason, *about) {
        ("AI_REJECTED", Some("max_tokens")) => "set ai.token_limit_field = max_completion_tokens, or none",
        ("AI_REJECTED", Some("max_completion_tokens")) => "set ai.token_limit_field = max_tokens, or none",
        ("AI_REJECTED", Some("temperature")) => "leave ai.temperature empty, so that it is not sent",
        ("AI_REJECTED", Some("response_format")) => "set ai.structured = json_object, or none",
        ("AI_REJECTED", _) => {
            "404: correct the path of ai.base_url (often /v1) or ai.model; 400: try ai.token_limit_field, an empty \
             ai.temperature and ai.structured = none; the endpoint's own log says which"
        }
        ("AI_UNAUTHORIZED", _) => "correct ai.api_key, or the header that the endpoint wants (ai.headers)",
        ("AI_RATE_LIMITED", _) => "wait, or raise the limit at the provider; ai.calls_per_minute keeps below it",
        ("AI_TRUNCATED", _) => "raise ai.max_output_tokens: thoughts count too",
        ("AI_REFUSED", _) => "choose another ai.model: this one refuses a harmless question",
        ("AI_MALFORMED" | "AI_INVALID", _) => {
            "let the server enforce the schema (ai.structured = json_schema), switch the model's thoughts off, or choose \
             another ai.model: this one does not keep to the form"
        }
        ("AI_TOO_LARGE", _) => "lower ai.max_output_tokens, or choose another ai.model",
        ("AI_TIMEOUT", _) => "raise ai.hard_timeout, or lower ai.max_output_tokens",
        _ => "repair the endpoint; until then documents come without the analysis",
    }
}
