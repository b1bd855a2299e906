//! The screen made from two answers: values of the later one, and rates between both. It fits into 80 by 24.
//!
//! The time between two answers is the difference of the server's uptimes. If the uptime decreases, the server has been
//! restarted, and there are no rates until the second answer.

use std::time::Duration;

use ratatui::{
    style::{Color, Modifier, Style},
    text::{Line, Span},
};

use super::{
    super::{super::output::printable, human},
    Failure, TopSample,
};
use crate::proto::{
    Duration as Length,
    v1::{GetCacheStatsResponse, SourceStats, TierStats},
};

#[derive(Debug)]
pub(super) struct View {
    server: String,
    before: Option<GetCacheStatsResponse>,
    now: Option<TopSample>,
    /// The last failure, and the number of consecutive ones.
    silence: Option<(Failure, u32)>,
}

impl View {
    pub(super) fn of(server: String) -> Self {
        Self { server, before: None, now: None, silence: None }
    }

    /// On a failure the last answer stays.
    pub(super) fn learn(&mut self, answer: Result<TopSample, Failure>) {
        match answer {
            Ok(answer) => {
                let restarted = |before: &TopSample| uptime(&before.stats) > uptime(&answer.stats);
                self.before = self.now.take().filter(|before| !restarted(before)).map(|before| before.stats);
                self.now = Some(answer);
                self.silence = None;
            }
            Err(failure) => {
                let tries = self.silence.take().map_or(1, |(_, tries)| tries.saturating_add(1));
                self.silence = Some((failure, tries));
            }
        }
    }

    /// Statistics of the last answer, unless a failure came after it.
    pub(super) fn stats(&self) -> Option<&GetCacheStatsResponse> {
        self.now.as_ref().filter(|_| self.silence.is_none()).map(|answer| &answer.stats)
    }

    /// Without colours, for files.
    pub(super) fn text(&self) -> String {
        let lines = self.lines();
        let lines = lines.iter().map(|line| line.iter().map(|span| span.content.as_ref()).collect::<String>());
        lines.map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    pub(super) fn lines(&self) -> Vec<Line<'static>> {
        let mut lines = vec![self.head()];
        if let Some((failure, tries)) = &self.silence {
            let again = format!("NO ANSWER ({tries}), trying again: {failure}");
            lines.push(Line::styled(printable(&again), alarming()));
        }
        let Some(answer) = &self.now else { return lines };
        if self.silence.is_none() {
            lines.push(Line::default());
        }
        let figures = Figures { now: &answer.stats, before: self.before.as_ref() };
        lines.extend(figures.lines());
        lines
    }

    fn head(&self) -> Line<'static> {
        let name = Span::styled("userdata top ", Style::new().add_modifier(Modifier::BOLD));
        let server = format!(" {} ", self.server);
        let Some(TopSample { health, stats }) = &self.now else { return Line::from(vec![name, server.into()]) };
        let health = match (health.as_str(), self.silence.is_some()) {
            (_, true) => Span::styled("NOT ANSWERING", alarming()),
            ("SERVING", _) => Span::styled("SERVING", Style::new().fg(Color::Green)),
            (other, _) => Span::styled(printable(other), alarming()),
        };
        let about = format!("  version {}  up {}", printable(&stats.version), human::duration(stats.uptime.as_ref()));
        Line::from(vec![name, server.into(), health, about.into(), "  q quits".into()])
    }
}

fn alarming() -> Style {
    Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)
}

fn uptime(stats: &GetCacheStatsResponse) -> Duration {
    stats.uptime.as_ref().and_then(|uptime| Duration::try_from(uptime).ok()).unwrap_or_default()
}

/// Two answers.
struct Figures<'a> {
    now: &'a GetCacheStatsResponse,
    before: Option<&'a GetCacheStatsResponse>,
}

impl Figures<'_> {
    fn lines(&self) -> Vec<Line<'static>> {
        let title = |text: String| Line::styled(text, Style::new().add_modifier(Modifier::UNDERLINED));
        let mut lines = vec![self.requests(), self.answers(), Line::default()];
        lines.push(title(format!(
            "{:<9}{:>7}{:>12}{:>9}{:>9}{:>9}{:>9}{:>6}  {}",
            "tier", "docs", "bytes", "looks/s", "hits", "p50", "p99", "out/s", "breaker"
        )));
        lines.extend(self.now.tiers.iter().map(|tier| self.tier(tier)));
        lines.push(Line::default());
        lines.push(title(format!(
            "{:<15}{:>8}{:>8}{:>8}{:>9}{:>9}  {:<10}{}",
            "source", "runs/s", "fails/s", "running", "p50", "p99", "breaker", "last error"
        )));
        lines.extend(self.now.sources.iter().map(|source| self.source(source)));
        lines.push(Line::default());
        lines.extend([self.invalidation_log(), self.changes(), self.prefetch(), self.ai(), self.staleness_check()]);
        lines
    }

    fn requests(&self) -> Line<'static> {
        let unverified = self.gained(|stats| stats.unverified_answers);
        let text = format!(
            "requests  {}/s   refused as outdated {}/s   loads {}   ",
            self.rate(|stats| stats.requests),
            self.rate(|stats| stats.superseded),
            self.now.loads_active,
        );
        let unverified_now = format!("unverified {}/s", self.rate(|stats| stats.unverified_answers));
        let style = if unverified.is_some_and(|answers| answers > 0) { alarming() } else { Style::new() };
        Line::from(vec![text.into(), Span::styled(unverified_now, style)])
    }

    /// The origins of the answers in this interval.
    fn answers(&self) -> Line<'static> {
        let all = self.gained(|stats| stats.requests).unwrap_or_default();
        let mut text = "answers  ".to_owned();
        for of in &self.now.answers {
            let count = |stats: &GetCacheStatsResponse| {
                stats.answers.iter().find(|other| other.status == of.status).map_or(0, |other| other.answers)
            };
            let gained = self.gained(count).unwrap_or_default();
            if gained > 0 {
                let name = human::name(of.status().as_str_name(), "CACHE_STATUS_").to_lowercase();
                text += &format!(" {} {}", name.trim_start_matches("hit_"), percent(gained, all));
            }
        }
        if all == 0 {
            text += " none";
        }
        Line::from(text)
    }

    fn tier(&self, tier: &TierStats) -> Line<'static> {
        if !tier.enabled {
            return Line::from(format!("{:<9}{:>7}", printable(&tier.tier), "off"));
        }
        let of = |stats: &GetCacheStatsResponse| stats.tiers.iter().find(|other| other.tier == tier.tier).cloned();
        let count = |count: fn(&TierStats) -> i64| {
            move |stats: &GetCacheStatsResponse| of(stats).map_or(0, |tier| count(&tier))
        };
        let (hits, misses) = (self.gained(count(|tier| tier.hits)), self.gained(count(|tier| tier.misses)));
        let looks = hits.unwrap_or_default() + misses.unwrap_or_default();
        let share = if looks > 0 { percent(hits.unwrap_or_default(), looks) } else { "-".to_owned() };
        let evicted = match tier.evictions {
            Some(_) => self.rate(count(|tier| tier.evictions.unwrap_or_default())),
            None => "-".to_owned(),
        };
        let text = format!(
            "{:<9}{:>7}{:>12}{:>9}{:>9}{:>9}{:>9}{:>6}  ",
            printable(&tier.tier),
            human::optional(tier.entries),
            human::optional(tier.bytes.and_then(|bytes| u64::try_from(bytes).ok()).map(human::bytes)),
            self.rate(count(|tier| tier.hits + tier.misses)),
            share,
            human::duration(tier.latency_p50.as_ref()),
            human::duration(tier.latency_p99.as_ref()),
            evicted,
        );
        Line::from(vec![text.into(), breaker(&tier.breaker_state)])
    }

    fn source(&self, source: &SourceStats) -> Line<'static> {
        let count = |count: fn(&SourceStats) -> i64| {
            move |stats: &GetCacheStatsResponse| {
                stats.sources.iter().find(|other| other.source == source.source).map_or(0, count)
            }
        };
        let text = format!(
            "{:<15}{:>8}{:>8}{:>8}{:>9}{:>9}  ",
            printable(&source.source),
            self.rate(count(|source| source.runs)),
            self.rate(count(|source| source.failures)),
            source.in_flight,
            human::duration(source.latency_p50.as_ref()),
            human::duration(source.latency_p99.as_ref()),
        );
        Line::from(vec![text.into(), breaker(&source.breaker_state), printable(&source.last_error).into()])
    }

    fn invalidation_log(&self) -> Line<'static> {
        let log = self.now.invalidation_log.unwrap_or_default();
        let lapsed = log.lease_remaining.is_none_or(|left| left == Length::default());
        let lease = format!("lease {}", human::duration(log.lease_remaining.as_ref()));
        Line::from(vec![
            format!("log       at {}  read {} ago  ", log.applied, human::duration(log.lag.as_ref())).into(),
            Span::styled(lease, if lapsed { alarming() } else { Style::new() }),
            format!(
                "  commits {}/s  notified {}/s",
                self.rate(|stats| stats.invalidation_log.map_or(0, |log| log.commits)),
                self.rate(|stats| stats.invalidation_log.map_or(0, |log| log.notifications)),
            )
            .into(),
        ])
    }

    fn changes(&self) -> Line<'static> {
        let text = match &self.now.changes {
            None => "off".to_owned(),
            Some(changes) if !changes.active => "no outbox: run `userdata triggers install`".to_owned(),
            Some(changes) => {
                let relayed = self.rate(|stats| stats.changes.as_ref().map_or(0, |changes| changes.changes));
                format!("{relayed}/s  the latest had waited {}", human::duration(changes.lag.as_ref()))
            }
        };
        Line::from(format!("changes   {text}"))
    }

    fn prefetch(&self) -> Line<'static> {
        let text = self.now.prefetch.as_ref().map_or_else(
            || "off".to_owned(),
            |of| {
                let started = self.rate(|stats| stats.prefetch.map_or(0, |of| of.started));
                let skipped = [
                    (of.skipped_unread, "unread"),
                    (of.skipped_unlikely, "unlikely"),
                    (of.skipped_busy, "busy"),
                    (of.skipped_budget, "over budget"),
                    (of.skipped_failed, "failed"),
                ];
                let skipped =
                    skipped.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("  {why} {count}"));
                format!("{started}/s  read {} of {}{}", of.read, of.finished, skipped.collect::<String>())
            },
        );
        Line::from(format!("prefetch  {text}"))
    }

    fn ai(&self) -> Line<'static> {
        Line::from(format!(
            "AI calls  {}/s  avoided {}/s  shared {}/s  tokens {}/s sent, {}/s received",
            self.rate(|stats| stats.ai_calls_made),
            self.rate(|stats| stats.ai_calls_avoided),
            self.rate(|stats| stats.ai_calls_shared),
            self.rate(|stats| stats.ai_prompt_tokens),
            self.rate(|stats| stats.ai_completion_tokens)
        ))
    }

    fn staleness_check(&self) -> Line<'static> {
        let Some(found) = &self.now.staleness_check else { return Line::from("staleness off") };
        let stale = Span::styled(
            format!("{} served outdated", found.stale),
            if found.stale > 0 { alarming() } else { Style::new() },
        );
        let about = format!("staleness {} compared  ", found.compared);
        Line::from(vec![about.into(), stale, format!("  {} undecided", found.undecided).into()])
    }

    /// The increase of a count.
    fn gained(&self, count: impl Fn(&GetCacheStatsResponse) -> i64) -> Option<i64> {
        self.before.map(|before| (count(self.now) - count(before)).max(0))
    }

    /// The increase per second; `-` without an earlier answer.
    #[expect(clippy::cast_precision_loss, reason = "for people; counts stay far below 2^53")]
    fn rate(&self, count: impl Fn(&GetCacheStatsResponse) -> i64) -> String {
        let seconds = self.before.map(|before| uptime(self.now).saturating_sub(uptime(before)).as_secs_f64());
        match (self.gained(count), seconds) {
            (Some(gained), Some(seconds)) if seconds > 0.0 => {
                let rate = gained as f64 / seconds;
                if rate < 100.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
            }
            _ => "-".to_owned(),
        }
    }
}

/// Only an open circuit is highlighted.
fn breaker(state: &str) -> Span<'static> {
    let text = format!("{:<10}", printable(state));
    Span::styled(text, if state == "closed" || state.is_empty() { Style::new() } else { alarming() })
}

/// `97%`. A share above zero is never shown as 0%.
fn percent(part: i64, whole: i64) -> String {
    match (part, whole) {
        (_, 0) => "-".to_owned(),
        (part, whole) if part * 100 < whole && part > 0 => "<1%".to_owned(),
        (part, whole) => format!("{}%", part * 100 / whole),
    }
}
