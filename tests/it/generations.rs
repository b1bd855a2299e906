//! The planning application's schema in three generations, on either database and with either form of user ids.

mod documents;
mod random;
mod running;
mod types;

use sea_orm::ConnectionTrait;
use testkit::{
    database::{BOTH, Kind},
    generations::{FORMS, GENERATIONS, Generation, Ids, Planning},
};

/// How many rows each table of the fixtures has, of those that are there.
async fn rows(planning: &Planning, kind: Kind) -> Vec<(&'static str, i64)> {
    let database = planning.database(kind).await;
    let mut counts = Vec::new();
    for table in TABLES {
        if !userdata_migrations::columns_of(&database.connect().await, table).await.unwrap().is_empty() {
            let count = database.rows(&format!("SELECT COUNT(*) AS n FROM {table}")).await;
            counts.push((table, count[0].try_get("", "n").unwrap()));
        }
    }
    counts
}

const TABLES: [&str; 17] = [
    "onboarding_sessions",
    "website_analyses",
    "research_preferences",
    "persona_data",
    "competitor_analyses",
    "platform_integrations",
    "seo_page_audits",
    "deep_competitor_analysis_tasks",
    "deep_competitor_analysis_execution_logs",
    "content_gap_analyses",
    "enhanced_content_strategies",
    "strategy_activation_status",
    "strategy_performance_metrics",
    "content_strategies",
    "calendar_events",
    "content_analytics",
    "content_recommendations",
];

#[tokio::test(flavor = "multi_thread")]
async fn fixtures_have_the_same_rows_on_either_database_for_either_form_of_ids() {
    for (generation, tables) in GENERATIONS.into_iter().zip([11, 16, 17]) {
        let mut all = Vec::new();
        for kind in BOTH {
            for ids in FORMS {
                all.push(rows(&Planning::of(generation, ids), kind).await);
            }
        }
        assert_eq!(all[0].len(), tables, "{generation:?}");
        assert!(all[0].iter().all(|(_, rows)| *rows > 0), "{:?}", all[0]);
        assert!(all.iter().all(|rows| *rows == all[0]), "{generation:?}: {all:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_texts_and_fractions_in_integer_columns() {
    let planning = Planning::of(Generation::Newest, Ids::Clerk);
    let database = planning.database(Kind::Sqlite).await;
    planning.only_sqlite_takes(&database.connect().await).await;
    let db = database.connect().await;
    let kind_of = async |sql: &str| {
        let statement = sea_orm::Statement::from_string(db.get_database_backend(), sql);
        db.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index::<String>(0).unwrap()
    };
    assert_eq!(kind_of("SELECT typeof(user_id) FROM content_strategies WHERE id = 1").await, "text");
    let confidence = "SELECT typeof(confidence_score) FROM strategy_performance_metrics WHERE id = 9";
    assert_eq!(kind_of(confidence).await, "real");
}
