//! `userdata invalidate`.

use clap::{Args, ValueEnum};

use super::{
    super::{
        failure::Failure,
        output::{Output, pairs},
    },
    human,
    target::{Target, UserDataClient},
};
use crate::proto::v1::{self, InvalidateCacheRequest, InvalidateCacheResponse};

/// Invalidate the cached documents of a user.
#[derive(Debug, Args)]
pub struct InvalidateArgs {
    /// The user's id
    #[arg(value_name = "USER")]
    user: String,
    /// Only documents of this strategy and those without a strategy
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    strategy: Option<i64>,
    /// Which instances have to apply it before the call returns
    #[arg(long, value_name = "FOR", default_value = "local")]
    wait: WaitArg,
    /// Also delete all copies from every tier before the call returns
    #[arg(long)]
    purge: bool,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WaitArg {
    /// The called one
    Local,
    /// All of them
    All,
}

impl InvalidateArgs {
    pub(super) async fn call(self, output: &mut Output<'_>) -> Result<(), Failure> {
        let rpc = async |mut service: UserDataClient, request| service.invalidate_cache(request).await;
        let reply = self.target.call(self.message(), rpc).await?;
        output.show(self.target.format(), &reply, in_words)
    }

    fn message(&self) -> InvalidateCacheRequest {
        InvalidateCacheRequest {
            user_id: self.user.clone(),
            strategy_id: self.strategy,
            wait: match self.wait {
                WaitArg::Local => v1::Wait::Local,
                WaitArg::All => v1::Wait::All,
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
