//! `userdata cleanup`.

use clap::Args;

use super::{
    super::{
        failure::Failure,
        output::{Output, pairs},
    },
    target::{Target, service},
};
use crate::proto::v1::CleanupCacheRequest;

/// Delete expired rows from the cache table.
#[derive(Debug, Args)]
pub struct Cleanup {
    /// Rows at most; all expired ones if not given
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, allow_negative_numbers = true)]
    limit: i32,
    #[command(flatten)]
    target: Target,
}

impl Cleanup {
    pub(super) async fn call(self, output: &mut Output<'_>) -> Result<(), Failure> {
        let reply = self
            .target
            .within_timeout(async |channel| {
                let request = self.target.request(CleanupCacheRequest { limit: self.limit });
                Ok(service(channel).cleanup_cache(request).await?.into_inner())
            })
            .await?;
        output.show(self.target.format(), &reply, |reply| pairs([("rows deleted", reply.deleted_count.to_string())]))
    }
}
