//! The statements, each named for the question that it answers. A column that none of them names (secrets, crawled
//! pages) is never read.

use crate::database::SqlFile;

/// All of them.
pub(super) const STATEMENTS: [SqlFile; 12] = [
    SESSION,
    WEBSITE,
    RESEARCH_PREFERENCES,
    PERSONA,
    PLATFORM_INTEGRATIONS,
    COMPETITORS,
    PAGE_AUDIT_SUMMARY,
    WORST_PAGES,
    DEEP_TASK,
    DEEP_TASK_LAST_RUN,
    DEEP_TASK_LAST_REPORT,
    STORED_GAPS,
];

pub(super) const SESSION: SqlFile = SqlFile::same(include_str!("sql/session.sql"));
pub(super) const WEBSITE: SqlFile = SqlFile::same(include_str!("sql/website.sql"));
pub(super) const RESEARCH_PREFERENCES: SqlFile = SqlFile::same(include_str!("sql/research_preferences.sql"));
pub(super) const PERSONA: SqlFile = SqlFile::same(include_str!("sql/persona.sql"));
pub(super) const PLATFORM_INTEGRATIONS: SqlFile = SqlFile::same(include_str!("sql/platform_integrations.sql"));
pub(super) const COMPETITORS: SqlFile = SqlFile::same(include_str!("sql/competitors.sql"));
pub(super) const PAGE_AUDIT_SUMMARY: SqlFile = SqlFile::same(include_str!("sql/page_audit_summary.sql"));
pub(super) const WORST_PAGES: SqlFile = SqlFile {
    postgres: include_str!("sql/worst_pages.postgres.sql"),
    sqlite: include_str!("sql/worst_pages.sqlite.sql"),
};
pub(super) const DEEP_TASK: SqlFile = SqlFile::same(include_str!("sql/deep_task.sql"));
pub(super) const DEEP_TASK_LAST_RUN: SqlFile = SqlFile::same(include_str!("sql/deep_task_last_run.sql"));
pub(super) const DEEP_TASK_LAST_REPORT: SqlFile = SqlFile::same(include_str!("sql/deep_task_last_report.sql"));
pub(super) const STORED_GAPS: SqlFile = SqlFile::same(include_str!("sql/stored_gaps.sql"));
