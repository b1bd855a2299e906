//! Snapshots and databases for the tiers' tests.

mod databases;

use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use prost::Message as _;

pub(super) use self::databases::{open_sqlite, postgres, sqlite};
use crate::{
    clock::Clock,
    model::{
        CacheKey, Generator, Parameters, Section, Snapshot, State, StrategyId, UserDataQuery, UserId,
        document::encode_sections,
        snapshot::{Part, SectionFacts},
    },
    proto::v1::ComprehensiveUserData,
};

/// The key of a query without parameters.
pub(super) fn key(user: &str, strategy: Option<i64>) -> CacheKey {
    let strategy = strategy.map(|number| StrategyId::new(number).unwrap());
    UserDataQuery::new(UserId::parse(user).unwrap(), strategy, Parameters::none()).key().clone()
}

/// The parts of a small document, all OK and read at `read_position`.
pub(super) fn parts(read_position: i64) -> Vec<Part> {
    let document = ComprehensiveUserData {
        user_id: "1".to_owned(),
        industry: "technology \"é\" \u{1f600}".to_owned(),
        onboarding_data: Some(crate::proto::v1::OnboardingData::default()),
        ..ComprehensiveUserData::default()
    };
    let read_at = Clock::system().utc();
    encode_sections(document)
        .into_iter()
        .map(|(section, bytes)| Part {
            facts: SectionFacts {
                section,
                state: State::Ok,
                generator: Generator::Database,
                read_at,
                took: Duration::from_micros(1234),
                reason: String::new(),
                warnings: vec!["MALFORMED_COLUMN website_analyses.seo_audit".to_owned()],
                detail: String::new(),
            },
            read_position,
            bytes,
            rows: Bytes::from_static(b"kept"),
        })
        .collect()
}

/// A complete snapshot assembled `age_s` seconds ago, fresh for an hour from now.
pub(super) fn snapshot(user: &str, strategy: Option<i64>, age_s: i64) -> Snapshot {
    sealed(user, strategy, age_s, TimeDelta::hours(1), parts(5))
}

/// The same with a section that failed.
pub(super) fn partial(user: &str, strategy: Option<i64>, age_s: i64) -> Snapshot {
    let mut parts = parts(5);
    let failed = parts.iter_mut().find(|part| part.facts.section == Section::Performance).unwrap();
    failed.facts.state = State::Failed;
    failed.facts.reason = "TIMEOUT".to_owned();
    sealed(user, strategy, age_s, TimeDelta::hours(1), parts)
}

pub(super) fn sealed(user: &str, strategy: Option<i64>, age_s: i64, life: TimeDelta, parts: Vec<Part>) -> Snapshot {
    let now = Clock::system().utc();
    let as_of = now - TimeDelta::seconds(age_s);
    let parts = parts.into_iter().map(|part| part_of(user, part)).collect();
    Snapshot::seal(key(user, strategy), "0b9e6f0c-epoch".into(), as_of, now + life, parts)
}

/// A stored document names its user.
fn part_of(user: &str, part: Part) -> Part {
    if part.facts.section != Section::Derived {
        return part;
    }
    let mut derived = ComprehensiveUserData::decode(part.bytes).unwrap();
    derived.user_id = user.to_owned();
    Part { bytes: derived.encode_to_vec().into(), ..part }
}

/// The document in a snapshot.
pub(super) fn document(snapshot: &Snapshot) -> ComprehensiveUserData {
    ComprehensiveUserData::decode(snapshot.payload.clone()).unwrap()
}

/// Waits for a state that a server is about to reach.
pub(super) async fn eventually<F: Future<Output = bool>>(what: &str, mut reached: impl FnMut() -> F) {
    let reaching = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), reaching).await.is_ok(), "never: {what}");
}
