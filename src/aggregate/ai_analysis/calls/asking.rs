//! Asks the model: under the source's guard, within the limit of calls, at most twice, and checks its answer.

use tokio::time::{Instant, sleep, timeout_at};

use super::{CachedResponse, CallFailure, FailureReason, ModelCalls, ResponseKey};
use crate::aggregate::{
    SourceError,
    ai_analysis::{answer::ModelAnswer, prompt::PROMPT_VERSION, reply::Usage, spend::CallEnd},
};

/// An answer and what its reply says of it.
struct UsableReply {
    answer: ModelAnswer,
    model: Option<String>,
    usage: Usage,
}

impl ModelCalls {
    /// A new response, unless the circuit is open. With an error comes the failure of the call, if one was made.
    pub(super) async fn fresh(
        &self,
        key: &ResponseKey,
        input: &str,
    ) -> Result<CachedResponse, (SourceError, Option<CallFailure>)> {
        // Includes the wait for a permit.
        let give_up = Instant::now() + self.hard_timeout;
        let mut failed = None;
        let made = async {
            let made = self.ask(input, give_up).await;
            made.map_err(|failure| SourceError::from(failed.insert(failure).clone()))
        };
        let checked = match self.guard.run(self.hard_timeout, made).await.result {
            Ok(checked) => checked,
            Err(SourceError::Timeout) => {
                let failure = CallFailure::new(FailureReason::Timeout, "too many calls under way");
                return Err((failure.into(), None));
            }
            Err(error) => return Err((error, failed)),
        };
        Ok(CachedResponse {
            key: key.clone(),
            answer: checked.answer,
            model: checked.model.unwrap_or_else(|| self.endpoint.model.clone()),
            prompt_version: PROMPT_VERSION.to_owned(),
            usage: checked.usage,
            created_at: self.clock.utc(),
        })
    }

    /// Asks the model, at most twice and at most until `give_up`.
    async fn ask(&self, input: &str, give_up: Instant) -> Result<UsableReply, CallFailure> {
        let asked = timeout_at(give_up, async {
            let Some(first) = self.ask_once(input).await else {
                return Err(CallFailure::new(FailureReason::Budget, "the limit of calls per minute is reached"));
            };
            let failure = match first {
                Ok(checked) => return Ok(checked),
                Err(failure) => failure,
            };
            // A second try that cannot end in time would only hide the first failure.
            let Some(pause) = failure.retry_after.filter(|pause| Instant::now() + *pause < give_up) else {
                return Err(failure);
            };
            sleep(pause).await;
            self.ask_once(input).await.unwrap_or(Err(failure))
        });
        asked
            .await
            .unwrap_or_else(|_| Err(CallFailure::new(FailureReason::Timeout, "no answer until the hard timeout")))
    }

    /// One call; none if the limit per minute is reached.
    async fn ask_once(&self, input: &str) -> Option<Result<UsableReply, CallFailure>> {
        let call = self.spend.begin_call()?;
        let checked = self.endpoint.ask(input, self.clock.utc()).await.and_then(|reply| {
            // Also for an answer that cannot be used: it is paid for.
            self.spend.count_tokens(reply.usage());
            Ok(UsableReply { answer: reply.answer()?, model: reply.model(), usage: reply.usage() })
        });
        call.end(match &checked {
            Ok(_) => CallEnd::Answered,
            Err(failure) if failure.reason.is_of_the_answer() => CallEnd::Unusable,
            Err(_) => CallEnd::Failed,
        });
        Some(checked)
    }
}
