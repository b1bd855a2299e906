//! One small question for the doctor, asked as any other, and what came of it.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    endpoint::{AiConfigError, AiEndpoint},
    failure::{CallFailure, FailureReason},
    input::Input,
    subject::Subject,
};
use crate::{aggregate::rows::Onboarding, clock::Clock, config};

/// Why the sample question has no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    #[error(transparent)]
    Config(#[from] AiConfigError),
    #[error("{reason}: {detail}")]
    Unanswered {
        /// One of data.md's `AI_*`.
        reason: &'static str,
        /// Never a body, never a key.
        detail: String,
        /// The member of the request that the endpoint refuses, as far as it says.
        about: Option<&'static str>,
    },
}

impl From<CallFailure> for SampleError {
    fn from(failure: CallFailure) -> Self {
        Self::Unanswered { reason: failure.reason.name(), detail: failure.detail, about: failure.about }
    }
}

/// Asks about a business of which only the industry is known. Costs a call. Returns how long the answer took.
pub async fn ask_sample(config: &config::AiSettings, base_url: &str) -> Result<Duration, SampleError> {
    let endpoint = AiEndpoint::new(config, base_url)?;
    let mut onboarding = Onboarding::default();
    onboarding.data.industry = Some("technology".to_owned());
    let input = Input::new(&Subject::new(&onboarding, None)).expect("the industry is known");
    let clock = Clock::system();
    let began = clock.now();
    let asked = async { endpoint.ask(input.text(), clock.utc()).await?.answer() };
    match timeout(config.hard_timeout, asked).await {
        Ok(answer) => answer?,
        Err(_) => {
            let why = format!("no answer within {:?}", config.hard_timeout);
            return Err(CallFailure::new(FailureReason::Timeout, why).into());
        }
    };
    Ok(clock.now().since(began))
}
