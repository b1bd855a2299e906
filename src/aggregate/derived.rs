//! (signatures that the aggregator is built against; the body is being written elsewhere)

use super::rows::Onboarding;
use crate::{
    model::UserId,
    proto::v1::{ComprehensiveUserData, StrategyData},
};

/// Its section.
#[must_use]
pub fn derive(_user: &UserId, _onboarding: &Onboarding, _strategy: Option<&StrategyData>) -> ComprehensiveUserData {
    unimplemented!()
}
