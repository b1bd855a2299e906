//! Errors of the cache as the RPCs give them.

use tonic::Status;
use tracing::{error, warn};

use crate::{
    error::Error,
    grpc::{refusal::Refusal, request_id::RequestId, status},
};

/// An error of the cache, logged once if an operator should know of it.
pub(super) fn failed(error: Error, id: &RequestId) -> Refusal {
    match &error {
        Error::Unavailable { reason, cause, .. } => {
            let cause = cause.as_deref().map(|cause| cause as &dyn std::error::Error);
            id.in_log(|| warn!(%reason, cause, "unavailable"));
        }
        Error::Internal | Error::BudgetExceeded => id.in_log(|| error!(%error, "internal error")),
        _ => {}
    }
    Refusal::Failed(error)
}

pub(super) fn failed_status(error: Error, id: &RequestId) -> Status {
    status::of(&failed(error, id), id)
}
