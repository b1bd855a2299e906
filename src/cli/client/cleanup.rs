//! `userdata cleanup`.

use clap::Args;

use super::{
    super::{
        failure::Failure,
        output::{Output, pairs},
    },
    target::{Target, UserDataClient},
};
use crate::proto::v1::CleanupCacheRequest;

/// Delete expired rows from the cache table.
#[derive(Debug, Args)]
pub struct CleanupArgs {
    /// Rows at most; all expired ones if not given
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, allow_negative_numbers = true)]
    limit: i32,
    #[command(flatten)]
    target: Target,
}

impl CleanupArgs {
    pub(super) async fn call(self, output: &mut Output<'_>) -> Result<(), Failure> {
        let request = CleanupCacheRequest { limit: self.limit };
        let reply = self
            .target
            .call(request, async |mut service: UserDataClient, request| service.cleanup_cache(request).await)
            .await?;
        output.show(self.target.format(), &reply, |reply| pairs([("rows deleted", reply.deleted_count.to_string())]))
    }
}
