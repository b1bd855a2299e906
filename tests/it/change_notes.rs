//! The notes that triggers write, and what a cluster reads of them: each change exactly once, of whatever order of
//! commits, and nothing of it harms the application's own writes.

mod consuming;
mod concurrent;
mod migrating;
mod partitions;
mod watching;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use userdata::{
    changes::{Consumed, Outbox, Reading},
    model::{Invalidation, Section, SectionSet, StrategyId, UserId},
};

use testkit::{database::TestDatabase, sources::Sources};

/// A cluster that reads an outbox, and stores what it has consumed in memory.
struct Cluster {
    outbox: Outbox,
    consumed: Consumed,
}

impl Cluster {
    /// One that has read everything so far.
    async fn begin(place: &TestDatabase) -> Self {
        let outbox = Outbox::new(place.connect().await.into());
        let consumed = outbox.read(None).await.unwrap().consumed;
        Self { outbox, consumed }
    }

    async fn read(&mut self) -> Reading {
        let reading = self.outbox.read(Some(&self.consumed)).await.unwrap();
        self.consumed = reading.consumed.clone();
        reading
    }

    /// Whom the new notes concern.
    async fn told(&mut self) -> Vec<String> {
        let reading = self.read().await;
        assert_eq!(reading.discontinuity, None);
        told(&reading)
    }
}

/// In a fixed order: the user, its strategy after a slash, and the sections as bits; everyone is `*`.
fn told(reading: &Reading) -> Vec<String> {
    let one = |change: &Invalidation<UserId>| match change {
        Invalidation::Of(scope) => {
            let strategy = scope.strategy.map(|strategy| format!("/{}", StrategyId::get(strategy)));
            format!("{}{} {}", scope.user.as_str(), strategy.unwrap_or_default(), scope.sections.bits())
        }
        Invalidation::OfEveryone(sections) => format!("* {}", sections.bits()),
    };
    let mut told: Vec<String> = reading.changes.iter().map(one).collect();
    told.sort();
    told
}

/// Sections as [`told`] shows them.
fn bits(sections: &[Section]) -> i64 {
    sections.iter().copied().collect::<SectionSet>().bits()
}

/// Sources with triggers, two users, and a cluster that has read everything so far.
async fn watched(sources: &Sources) -> Cluster {
    sources.add_user("a", &[11]).await;
    sources.add_user("b", &[12]).await;
    userdata::changes::install(&sources.db).await.unwrap();
    Cluster::begin(&sources.database).await
}

/// Statements in one session, whose PL/pgSQL plans stay.
async fn in_one_session(db: &DatabaseConnection, statements: &[&str]) {
    use sea_orm::TransactionTrait;
    let session = db.begin().await.unwrap();
    for statement in statements {
        session.execute_unprepared(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    session.commit().await.unwrap();
}
