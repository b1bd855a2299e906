//! Sends the statements, in one transaction, and hands out rows whose columns are parsed.

use chrono::{DateTime, Utc};
use sea_orm::{DbErr, Value};
use serde_json::Value as Json;

use super::{competitors, statements};
use crate::{
    aggregate::{
        rows::{CompetitorRow, GapRow, WebsiteRow},
        sql::{ReadTransaction, SourceRow, Warnings},
    },
    model::UserId,
    proto::v1::SeoPage,
};

/// Everything that was found. What hangs on a session is empty without one.
#[derive(Debug, Default)]
pub(super) struct OnboardingRows {
    pub(super) session: bool,
    pub(super) website: Option<Website>,
    pub(super) research: Option<Research>,
    pub(super) persona: Option<Persona>,
    /// One per domain, newest first.
    pub(super) competitors: Vec<CompetitorRow>,
    /// Of the website's pages; none without a website.
    pub(super) page_audits: Option<PageAudits>,
    pub(super) deep_task: Option<DeepTask>,
    pub(super) gap: Option<GapRow>,
}

/// `website_analyses`.
#[derive(Debug, Default)]
pub(super) struct Website {
    pub(super) url: Option<String>,
    pub(super) writing_style: Json,
    pub(super) target_audience: Json,
    pub(super) content_type: Json,
    pub(super) style_guidelines: Json,
    pub(super) strategic_insights_history: Json,
    /// The columns that other sources read, too.
    pub(super) shared: WebsiteRow,
}

/// `research_preferences`.
#[derive(Debug, Default)]
pub(super) struct Research {
    /// Absent if blank.
    pub(super) depth: Option<String>,
    pub(super) content_types: Json,
    pub(super) auto_research: Option<bool>,
    pub(super) factual_content: Option<bool>,
    pub(super) writing_style: Json,
    pub(super) target_audience: Json,
}

/// `persona_data`.
#[derive(Debug, Default)]
pub(super) struct Persona {
    pub(super) core: Json,
    pub(super) platform_personas: Json,
    pub(super) selected_platforms: Json,
}

/// `seo_page_audits` of one site, summed up.
#[derive(Debug, Default)]
pub(super) struct PageAudits {
    pub(super) pages_audited: i32,
    pub(super) pages_scored: i32,
    /// Absent if no page is scored.
    pub(super) avg_score: Option<f64>,
    pub(super) fix_scheduled_pages: i32,
    /// At most five, the worst first.
    pub(super) worst_pages: Vec<SeoPage>,
}

/// `deep_competitor_analysis_tasks` with its newest log and its newest successful one.
#[derive(Debug, Default)]
pub(super) struct DeepTask {
    pub(super) status: Option<String>,
    pub(super) next_execution: Option<DateTime<Utc>>,
    pub(super) payload: Json,
    pub(super) last_run: Option<DateTime<Utc>>,
    pub(super) last_status: Option<String>,
    pub(super) report: Json,
}

/// Loads everything of one user.
pub(super) async fn load(
    reading: &ReadTransaction,
    user: &UserId,
    warnings: &mut Warnings,
) -> Result<OnboardingRows, DbErr> {
    let mut loaded = match session(reading, user).await? {
        Some(session) => of_session(reading, session, warnings).await?,
        None => OnboardingRows::default(),
    };
    let url = loaded.website.as_ref().and_then(|website| website.url.clone());
    if let Some(url) = &url {
        loaded.page_audits = page_audits(reading, user, url, warnings).await?;
    }
    loaded.deep_task = deep_task(reading, user, url.as_deref(), warnings).await?;
    // This table knows users by number: who has none has no row there.
    if let Some(number) = user.integer() {
        loaded.gap = gap(reading, number, url.as_deref(), warnings).await?;
    }
    Ok(loaded)
}

async fn session(reading: &ReadTransaction, user: &UserId) -> Result<Option<i64>, DbErr> {
    let sql = statements::session(reading.dialect());
    let row = reading.one(&sql, &[("user", user.as_str().into())]).await?;
    Ok(row.and_then(|row| row.integer("id")))
}

async fn of_session(reading: &ReadTransaction, session: i64, warnings: &mut Warnings) -> Result<OnboardingRows, DbErr> {
    let dialect = reading.dialect();
    let of_session = [("session", Value::from(session))];
    let website = reading.one(&statements::website(dialect), &of_session).await?;
    let research = reading.one(&statements::research(dialect), &of_session).await?;
    let persona = reading.one(&statements::persona(dialect), &of_session).await?;
    let competitors = reading.all(&statements::competitors(dialect), &of_session).await?;
    Ok(OnboardingRows {
        session: true,
        website: website.map(|row| Website::from_row(&row, warnings)),
        research: research.map(|row| Research::from_row(&row, warnings)),
        persona: persona.map(|row| Persona::from_row(&row, warnings)),
        competitors: competitors::one_per_domain(competitors.iter().map(|row| competitor(row, warnings)).collect()),
        ..OnboardingRows::default()
    })
}

impl Website {
    fn from_row(row: &SourceRow, warnings: &mut Warnings) -> Self {
        let mut json = |column| row.json("website_analyses", column, warnings);
        Self {
            url: row.text("website_url"),
            writing_style: json("writing_style"),
            target_audience: json("target_audience"),
            content_type: json("content_type"),
            style_guidelines: json("style_guidelines"),
            strategic_insights_history: json("strategic_insights_history"),
            shared: WebsiteRow {
                brand_analysis: json("brand_analysis"),
                content_strategy_insights: json("content_strategy_insights"),
                seo_audit: json("seo_audit"),
            },
        }
    }
}

impl Research {
    fn from_row(row: &SourceRow, warnings: &mut Warnings) -> Self {
        let mut json = |column| row.json("research_preferences", column, warnings);
        Self {
            depth: row.text("research_depth").filter(|depth| !depth.trim().is_empty()),
            content_types: json("content_types"),
            auto_research: row.boolean("auto_research"),
            factual_content: row.boolean("factual_content"),
            writing_style: json("writing_style"),
            target_audience: json("target_audience"),
        }
    }
}

impl Persona {
    fn from_row(row: &SourceRow, warnings: &mut Warnings) -> Self {
        let mut json = |column| row.json("persona_data", column, warnings);
        Self {
            core: json("core_persona"),
            platform_personas: json("platform_personas"),
            selected_platforms: json("selected_platforms"),
        }
    }
}

fn competitor(row: &SourceRow, warnings: &mut Warnings) -> CompetitorRow {
    const TABLE: &str = "competitor_analyses";
    let url = row.text("competitor_url").unwrap_or_default();
    CompetitorRow {
        domain: competitors::domain(row.text("competitor_domain").as_deref(), &url),
        url,
        analysis_date: row.time(TABLE, "analysis_date", warnings),
        updated_at: row.time(TABLE, "updated_at", warnings),
        analysis_data: row.json(TABLE, "analysis_data", warnings),
    }
}

async fn page_audits(
    reading: &ReadTransaction,
    user: &UserId,
    url: &str,
    warnings: &mut Warnings,
) -> Result<Option<PageAudits>, DbErr> {
    const TABLE: &str = "seo_page_audits";
    let of_site = [("user", user.as_str().into()), ("url", url.into())];
    let Some(summary) = reading.one(&statements::page_audit_summary(reading.dialect()), &of_site).await? else {
        return Ok(None);
    };
    let worst = reading.all(&statements::worst_pages(reading.dialect()), &of_site).await?;
    let page = |row: &SourceRow| {
        Some(SeoPage {
            page_url: row.text("page_url")?,
            overall_score: row.int32(TABLE, "overall_score", warnings)?,
            status: row.text("status"),
        })
    };
    let worst_pages = worst.iter().filter_map(page).collect();
    let mut count = |column| summary.int32(TABLE, column, warnings).unwrap_or_default();
    Ok(Some(PageAudits {
        pages_audited: count("pages_audited"),
        pages_scored: count("pages_scored"),
        avg_score: summary.double("avg_score"),
        fix_scheduled_pages: count("fix_scheduled_pages"),
        worst_pages,
    }))
}

async fn deep_task(
    reading: &ReadTransaction,
    user: &UserId,
    url: Option<&str>,
    warnings: &mut Warnings,
) -> Result<Option<DeepTask>, DbErr> {
    const TASKS: &str = "deep_competitor_analysis_tasks";
    const LOGS: &str = "deep_competitor_analysis_execution_logs";
    let dialect = reading.dialect();
    let of_user = [("user", user.as_str().into()), ("url", url.into())];
    let Some(task) = reading.one(&statements::deep_task(dialect), &of_user).await? else { return Ok(None) };

    let of_task = [("task", Value::from(task.integer("id")))];
    let run = reading.one(&statements::last_run(dialect), &of_task).await?;
    let report = reading.one(&statements::last_report(dialect), &of_task).await?;
    Ok(Some(DeepTask {
        status: task.text("status"),
        next_execution: task.time(TASKS, "next_execution", warnings),
        payload: task.json(TASKS, "payload", warnings),
        last_run: run.as_ref().and_then(|run| run.time(LOGS, "execution_date", warnings)),
        last_status: run.and_then(|run| run.text("status")),
        report: report.map(|report| report.json(LOGS, "result_data", warnings)).unwrap_or_default(),
    }))
}

async fn gap(
    reading: &ReadTransaction,
    user: i32,
    url: Option<&str>,
    warnings: &mut Warnings,
) -> Result<Option<GapRow>, DbErr> {
    let of_user = [("user", user.into()), ("url", url.into())];
    let row = reading.one(&statements::gap(reading.dialect()), &of_user).await?;
    Ok(row.map(|row| {
        let mut json = |column| row.json("content_gap_analyses", column, warnings);
        GapRow {
            target_keywords: json("target_keywords"),
            analysis_results: json("analysis_results"),
            recommendations: json("recommendations"),
            opportunities: json("opportunities"),
        }
    }))
}
