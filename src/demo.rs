//! Demo data: thirty-three users with everything the sources can find, and some that lack it.
//!
//! It is the same for the same seed and base day, on either database and with any set of users:
//! each has a stream of numbers and blocks of ids of its own. The texts are plausible, not random,
//! so that the gap analysis has something to find.

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
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};

use batch::RowBatch;
use draw::Draw;
use user::{Story, User, users};

/// What decides the data.
#[derive(Clone, Copy, Debug)]
pub struct SeedOptions {
    /// Another seed, other numbers and texts; the users' stories stay.
    pub seed: u64,
    /// The day that dates count from: today, or a fixed one for tests.
    pub base_day: NaiveDate,
}

impl SeedOptions {
    /// The usual seed.
    #[must_use]
    pub fn on(base_day: NaiveDate) -> Self {
        Self { seed: 42, base_day }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seeded {
    /// Users written.
    pub users: usize,
    /// TableRows written.
    pub rows: usize,
    /// There were users already, so nothing was written.
    pub already: bool,
}

/// Writes the demo data into empty source tables, in one transaction; into others, nothing.
/// `progress` hears of rows written and rows in all.
pub async fn seed(
    db: &DatabaseConnection,
    options: &SeedOptions,
    mut progress: impl FnMut(usize, usize),
) -> Result<Seeded, DbErr> {
    // Two programs that seed at once: the second waits, and finds users.
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

/// Whether no user is known: neither a session nor a strategy of either kind exists.
pub async fn sources_are_empty(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    for table in ["onboarding_sessions", "enhanced_content_strategies", "content_strategies"] {
        let any = Statement::from_string(db.get_database_backend(), format!("SELECT id FROM {table} LIMIT 1"));
        if db.query_one_raw(any).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Everything about one user. Order: what others refer to comes first.
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
        assert_eq!(count, all.len(), "and nobody has a row of another");
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
