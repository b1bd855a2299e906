//! The planning application's tables as far as we read them, for the embedded database and for tests, and the outbox
//! through which their changes reach the invalidation log.

use sea_orm::DatabaseBackend;

use crate::{script::Script, set::Set};

pub(crate) const SET: Set = Set {
    record: "userdata_source_migrations",
    scripts: &[Script {
        name: "s0001_initial",
        postgres: concat!(
            include_str!("sources/onboarding.postgres.sql"),
            include_str!("sources/strategies.postgres.sql"),
            include_str!("sources/content.postgres.sql"),
            include_str!("sources/outbox.postgres.sql"),
        ),
        sqlite: concat!(
            include_str!("sources/onboarding.sqlite.sql"),
            include_str!("sources/strategies.sqlite.sql"),
            include_str!("sources/content.sqlite.sql"),
            include_str!("sources/outbox.sqlite.sql"),
        ),
        tables: &[
            "invalidation_outbox_state",
            "invalidation_outbox_consumer",
            "invalidation_outbox",
            "content_recommendations",
            "content_analytics",
            "calendar_events",
            "strategy_performance_metrics",
            "strategy_activation_status",
            "enhanced_content_strategies",
            "content_strategies",
            "content_gap_analyses",
            "deep_competitor_analysis_execution_logs",
            "deep_competitor_analysis_tasks",
            "seo_page_audits",
            "competitor_analyses",
            "platform_integrations",
            "persona_data",
            "research_preferences",
            "website_analyses",
            "onboarding_sessions",
        ],
    }],
};

/// The outbox alone.
pub(crate) fn outbox(backend: DatabaseBackend) -> &'static str {
    match backend {
        DatabaseBackend::Sqlite => include_str!("sources/outbox.sqlite.sql"),
        _ => include_str!("sources/outbox.postgres.sql"),
    }
}
