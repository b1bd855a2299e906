//! `userdata invalidate`.

use clap::{Args, ValueEnum};

use super::{
    super::{
        failure::Failure,
        output::{Output, pairs},
    },
    human,
    target::{Target, service},
};
use crate::proto::v1::{self, InvalidateCacheRequest, InvalidateCacheResponse};

/// Make everything cached about a user unusable.
#[derive(Debug, Args)]
pub struct Invalidate {
    /// The user's id
    #[arg(value_name = "USER")]
    user: String,
    /// Only this strategy's document and the one without strategy
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    strategy: Option<i64>,
    /// Whose agreement to wait for
    #[arg(long, value_name = "FOR", default_value = "local")]
    wait: Wait,
    /// Erase: what is cached is gone from every tier before this succeeds
    #[arg(long)]
    purge: bool,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Wait {
    /// The called server's
    Local,
    /// Every server's
    All,
}

impl Invalidate {
    pub(super) async fn call(self, output: &mut Output<'_>) -> Result<(), Failure> {
        let reply = self
            .target
            .within_timeout(async |channel| {
                let request = self.target.request(self.message());
                Ok(service(channel).invalidate_cache(request).await?.into_inner())
            })
            .await?;
        output.show(self.target.format(), &reply, in_words)
    }

    fn message(&self) -> InvalidateCacheRequest {
        InvalidateCacheRequest {
            user_id: self.user.clone(),
            strategy_id: self.strategy,
            wait: match self.wait {
                Wait::Local => v1::Wait::Local,
                Wait::All => v1::Wait::All,
            }
            .into(),
            reason: self.reason.clone(),
            purge: self.purge,
        }
    }
}

fn in_words(reply: &InvalidateCacheResponse) -> String {
    pairs([("rows removed", reply.removed_entries.to_string()), ("token", human::text(&reply.token))])
}
