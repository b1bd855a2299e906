//! Sends the statements, in one transaction, and returns rows with parsed columns.

use chrono::{DateTime, Utc};
use sea_orm::DbErr;
use serde::Deserialize;
use serde_json::Value as Json;

use super::{competitors, statements};
use crate::{
    aggregate::{
        rows::{CompetitorRow, GapRow, WebsiteRow},
        sql::{ReadTransaction, SourceRow, Warnings},
        value::count,
    },
    model::UserId,
    proto::v1::SeoPage,
    source_schema::{
        COMPETITOR_ANALYSES, CONTENT_GAP_ANALYSES, DEEP_TASK_LOGS, DEEP_TASKS, ONBOARDING_SESSIONS, PERSONA_DATA,
        PLATFORM_INTEGRATIONS, RESEARCH_PREFERENCES, SEO_PAGE_AUDITS, WEBSITE_ANALYSES,
    },
};

/// All rows of a user. Rows that belong to a session are missing without one.
#[derive(Debug, Default)]
pub(super) struct OnboardingRows {
    pub(super) session: bool,
    /// What an onboarding by LinkedIn leaves in the session itself.
    pub(super) payload: Json,
    pub(super) integrations: Option<Integrations>,
    pub(super) website: Option<Website>,
    pub(super) research: Option<Research>,
    pub(super) persona: Option<Persona>,
    /// One per domain, newest first.
    pub(super) competitors: Vec<CompetitorRow>,
    /// None without a website.
    pub(super) page_audits: Option<PageAudits>,
    pub(super) deep_task: Option<DeepTask>,
    pub(super) gap: Option<GapRow>,
}

/// `website_analyses`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Website {
    #[serde(rename = "website_url")]
    pub(super) url: Option<String>,
    pub(super) writing_style: Json,
    pub(super) target_audience: Json,
    pub(super) content_type: Json,
    pub(super) style_guidelines: Json,
    pub(super) strategic_insights_history: Json,
    /// The columns that other sources read too.
    #[serde(flatten)]
    pub(super) shared: WebsiteRow,
}

/// `research_preferences`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Research {
    #[serde(rename = "research_depth")]
    pub(super) depth: Option<String>,
    pub(super) content_types: Json,
    pub(super) auto_research: Option<bool>,
    pub(super) factual_content: Option<bool>,
    pub(super) writing_style: Json,
    pub(super) target_audience: Json,
}

impl Research {
    /// Absent if blank.
    pub(super) fn depth(&self) -> Option<&str> {
        self.depth.as_deref().filter(|depth| !depth.trim().is_empty())
    }
}

/// `persona_data`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Persona {
    #[serde(rename = "core_persona")]
    pub(super) core: Json,
    pub(super) platform_personas: Json,
    pub(super) selected_platforms: Json,
}

/// `platform_integrations`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Integrations {
    /// Names of all kinds of platforms.
    #[serde(rename = "connected_platforms")]
    pub(super) connected: Json,
    /// By name, whether it is connected.
    #[serde(rename = "social_platforms")]
    pub(super) social: Json,
    /// By name.
    #[serde(rename = "analytics_platforms")]
    pub(super) analytics: Json,
    /// By name.
    #[serde(rename = "website_platforms")]
    pub(super) website: Json,
}

/// A summary of one site's `seo_page_audits`.
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

pub(super) async fn load(
    reading: &ReadTransaction,
    user: &UserId,
    warnings: &mut Warnings,
) -> Result<OnboardingRows, DbErr> {
    let session = reading.one(statements::SESSION, [user.as_str().into(), reading.json_bytes_max()]).await?;
    let mut loaded = match session.as_ref().and_then(|row| row.integer("id")) {
        Some(session) => of_session(reading, session, warnings).await?,
        None => OnboardingRows::default(),
    };
    if let Some(row) = session {
        loaded.payload = row.of(&ONBOARDING_SESSIONS, warnings).json("payload");
    }
    let url = loaded.website.as_ref().and_then(|website| website.url.clone());
    if let Some(url) = &url {
        loaded.page_audits = page_audits(reading, user, url, warnings).await?;
    }
    loaded.deep_task = deep_task(reading, user, url.as_deref(), warnings).await?;
    loaded.gap = gap(reading, user, url.as_deref(), warnings).await?;
    Ok(loaded)
}

async fn of_session(reading: &ReadTransaction, session: i64, warnings: &mut Warnings) -> Result<OnboardingRows, DbErr> {
    let values = [session.into(), reading.json_bytes_max()];
    let website = reading.one(statements::WEBSITE, values.clone()).await?;
    let research = reading.one(statements::RESEARCH_PREFERENCES, values.clone()).await?;
    let persona = reading.one(statements::PERSONA, values.clone()).await?;
    let integrations = reading.one(statements::PLATFORM_INTEGRATIONS, values.clone()).await?;
    let competitors = reading.all(statements::COMPETITORS, values).await?;
    Ok(OnboardingRows {
        session: true,
        website: website.map(|row| row.of(&WEBSITE_ANALYSES, warnings).read()),
        research: research.map(|row| row.of(&RESEARCH_PREFERENCES, warnings).read()),
        integrations: integrations.map(|row| row.of(&PLATFORM_INTEGRATIONS, warnings).read()),
        persona: persona.map(|row| row.of(&PERSONA_DATA, warnings).read()),
        competitors: competitors::one_per_domain(competitors.iter().map(|row| competitor(row, warnings)).collect()),
        ..OnboardingRows::default()
    })
}

fn competitor(row: &SourceRow, warnings: &mut Warnings) -> CompetitorRow {
    let mut row = row.of(&COMPETITOR_ANALYSES, warnings);
    let url = row.text("competitor_url").unwrap_or_default();
    CompetitorRow {
        domain: competitors::domain(row.text("competitor_domain").as_deref(), &url),
        url,
        analysis_date: row.time("analysis_date"),
        updated_at: row.time("updated_at"),
        analysis_data: row.json("analysis_data"),
    }
}

async fn page_audits(
    reading: &ReadTransaction,
    user: &UserId,
    url: &str,
    warnings: &mut Warnings,
) -> Result<Option<PageAudits>, DbErr> {
    let of_site = [user.as_str().into(), url.into()];
    let Some(summary) = reading.one(statements::PAGE_AUDIT_SUMMARY, of_site.clone()).await? else { return Ok(None) };
    let worst = reading.all(statements::WORST_PAGES, of_site).await?;
    let page = |row: &SourceRow| {
        let mut row = row.of(&SEO_PAGE_AUDITS, warnings);
        Some(SeoPage {
            page_url: row.text("page_url")?,
            overall_score: row.integer("overall_score")?,
            status: row.text("status"),
        })
    };
    let worst_pages = worst.iter().filter_map(page).collect();
    let pages = |column| count(summary.integer(column).unwrap_or_default());
    Ok(Some(PageAudits {
        pages_audited: pages("pages_audited"),
        pages_scored: pages("pages_scored"),
        avg_score: summary.double("avg_score"),
        fix_scheduled_pages: pages("fix_scheduled_pages"),
        worst_pages,
    }))
}

async fn deep_task(
    reading: &ReadTransaction,
    user: &UserId,
    url: Option<&str>,
    warnings: &mut Warnings,
) -> Result<Option<DeepTask>, DbErr> {
    let of_user = [user.as_str().into(), url.into(), reading.json_bytes_max()];
    let Some(row) = reading.one(statements::DEEP_TASK, of_user).await? else { return Ok(None) };

    let id = row.integer("id");
    let run = reading.one(statements::DEEP_TASK_LAST_RUN, [id.into()]).await?;
    let report = reading.one(statements::DEEP_TASK_LAST_REPORT, [id.into(), reading.json_bytes_max()]).await?;
    let mut task = row.of(&DEEP_TASKS, warnings);
    let mut task = DeepTask {
        status: task.text("status"),
        next_execution: task.time("next_execution"),
        payload: task.json("payload"),
        ..DeepTask::default()
    };
    if let Some(run) = run {
        let mut run = run.of(&DEEP_TASK_LOGS, warnings);
        (task.last_run, task.last_status) = (run.time("execution_date"), run.text("status"));
    }
    task.report = report.map(|row| row.of(&DEEP_TASK_LOGS, warnings).json("result_data")).unwrap_or_default();
    Ok(Some(task))
}

async fn gap(
    reading: &ReadTransaction,
    user: &UserId,
    url: Option<&str>,
    warnings: &mut Warnings,
) -> Result<Option<GapRow>, DbErr> {
    let of_user = [user.as_str().into(), url.into(), reading.json_bytes_max()];
    let row = reading.one(statements::STORED_GAPS, of_user).await?;
    Ok(row.map(|row| row.of(&CONTENT_GAP_ANALYSES, warnings).read()))
}
