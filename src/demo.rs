//! Demo data: thirty-three users, most with rows in all source tables, some without certain rows.
//!
//! Equal seeds and base days give equal data, on either database and with any set of users: each user has a stream of
//! random numbers and blocks of ids of its own. The texts are plausible, not random, so that the gap analysis finds
//! gaps.

mod audience;
mod batch;
mod competitors;
mod content;
mod draw;
mod enhanced;
mod onboarding;
mod persona;
mod strategy;
mod user;
mod website;
mod words;

use chrono::NaiveDate;
use sea_orm::{ConnectionTrait, DbErr, Statement, TransactionSession, TransactionTrait};

use batch::RowBatch;
use draw::Draw;
use user::{Story, User, users};

#[derive(Clone, Copy, Debug)]
pub struct SeedOptions {
    /// Changes numbers and texts, but not the users' stories.
    pub seed: u64,
    /// The day that all dates are relative to: today, or a fixed one for tests.
    pub base_day: NaiveDate,
}

impl SeedOptions {
    /// With the default seed.
    #[must_use]
    pub fn on(base_day: NaiveDate) -> Self {
        Self { seed: 42, base_day }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeded {
    pub users: usize,
    pub rows: usize,
    /// Nothing was written, because the sources had users.
    pub already: bool,
}

/// Writes the demo data, in one transaction, if the source tables have no users.
/// `progress` is called with the number of rows written and of all rows.
pub async fn seed<C: ConnectionTrait + TransactionTrait>(
    db: &C,
    options: &SeedOptions,
    mut progress: impl FnMut(usize, usize),
) -> Result<Seeded, DbErr> {
    // If two programs seed at once, the second one waits here, and then finds users.
    let transaction = userdata_migrations::begin_alone(db).await?;
    if !sources_are_empty(&transaction).await? {
        transaction.rollback().await?;
        return Ok(Seeded { users: 0, rows: 0, already: true });
    }
    let users = users(options.base_day);
    let mut batch = RowBatch::default();
    for user in &users {
        describe(user, &mut Draw::new(options.seed, user.id), &mut batch);
    }
    let rows = batch.len();
    batch.insert(&transaction, |done| progress(done, rows)).await?;
    transaction.commit().await?;
    Ok(Seeded { users: users.len(), rows, already: false })
}

/// Whether there is no session and no strategy of either kind.
pub async fn sources_are_empty(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    for table in ["onboarding_sessions", "enhanced_content_strategies", "content_strategies"] {
        let any = Statement::from_string(db.get_database_backend(), format!("SELECT id FROM {table} LIMIT 1"));
        if db.query_one_raw(any).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Adds all rows of one user. Order: parents before their children.
fn describe(user: &User, draw: &mut Draw, batch: &mut RowBatch) {
    let session = onboarding::describe(user, draw, batch);
    website::describe(user, session, draw, batch);
    if user.story != Story::NoCompetition {
        persona::describe(user, session, draw, batch);
        website::audit_pages(user, draw, batch);
        competitors::describe(user, session, draw, batch);
    }
    if user.story == Story::OnboardingOnly {
        return;
    }
    let legacy = strategy::describe(user, draw, batch);
    if let (Some(legacy), true) = (legacy, user.story != Story::LegacyOnly) {
        content::describe(user, legacy, draw, batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(users: &[User], seed: u64) -> Vec<String> {
        let mut batch = RowBatch::default();
        for user in users {
            describe(user, &mut Draw::new(seed, user.id), &mut batch);
        }
        batch.described()
    }

    #[test]
    fn a_user_more_or_less_changes_no_other() {
        let users = users(NaiveDate::from_ymd_opt(2025, 9, 1).unwrap());
        let all: std::collections::BTreeSet<String> = rows(&users, 42).into_iter().collect();
        let mut count = 0;
        for user in &users {
            let own = rows(&[*user], 42);
            count += own.len();
            assert!(own.iter().all(|row| all.contains(row)), "{}", user.id);
        }
        assert_eq!(count, all.len(), "no user has a row of another");
    }

    #[test]
    fn every_column_that_is_read_is_filled() {
        let mut batch = RowBatch::default();
        for user in &users(NaiveDate::from_ymd_opt(2025, 9, 1).unwrap()) {
            describe(user, &mut Draw::new(42, user.id), &mut batch);
        }
        assert_eq!(batch.unlike_the_description(), Vec::<String>::new());
    }

    #[test]
    fn the_seed_decides_the_texts_and_not_the_stories() {
        let users = users(NaiveDate::from_ymd_opt(2025, 9, 1).unwrap());
        assert_eq!(rows(&users, 42), rows(&users, 42));
        assert_ne!(rows(&users, 42), rows(&users, 43));
        let ids: Vec<&str> = users.iter().map(|user| user.id).collect();
        assert_eq!((ids.len(), ids[0], ids[29], ids[32]), (33, "1", "30", "demo_chloé"));
    }
}
