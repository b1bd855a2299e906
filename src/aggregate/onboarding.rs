//! (signatures that the aggregator is built against; the body is being written elsewhere)

use super::{Read, SourceError, rows::Onboarding, sql::SourceDatabase};
use crate::{
    model::UserId,
    proto::v1::{ComprehensiveUserData, OnboardingData},
};

/// Reads it.
pub async fn read(_database: &SourceDatabase, _user: &UserId) -> Result<Read<Onboarding>, SourceError> {
    unimplemented!()
}

/// Its section.
#[must_use]
pub fn document(_data: &OnboardingData) -> ComprehensiveUserData {
    unimplemented!()
}
