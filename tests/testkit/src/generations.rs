//! The planning application's schema in three of its generations, with rows as the application writes them.
//!
//! The texts under `generations/` are written down from its models. They are what its `create_all` makes on SQLite;
//! PostgreSQL differs in two types only. The rows are the same on either database and for either form of user id, so
//! that documents can be compared; only the columns that a generation lacks are left out.

mod altered;
mod batch;
mod content;
mod onboarding;
mod strategies;

use chrono::{Days, NaiveDate, NaiveDateTime};
use sea_orm::DatabaseConnection;

pub use self::altered::{Column, Table};
use self::batch::Rows;
use crate::database::{Kind, TestDatabase, database, execute, today};

/// The application's schema at one of its commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generation {
    /// 2025-08-22.
    Aug22,
    /// 2026-06-13.
    Jun26,
    /// 2026-08-14.
    Newest,
}

/// Oldest first.
pub const GENERATIONS: [Generation; 3] = [Generation::Aug22, Generation::Jun26, Generation::Newest];

/// How the application names its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Until 2025: integers.
    Numeric,
    /// Since then: texts of its identity provider, Clerk.
    Clerk,
}

/// Requirements hold for both.
pub const FORMS: [Ids; 2] = [Ids::Numeric, Ids::Clerk];

/// A user, by the rows that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Rows in every table.
    Onboarded,
    /// A session, and nothing else.
    SessionOnly,
    /// A legacy strategy with calendar, analytics, recommendations and a gap row; no session.
    LegacyOnly,
    /// Came through LinkedIn: a session with a payload and a connected platform, where the generation has them.
    LinkedIn,
    /// Rows with values that are legal for the application and odd for a reader.
    Odd,
}

/// All users that [`Planning::fill`] writes.
pub const USERS: [Who; 5] = [Who::Onboarded, Who::SessionOnly, Who::LegacyOnly, Who::LinkedIn, Who::Odd];

impl Ids {
    /// The id of a user.
    pub fn of(self, who: Who) -> &'static str {
        match (self, who) {
            (Self::Numeric, Who::Onboarded) => "7",
            (Self::Numeric, Who::SessionOnly) => "8",
            (Self::Numeric, Who::LegacyOnly) => "9",
            (Self::Numeric, Who::LinkedIn) => "10",
            (Self::Numeric, Who::Odd) => "11",
            (Self::Clerk, Who::Onboarded) => "user_33Gz1FPI86VDXhRY8QN4ragRFGN",
            (Self::Clerk, Who::SessionOnly) => "user_2aB9kQmT4wXyZ0LpN7sVcD1eFhJ",
            (Self::Clerk, Who::LegacyOnly) => "user_30QwErTyUiOpAsDfGhJkLzXcVbN",
            (Self::Clerk, Who::LinkedIn) => "user_31LinkedInProfileOfAUserOnly",
            (Self::Clerk, Who::Odd) => "user_32OddValuesAreLegalTooXyZ12",
        }
    }
}

/// The tables of a generation.
#[derive(Clone, Copy, Debug)]
pub struct Planning {
    pub generation: Generation,
    pub ids: Ids,
    /// The day from which rows are dated. All lie far from the ends of the windows that figures are counted in.
    pub base_day: NaiveDate,
}

impl Generation {
    /// The tables that the service reads, and how the application indexes them.
    pub fn schema(self, kind: Kind) -> String {
        let sqlite = match self {
            Self::Aug22 => include_str!("generations/aug22.sql"),
            Self::Jun26 => include_str!("generations/jun26.sql"),
            Self::Newest => include_str!("generations/newest.sql"),
        };
        match kind {
            Kind::Sqlite => sqlite.to_owned(),
            Kind::Postgres => sqlite
                .replace("id INTEGER NOT NULL, ", "id SERIAL NOT NULL, ")
                .replace(" DATETIME", " TIMESTAMP WITHOUT TIME ZONE"),
        }
    }

    /// The tables whose `user_id` is an integer.
    pub fn integer_users(self) -> &'static [&'static str] {
        const ALWAYS: [&str; 7] = [
            "content_strategies",
            "content_gap_analyses",
            "content_recommendations",
            "strategy_activation_status",
            "onboarding_sessions",
            "enhanced_content_strategies",
            "strategy_performance_metrics",
        ];
        match self {
            Self::Aug22 => &ALWAYS,
            Self::Jun26 | Self::Newest => &ALWAYS[..4],
        }
    }
}

impl Planning {
    /// With rows dated from today, for servers, which have a clock of their own.
    pub fn of(generation: Generation, ids: Ids) -> Self {
        Self { generation, ids, base_day: today() }
    }

    /// A database with the tables and all users' rows.
    pub async fn database(&self, kind: Kind) -> TestDatabase {
        let database = database(kind).await;
        let db = database.connect().await;
        self.create(&db, kind).await;
        self.fill(&db).await;
        db.close().await.unwrap();
        database
    }

    /// Creates the tables. PostgreSQL has no place for a Clerk id in an integer column: there the tables are those of
    /// the application's forks, which turn these columns into text.
    pub async fn create(&self, db: &DatabaseConnection, kind: Kind) {
        execute(db, &self.generation.schema(kind)).await;
        if kind == Kind::Postgres && self.ids == Ids::Clerk {
            self.users_become_texts(db).await;
        }
    }

    /// What the application's forks do on PostgreSQL.
    pub async fn users_become_texts(&self, db: &DatabaseConnection) {
        for table in self.generation.integer_users() {
            execute(db, &format!("ALTER TABLE {table} ALTER COLUMN user_id TYPE VARCHAR(255)")).await;
        }
    }

    /// Writes all users' rows.
    pub async fn fill(&self, db: &DatabaseConnection) {
        let mut rows = Rows::default();
        self.describe(&mut rows);
        rows.insert(db).await;
    }

    /// Order: parents before their children.
    fn describe(&self, rows: &mut Rows) {
        onboarding::sessions(self, rows);
        onboarding::onboarded(self, rows);
        onboarding::linkedin(self, rows);
        strategies::onboarded(self, rows);
        content::planned(self, Who::Onboarded, 1, rows);
        content::planned(self, Who::LegacyOnly, 2, rows);
        self.oddities(rows);
    }

    /// Values that either database takes. [`Planning::only_sqlite_takes`] has the others.
    fn oddities(&self, rows: &mut Rows) {
        let user = self.ids.of(Who::Odd);
        rows.add("website_analyses")
            .set("id", 9)
            .set("session_id", 5)
            .set("website_url", "https://odd.example")
            .json_null("target_audience")
            .json("seo_audit", serde_json::json!({"overall_score": 71, "summary": {"critical_issues": []}}))
            .set("updated_at", self.at(3, 8));
        rows.add("enhanced_content_strategies")
            .set("id", 9)
            .set("user_id", user)
            .set("name", "Odd values")
            .json_null("comprehensive_ai_analysis")
            .json("business_objectives", serde_json::json!("Grow; keep customers"))
            .json("content_pillars", serde_json::json!(["Guides", "Stories"]))
            .set("created_at", self.at(30, 8));
        rows.add("strategy_performance_metrics")
            .set("id", 9)
            .set("strategy_id", 9)
            .set("user_id", user)
            .set("metric_date", self.at(4, 8))
            .set("traffic_growth_percentage", 12)
            .set("confidence_score", 1);
    }

    /// SQLite keeps what its columns were not made for: a fraction in an INTEGER column, which the application writes
    /// by default, and JSON as Python writes it, with numbers that JSON does not have.
    pub async fn only_sqlite_takes(&self, db: &DatabaseConnection) {
        execute(db, "UPDATE strategy_performance_metrics SET confidence_score = 0.8 WHERE id = 9").await;
        if self.generation > Generation::Aug22 {
            let audit = r#"{"overall_score": 71, "speed": {"lcp": NaN, "cls": Infinity, "tbt": -Infinity}}"#;
            execute(db, &format!("UPDATE website_analyses SET seo_audit = '{audit}' WHERE id = 9")).await;
        }
    }

    /// So many days before the base day, at this hour.
    fn at(&self, days_ago: u64, hour: u32) -> NaiveDateTime {
        (self.base_day - Days::new(days_ago)).and_hms_opt(hour, 30, 0).unwrap()
    }
}
