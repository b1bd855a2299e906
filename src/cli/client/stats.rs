//! `userdata stats`.

use clap::Args;

use super::{
    super::{
        failure::Failure,
        output::{Output, pairs, table},
    },
    human,
    target::{Target, UserDataClient},
};
use crate::proto::{
    Duration,
    v1::{
        AccessedEntry, ChangeStats, GetCacheStatsRequest, GetCacheStatsResponse, PrefetchStats, SectionStats,
        SourceStats, StalenessCheckStats, TierStats,
    },
};

/// Show statistics of the cache.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// How many of the most accessed documents to list; 5 if not given
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, allow_negative_numbers = true)]
    most_accessed: i32,
    #[command(flatten)]
    target: Target,
}

impl StatsArgs {
    pub(super) async fn call(self, output: &mut Output<'_>) -> Result<(), Failure> {
        let request = GetCacheStatsRequest { most_accessed_limit: self.most_accessed, instance_only: false };
        let reply = self
            .target
            .call(request, async |mut service: UserDataClient, request| service.get_cache_stats(request).await)
            .await?;
        output.show(self.target.format(), &reply, in_words)
    }
}

fn in_words(stats: &GetCacheStatsResponse) -> String {
    [
        head(stats),
        table(
            ["tier", "documents", "bytes", "hits", "misses", "hit rate", "p50", "p99", "breaker", "last error"],
            stats.tiers.iter().map(tier_row),
        ),
        table(
            ["source", "runs", "failures", "p50", "p99", "running", "breaker", "last error"],
            stats.sources.iter().map(source_row),
        ),
        table(["section", "read", "reused"], stats.sections.iter().map(section_row)),
        table(["most accessed", "strategy", "accesses", "last"], stats.most_accessed.iter().map(accessed_row)),
    ]
    .join("\n\n")
}

fn head(stats: &GetCacheStatsResponse) -> String {
    let log = stats.invalidation_log.unwrap_or_default();
    pairs([
        ("server", format!("{}, up {}", human::text(&stats.version), human::duration(stats.uptime.as_ref()))),
        ("rows", rows(stats)),
        (
            "requests",
            format!(
                "{}, {} from a tier, {} shared, {} stale, {} unverified",
                stats.requests,
                human::share(stats.hit_rate),
                stats.shared_answers,
                stats.stale_answers,
                stats.unverified_answers
            ),
        ),
        ("loads", format!("{} running, {} source runs avoided", stats.loads_active, stats.runs_avoided)),
        (
            "AI calls",
            format!(
                "{} made, {} avoided, {} shared, {} tokens sent, {} received",
                stats.ai_calls_made,
                stats.ai_calls_avoided,
                stats.ai_calls_shared,
                stats.ai_prompt_tokens,
                stats.ai_completion_tokens
            ),
        ),
        ("prefetch", stats.prefetch.as_ref().map_or_else(|| "off".to_owned(), prefetch)),
        ("changes", changes(stats.changes.as_ref())),
        ("staleness check", staleness_check(stats.staleness_check.as_ref())),
        (
            "invalidation log",
            format!(
                "at {}, lease {}, {}, {}, {}, {} superseded",
                log.applied,
                human::duration(log.lease_remaining.as_ref()),
                human::count(log.commits, "commit", "commits"),
                human::count(log.notifications, "notification", "notifications"),
                human::count(log.gaps, "gap", "gaps"),
                human::count(stats.superseded, "answer", "answers")
            ),
        ),
    ])
}

fn rows(stats: &GetCacheStatsResponse) -> String {
    let [total, valid, expired] =
        [stats.total_entries, stats.valid_entries, stats.expired_entries].map(human::optional);
    format!("{total} ({valid} valid, {expired} expired)")
}

fn prefetch(of: &PrefetchStats) -> String {
    format!(
        "{} started, {} finished, {} read; skipped: {} unread before, {} unlikely to be read, {} busy, {} over budget, {} failed",
        of.started,
        of.finished,
        of.read,
        of.skipped_unread,
        of.skipped_unlikely,
        of.skipped_busy,
        of.skipped_budget,
        of.skipped_failed
    )
}

fn changes(changes: Option<&ChangeStats>) -> String {
    match changes {
        None => "off".to_owned(),
        Some(changes) if !changes.active => "no outbox: run `userdata triggers install`".to_owned(),
        Some(changes) => format!(
            "{} relayed as {}, {} waiting{}",
            changes.changes,
            human::count(changes.invalidations, "invalidation", "invalidations"),
            human::optional(changes.backlog),
            last_waited(changes.lag.as_ref())
        ),
    }
}

/// Nothing until a change has been relayed.
fn last_waited(lag: Option<&Duration>) -> String {
    let lag = lag.filter(|lag| **lag != Duration::default());
    lag.map(|lag| format!("; the last ones had waited for {}", human::duration(Some(lag)))).unwrap_or_default()
}

fn staleness_check(stats: Option<&StalenessCheckStats>) -> String {
    stats.map_or_else(
        || human::optional::<i64>(None),
        |found| {
            format!(
                "{} documents compared, {} sections stale (for at most {}), {} changes pending, {} undecided",
                found.compared,
                found.stale,
                human::duration(found.age_max.as_ref()),
                found.change_pending,
                found.undecided
            )
        },
    )
}

fn tier_row(tier: &TierStats) -> [String; 10] {
    let name = if tier.enabled { tier.tier.clone() } else { format!("{} (off)", tier.tier) };
    [
        name,
        human::optional(tier.entries),
        human::optional(tier.bytes.and_then(|bytes| u64::try_from(bytes).ok()).map(human::bytes)),
        tier.hits.to_string(),
        tier.misses.to_string(),
        human::share(tier.hit_rate),
        human::duration(tier.latency_p50.as_ref()),
        human::duration(tier.latency_p99.as_ref()),
        human::text(&tier.breaker_state),
        human::text(&tier.last_error),
    ]
}

fn source_row(source: &SourceStats) -> [String; 8] {
    [
        source.source.clone(),
        source.runs.to_string(),
        source.failures.to_string(),
        human::duration(source.latency_p50.as_ref()),
        human::duration(source.latency_p99.as_ref()),
        source.in_flight.to_string(),
        human::text(&source.breaker_state),
        human::text(&source.last_error),
    ]
}

fn section_row(section: &SectionStats) -> [String; 3] {
    let name = section.section().as_str_name().trim_start_matches("SECTION_").to_lowercase();
    [name, section.read.to_string(), section.reused.to_string()]
}

fn accessed_row(entry: &AccessedEntry) -> [String; 4] {
    [
        entry.user_id.clone(),
        human::optional(entry.strategy_id),
        entry.access_count.to_string(),
        human::time(entry.last_accessed.as_ref()),
    ]
}
