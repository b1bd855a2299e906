//! The statements, one function each, named for what it answers. All columns that are read are
//! listed here; what is not listed (secrets, crawled pages) is never read.
//!
//! `t.` before a column in ORDER BY is not decoration: without it, both databases would sort by the
//! selected text of the same name, and use no index for it.

use crate::aggregate::sql::{
    Column::{self, Boolean, Integer, Json, Text, Time},
    Dialect,
};

/// "Newest", wherever several rows could be meant.
const NEWEST: &str = "t.updated_at DESC NULLS LAST, t.id DESC";

const WEBSITE: [Column; 9] = [
    Text("website_url"),
    Json("writing_style"),
    Json("target_audience"),
    Json("content_type"),
    Json("brand_analysis"),
    Json("content_strategy_insights"),
    Json("style_guidelines"),
    Json("seo_audit"),
    Json("strategic_insights_history"),
];
const RESEARCH: [Column; 6] = [
    Text("research_depth"),
    Json("content_types"),
    Boolean("auto_research"),
    Boolean("factual_content"),
    Json("writing_style"),
    Json("target_audience"),
];
const PERSONA: [Column; 3] = [Json("core_persona"), Json("platform_personas"), Json("selected_platforms")];
const COMPETITOR: [Column; 5] = [
    Text("competitor_url"),
    Text("competitor_domain"),
    Time("analysis_date"),
    Time("updated_at"),
    Json("analysis_data"),
];
const PAGE: [Column; 3] = [Text("page_url"), Integer("overall_score"), Text("status")];
const DEEP_TASK: [Column; 4] = [Integer("id"), Text("status"), Time("next_execution"), Json("payload")];
const RUN: [Column; 2] = [Time("execution_date"), Text("status")];
const REPORT: [Column; 1] = [Json("result_data")];
const GAP: [Column; 4] =
    [Json("target_keywords"), Json("analysis_results"), Json("recommendations"), Json("opportunities")];

/// Which session is the user's? `:user`
pub(super) fn session(dialect: Dialect) -> String {
    let id = dialect.select("t", &[Integer("id")]);
    format!("SELECT {id} FROM onboarding_sessions t WHERE t.user_id = :user ORDER BY {NEWEST} LIMIT 1")
}

/// What was found out about the site? An analysis that was completed comes first. `:session`
pub(super) fn website(dialect: Dialect) -> String {
    format!(
        "SELECT {} FROM website_analyses t WHERE t.session_id = :session \
         ORDER BY CASE WHEN t.status = 'completed' THEN 0 ELSE 1 END, {NEWEST} LIMIT 1",
        dialect.select("t", &WEBSITE)
    )
}

/// How is research to be done? `:session`
pub(super) fn research(dialect: Dialect) -> String {
    of_session(dialect, "research_preferences", &RESEARCH, 1)
}

/// In whose voice is written? `:session`
pub(super) fn persona(dialect: Dialect) -> String {
    of_session(dialect, "persona_data", &PERSONA, 1)
}

/// Who are the competitors? `:session`
pub(super) fn competitors(dialect: Dialect) -> String {
    of_session(dialect, "competitor_analyses", &COMPETITOR, 50)
}

fn of_session(dialect: Dialect, table: &str, columns: &[Column], rows_max: u32) -> String {
    let columns = dialect.select("t", columns);
    format!("SELECT {columns} FROM {table} t WHERE t.session_id = :session ORDER BY {NEWEST} LIMIT {rows_max}")
}

/// How did the site's pages do in their audits? `:user`, `:url`
pub(super) fn page_audit_summary(_: Dialect) -> String {
    "SELECT COUNT(*) AS pages_audited, COUNT(t.overall_score) AS pages_scored, \
     AVG(CAST(t.overall_score AS DOUBLE PRECISION)) AS avg_score, \
     COUNT(CASE WHEN t.overall_score IS NOT NULL AND LOWER(t.status) = 'fix_scheduled' THEN 1 END) \
     AS fix_scheduled_pages \
     FROM seo_page_audits t WHERE t.user_id = :user AND t.website_url = :url"
        .to_owned()
}

/// Which pages did worst? `:user`, `:url`
pub(super) fn worst_pages(dialect: Dialect) -> String {
    // Code-point order on both databases: in PostgreSQL's own collation equal scores would be cut
    // off at other pages than in SQLite. The index still serves the scores.
    let collation = if dialect.is_sqlite() { "BINARY" } else { "\"C\"" };
    format!(
        "SELECT {} FROM seo_page_audits t \
         WHERE t.user_id = :user AND t.website_url = :url AND t.overall_score IS NOT NULL \
         ORDER BY t.overall_score, t.page_url COLLATE {collation} LIMIT 5",
        dialect.select("t", &PAGE)
    )
}

/// Is there a deep analysis of competitors? That of the site comes first. `:user`, `:url`
pub(super) fn deep_task(dialect: Dialect) -> String {
    of_site_first("deep_competitor_analysis_tasks", &dialect.select("t", &DEEP_TASK))
}

/// When did it last run, and with what result? `:task`
pub(super) fn last_run(dialect: Dialect) -> String {
    format!(
        "SELECT {} FROM deep_competitor_analysis_execution_logs t WHERE t.task_id = :task \
         ORDER BY t.execution_date DESC, t.id DESC LIMIT 1",
        dialect.select("t", &RUN)
    )
}

/// What did it last find? `:task`
pub(super) fn last_report(dialect: Dialect) -> String {
    format!(
        "SELECT {} FROM deep_competitor_analysis_execution_logs t WHERE t.task_id = :task AND t.status = 'success' \
         ORDER BY t.execution_date DESC, t.id DESC LIMIT 1",
        dialect.select("t", &REPORT)
    )
}

/// What did the stored gap analysis find? That of the site comes first. `:user` is the integer, `:url`
pub(super) fn gap(dialect: Dialect) -> String {
    of_site_first("content_gap_analyses", &dialect.select("t", &GAP))
}

fn of_site_first(table: &str, columns: &str) -> String {
    format!(
        "SELECT {columns} FROM {table} t WHERE t.user_id = :user \
         ORDER BY CASE WHEN t.website_url = :url THEN 0 ELSE 1 END, {NEWEST} LIMIT 1"
    )
}

/// All of them, for what has to hold for each.
#[cfg(test)]
pub(super) const ALL: [fn(Dialect) -> String; 11] = [
    session,
    website,
    research,
    persona,
    competitors,
    page_audit_summary,
    worst_pages,
    deep_task,
    last_run,
    last_report,
    gap,
];
