//! `userdata healthcheck`: for container health checks, which only look at the exit code.

use clap::Args;
use serde_json::json;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{
    super::{failure::Failure, output::Output},
    target::Target,
};

/// Check whether the server is ready.
#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// A gRPC service; the whole server if not given
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    service: String,
    #[command(flatten)]
    target: Target,
}

impl HealthcheckArgs {
    pub(super) async fn call(self, output: &mut Output<'_>) -> Result<(), Failure> {
        let reply = self
            .target
            .within_timeout(async |channel| {
                let request = self.target.request(HealthCheckRequest { service: self.service.clone() });
                Ok(HealthClient::new(channel).check(request).await?.into_inner())
            })
            .await?;
        let status = reply.status().as_str_name();
        if reply.status() != ServingStatus::Serving {
            return Err(Failure::new(Code::Unavailable, format!("the server says {status}")));
        }
        output.show(self.target.format(), &json!({ "status": status }), |_| status.to_owned())
    }
}
