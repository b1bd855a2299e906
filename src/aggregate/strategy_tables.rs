//! The source tables of the strategy and performance sources on a temporary SQLite database: the
//! columns and indexes of data.md section 12, in words that both databases understand.

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Value};
use tempfile::TempDir;

use super::sql::SourceDatabase;

/// A column limit small enough to exceed in a test.
pub(super) const COLUMN_BYTES_MAX: usize = 16 * 1024;

const TABLES: [&str; 7] = [
    "CREATE TABLE content_strategies (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL, name VARCHAR(255) NOT NULL,
       industry VARCHAR(100), target_audience JSON, content_pillars JSON, ai_recommendations JSON,
       created_at TIMESTAMP, updated_at TIMESTAMP)",
    "CREATE TABLE enhanced_content_strategies (id INTEGER PRIMARY KEY, user_id VARCHAR(255) NOT NULL,
       name VARCHAR(255) NOT NULL, industry VARCHAR(100), content_budget FLOAT, team_size INTEGER,
       implementation_timeline VARCHAR(100), market_share VARCHAR(50), competitive_position VARCHAR(50),
       content_frequency VARCHAR(50), ab_testing_capabilities BOOLEAN, completion_percentage FLOAT,
       created_at TIMESTAMP, updated_at TIMESTAMP, target_audience JSON, content_pillars JSON, ai_recommendations JSON,
       business_objectives JSON, target_metrics JSON, content_preferences JSON, consumption_patterns JSON,
       audience_pain_points JSON, buying_journey JSON, seasonal_trends JSON, engagement_metrics JSON,
       top_competitors JSON, competitor_content_strategies JSON, market_gaps JSON, industry_trends JSON,
       emerging_trends JSON, preferred_formats JSON, content_mix JSON, optimal_timing JSON, quality_metrics JSON,
       editorial_guidelines JSON, brand_voice JSON, traffic_sources JSON, conversion_rates JSON,
       content_roi_targets JSON, comprehensive_ai_analysis JSON, onboarding_data_used JSON, strategic_scores JSON,
       market_positioning JSON, competitive_advantages JSON, strategic_risks JSON, opportunity_analysis JSON,
       data_source_transparency JSON)",
    "CREATE TABLE strategy_activation_status (id INTEGER PRIMARY KEY, strategy_id INTEGER NOT NULL,
       user_id INTEGER NOT NULL DEFAULT 0, activation_date TIMESTAMP, status VARCHAR(50), performance_score INTEGER,
       last_updated TIMESTAMP)",
    "CREATE TABLE strategy_performance_metrics (id INTEGER PRIMARY KEY, strategy_id INTEGER NOT NULL,
       user_id VARCHAR(255) NOT NULL, metric_date TIMESTAMP, traffic_growth_percentage INTEGER,
       engagement_rate_percentage INTEGER, conversion_rate_percentage INTEGER, roi_ratio INTEGER,
       strategy_adoption_rate INTEGER, content_quality_score INTEGER, competitive_position_rank INTEGER,
       audience_growth_percentage INTEGER, confidence_score INTEGER, data_source VARCHAR(100))",
    "CREATE TABLE calendar_events (id INTEGER PRIMARY KEY, strategy_id INTEGER NOT NULL, title VARCHAR(255) NOT NULL,
       description TEXT, content_type VARCHAR(50) NOT NULL, platform VARCHAR(50) NOT NULL,
       scheduled_date TIMESTAMP NOT NULL, status VARCHAR(20))",
    "CREATE TABLE content_analytics (id INTEGER PRIMARY KEY, event_id INTEGER, strategy_id INTEGER,
       platform VARCHAR(50) NOT NULL, metrics JSON, performance_score FLOAT, recorded_at TIMESTAMP)",
    "CREATE TABLE content_recommendations (id INTEGER PRIMARY KEY, strategy_id INTEGER, user_id INTEGER NOT NULL,
       recommendation_type VARCHAR(50) NOT NULL, title VARCHAR(255) NOT NULL, description TEXT, target_keywords JSON,
       estimated_length VARCHAR(100), priority VARCHAR(20), platforms JSON, estimated_performance VARCHAR(100),
       status VARCHAR(20), created_at TIMESTAMP, updated_at TIMESTAMP)",
];

const INDEXES: [&str; 8] = [
    "CREATE INDEX ix_legacy ON content_strategies (user_id, id)",
    "CREATE INDEX ix_enhanced ON enhanced_content_strategies (user_id, created_at DESC, id DESC)",
    "CREATE INDEX ix_activation ON strategy_activation_status (strategy_id, status)",
    "CREATE INDEX ix_metrics ON strategy_performance_metrics (strategy_id, metric_date DESC, id DESC)",
    "CREATE INDEX ix_events ON calendar_events (strategy_id, scheduled_date DESC, id DESC)",
    "CREATE INDEX ix_analytics_strategy ON content_analytics (strategy_id, recorded_at)",
    "CREATE INDEX ix_analytics_event ON content_analytics (event_id, recorded_at)",
    "CREATE INDEX ix_recommendations ON content_recommendations (user_id, updated_at DESC)",
];

/// The tables, empty at first; they go with this value.
pub(super) struct StrategyTables {
    pub(super) database: SourceDatabase,
    connection: DatabaseConnection,
    _directory: TempDir,
}

impl StrategyTables {
    pub(super) async fn create() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sources.db");
        let mut options = ConnectOptions::new(format!("sqlite://{}?mode=rwc", file.display()));
        options.max_connections(2).sqlx_logging(false);
        let connection = Database::connect(options).await.unwrap();
        let tables = Self {
            database: SourceDatabase::new(connection.clone().into(), COLUMN_BYTES_MAX),
            connection,
            _directory: directory,
        };
        for statement in TABLES.iter().chain(&INDEXES) {
            tables.execute(statement).await;
        }
        tables
    }

    pub(super) async fn execute(&self, sql: &str) {
        self.connection.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    /// How the database would run a statement, one step a line.
    pub(super) async fn plan(&self, sql: &str, values: &[(&str, Value)]) -> String {
        let reading = self.database.begin().await.unwrap();
        let steps = reading.all(&format!("EXPLAIN QUERY PLAN {sql}"), values).await.unwrap();
        let steps: Vec<String> = steps.iter().filter_map(|step| step.text("detail")).collect();
        steps.join("\n")
    }
}
