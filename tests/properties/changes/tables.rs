//! The sources' tables, as docs/data.md says in sections 12 and 13: whose a row is, and what a change of it concerns. The
//! triggers are made from a table of the product's own.

use userdata::model::Section::{self, GapAnalysis, Onboarding, Performance, Recommendations, Strategy};

use testkit::inputs::{INPUTS, Input};

/// A table and what hangs on its rows.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Whose the row `r` is, as text.
    pub(super) owner: &'static str,
    /// What a change concerns; what is made from it follows.
    pub(super) sections: &'static [Section],
    /// Others point at it, so deleting from it takes much away.
    pub(super) is_parent: bool,
}

const OWN: &str = "CAST(r.user_id AS TEXT)";
const OF_SESSION: &str = "(SELECT p.user_id FROM onboarding_sessions p WHERE p.id = r.session_id)";
const OF_TASK: &str = "(SELECT p.user_id FROM deep_competitor_analysis_tasks p WHERE p.id = r.task_id)";
const OF_ENHANCED: &str = "(SELECT p.user_id FROM enhanced_content_strategies p WHERE p.id = r.strategy_id)";
const OWN_OR_OF_LEGACY: &str = "COALESCE(NULLIF(r.user_id, ''), \
    (SELECT CAST(p.user_id AS TEXT) FROM content_strategies p WHERE p.id = r.strategy_id))";
const OF_LEGACY_OR_EVENT: &str = "COALESCE((SELECT CAST(p.user_id AS TEXT) FROM content_strategies p \
    WHERE p.id = r.strategy_id), (SELECT COALESCE(NULLIF(e.user_id, ''), (SELECT CAST(p.user_id AS TEXT) \
    FROM content_strategies p WHERE p.id = e.strategy_id)) FROM calendar_events e WHERE e.id = r.event_id))";

const fn leaf(name: &'static str, owner: &'static str, sections: &'static [Section]) -> Table {
    Table { name, owner, sections, is_parent: false }
}

const fn parent(name: &'static str, owner: &'static str, sections: &'static [Section]) -> Table {
    Table { name, owner, sections, is_parent: true }
}

/// All of them.
pub(super) const TABLES: [Table; 17] = [
    parent("onboarding_sessions", OWN, &[Onboarding]),
    leaf("website_analyses", OF_SESSION, &[Onboarding]),
    leaf("research_preferences", OF_SESSION, &[Onboarding]),
    leaf("persona_data", OF_SESSION, &[Onboarding]),
    leaf("platform_integrations", OF_SESSION, &[Onboarding]),
    leaf("competitor_analyses", OF_SESSION, &[Onboarding]),
    leaf("seo_page_audits", OWN, &[Onboarding]),
    parent("deep_competitor_analysis_tasks", OWN, &[Onboarding]),
    leaf("deep_competitor_analysis_execution_logs", OF_TASK, &[Onboarding]),
    leaf("content_gap_analyses", OWN, &[Onboarding, GapAnalysis]),
    parent("enhanced_content_strategies", OWN, &[Strategy, Performance, Recommendations]),
    leaf("strategy_activation_status", OF_ENHANCED, &[Strategy, Performance, Recommendations]),
    leaf("strategy_performance_metrics", OF_ENHANCED, &[Strategy, Performance]),
    parent("content_strategies", OWN, &[Strategy, Performance, Recommendations, GapAnalysis]),
    parent("calendar_events", OWN_OR_OF_LEGACY, &[GapAnalysis, Performance]),
    leaf("content_analytics", OF_LEGACY_OR_EVENT, &[Performance]),
    leaf("content_recommendations", OWN, &[Recommendations]),
];

impl Table {
    /// The columns that are read.
    pub(super) fn input(&self) -> &'static Input {
        INPUTS.iter().find(|input| input.table == self.name).unwrap()
    }
}

/// A table by its name.
pub(super) fn table(name: &str) -> &'static Table {
    TABLES.iter().find(|table| table.name == name).unwrap()
}
