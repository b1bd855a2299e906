//! The sources without a server: what is assembled from a database at a given instant.

use std::time::Duration;

use crate::{
    database::TestDatabase,
    server::{Server, Settings, serve},
};
use chrono::{DateTime, NaiveDate, Utc};
use prost::Message as _;
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use userdata::{
    aggregate::{
        AggregateError, Aggregator, Assembled, Plan,
        ai_analysis::{AiAnalysis, ResponseCache},
        guard::Guard,
        sql::SourceDatabase,
    },
    clock::Clock,
    config,
    lease::Leases,
    model::{
        Parameters, Section, SectionSet, StrategyId, UserDataQuery, UserId, section::DOCUMENT_ORDER,
        snapshot::SectionFacts,
    },
    proto::v1::ComprehensiveUserData,
};

/// The users of the demo.
#[rustfmt::skip]
pub const DEMO_USERS: [&str; 33] = [
    "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20",
    "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "demo_anna", "demo_ben", "demo_chloé",
];

/// The day from which tests that fix their instant date the demo.
pub fn base_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2025, 9, 1).unwrap()
}

/// Noon of that day.
pub fn noon() -> DateTime<Utc> {
    base_day().and_hms_opt(12, 0, 0).unwrap().and_utc()
}

/// The five sources on this database, with the rules for an AI.
pub fn aggregator(db: &DatabaseConnection, config: &config::SourcesSettings) -> Aggregator {
    aggregator_asking(db, config, &config::AiSettings::default())
}

/// The same with a model, if `model` names an endpoint.
pub fn aggregator_asking(
    db: &DatabaseConnection,
    config: &config::SourcesSettings,
    model: &config::AiSettings,
) -> Aggregator {
    let clock = Clock::system();
    let guard = Guard::new("ai_analysis", config, clock.clone());
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let second = Duration::from_secs(1);
    let leases = Leases::new(
        db.clone().into(),
        &config::LoadLeaseSettings::default(),
        second,
        clock.clone(),
        tasks.clone(),
        stop,
    );
    let ai = AiAnalysis::new(model, guard, ResponseCache::new(db.clone().into()), leases.into(), clock.clone(), tasks);
    Aggregator::new(SourceDatabase::new(db.clone().into(), config.column_bytes_max), ai.unwrap(), config, clock)
}

/// Limits that a busy machine does not reach.
pub fn patient() -> config::SourcesSettings {
    let minute = Duration::from_secs(60);
    config::SourcesSettings { soft_timeout: minute, hard_timeout: minute, ..config::SourcesSettings::default() }
}

/// One assembly of all sections.
pub async fn assemble(
    aggregator: &Aggregator,
    user: &str,
    strategy: Option<i64>,
    as_of: DateTime<Utc>,
) -> Result<Assembled, AggregateError> {
    let strategy = strategy.map(|id| StrategyId::new(id).unwrap());
    let query = UserDataQuery::new(UserId::parse(user).unwrap(), strategy, Parameters::none());
    let budget = Duration::from_secs(60);
    let plan = Plan { sections: SectionSet::ALL, as_of, refresh: false, budget, onboarding: None, ai_calls: None };
    aggregator.aggregate(&query, &plan).await
}

/// The document's bytes, as a snapshot has them.
pub fn payload(assembled: &Assembled) -> Vec<u8> {
    let bytes = |section| &assembled.parts.iter().find(|part| part.facts.section == section).unwrap().bytes;
    DOCUMENT_ORDER.into_iter().flat_map(|section| bytes(section).iter().copied()).collect()
}

/// The document.
pub fn document(assembled: &Assembled) -> ComprehensiveUserData {
    ComprehensiveUserData::decode(&payload(assembled)[..]).unwrap()
}

/// A document's JSON form.
pub fn json(document: &ComprehensiveUserData) -> String {
    serde_json::to_string(document).unwrap()
}

/// How a section came about.
pub fn facts(assembled: &Assembled, section: Section) -> &SectionFacts {
    &assembled.parts.iter().find(|part| part.facts.section == section).unwrap().facts
}

/// Serves from a database that is there, with these further variables.
pub async fn serve_from(database: &TestDatabase, environment: &[(&str, &str)]) -> Server {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let flags = vec!["--database-url".to_owned(), database.url.clone()];
    serve(Settings { uid: None, files: None, flags, environment: environment.iter().map(own).collect() }).await
}

/// The first column of the first row, as text.
pub async fn scalar(db: &DatabaseConnection, sql: &str) -> Option<String> {
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap()?;
    row.try_get_by_index(0).unwrap()
}

/// Runs statements, one after the other.
pub async fn execute(db: &DatabaseConnection, sql: &str) {
    db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
}
