//! The planning application's tables as far as we read them, for the embedded database and for
//! tests, and the outbox through which their changes reach the fence log.

use crate::{script::Script, set::Set};

pub(crate) const SET: Set = Set {
    record: "userdata_source_migrations",
    scripts: &[
        Script {
            name: "s0001_onboarding",
            postgres: include_str!("sources/onboarding.postgres.sql"),
            sqlite: include_str!("sources/onboarding.sqlite.sql"),
            tables: &[
                "content_gap_analyses",
                "deep_competitor_analysis_execution_logs",
                "deep_competitor_analysis_tasks",
                "seo_page_audits",
                "competitor_analyses",
                "persona_data",
                "research_preferences",
                "website_analyses",
                "onboarding_sessions",
            ],
        },
        Script {
            name: "s0002_strategies",
            postgres: include_str!("sources/strategies.postgres.sql"),
            sqlite: include_str!("sources/strategies.sqlite.sql"),
            tables: &[
                "strategy_performance_metrics",
                "strategy_activation_status",
                "enhanced_content_strategies",
                "content_strategies",
            ],
        },
        Script {
            name: "s0003_content",
            postgres: include_str!("sources/content.postgres.sql"),
            sqlite: include_str!("sources/content.sqlite.sql"),
            tables: &["content_recommendations", "content_analytics", "calendar_events"],
        },
        OUTBOX,
    ],
};

pub(crate) const OUTBOX: Script = Script {
    name: "s0004_outbox",
    postgres: include_str!("sources/outbox.postgres.sql"),
    sqlite: include_str!("sources/outbox.sqlite.sql"),
    tables: &["invalidation_outbox"],
};
