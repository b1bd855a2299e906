//! A copy of the demo and a pool to look into it, or to break it.

use chrono::NaiveDate;
use sea_orm::DatabaseConnection;

use crate::database::{Kind, TestDatabase, demo_database_of, today};

/// The demo, dated from `base_day`.
pub async fn seeded(kind: Kind, base_day: NaiveDate) -> (TestDatabase, DatabaseConnection) {
    let place = demo_database_of(kind, base_day).await;
    let db = place.connect().await;
    (place, db)
}

/// The same, dated from today: for servers, which have a clock of their own.
pub async fn seeded_today(kind: Kind) -> (TestDatabase, DatabaseConnection) {
    seeded(kind, today()).await
}
