//! A cold document beside its sources: the service's own measurement of each, their sum, and the slowest path through
//! the dependencies. Time above that path is the service's own.

use std::{collections::BTreeMap, time::Duration};

use userdata::{
    clock::Clock,
    proto::v1::{CacheStatus, GetComprehensiveUserDataResponse, Section},
};

use super::{
    Scale,
    drive::{as_f64, quantile},
    slow::{Pace, SlowSources},
};
use crate::wire::{empty, median};

/// No source is the slowest path alone: the path is the strategy and then the AI.
const PACE: Pace = Pace {
    onboarding: Duration::from_millis(150),
    strategy: Duration::from_millis(200),
    recommendations: Duration::from_millis(250),
    ai: Duration::from_millis(400),
};
const SOURCES: [(Section, &str); 6] = [
    (Section::Onboarding, "onboarding"),
    (Section::Strategy, "strategy"),
    (Section::AiAnalysis, "AI analysis"),
    (Section::GapAnalysis, "gap analysis"),
    (Section::Performance, "performance"),
    (Section::Recommendations, "recommendations"),
];

pub(super) async fn table(scale: Scale) -> String {
    let users: i32 = scale.of(20, 3);
    let sources = SlowSources::new(users + 1, PACE).await;
    let instance = sources.instance(&[]).await;
    let clock = Clock::system();
    // The first call opens all connections.
    instance.get(&(users + 1).to_string()).await;
    let (mut totals, mut overheads, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    let mut took: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for user in 1..=users {
        let began = clock.now();
        let answer = instance.get(&user.to_string()).await;
        let total = clock.now().since(began);
        assert_eq!(answer.cache_info.as_ref().unwrap().status(), CacheStatus::Assembled);
        for (section, name) in SOURCES {
            took.entry(name).or_default().push(ms(of(&answer, section)));
        }
        let path = slowest_path(&answer);
        totals.push(total);
        overheads.push(ms(total.saturating_sub(path)));
        shares.push(ms(total) / ms(path));
        eprintln!("user {user}: {:.1} ms, its slowest path {:.1} ms", ms(total), ms(path));
    }
    assert_eq!(sources.ai_calls(), usize::try_from(users + 1).unwrap(), "one AI call per user");
    totals.sort_unstable();
    let mut table = empty(vec!["what".to_owned(), "ms".to_owned()]);
    let mut sum = 0.0;
    for (_, name) in SOURCES {
        let median = median(took.remove(name).unwrap());
        sum += median;
        table.add_row([format!("{name}, as measured by the service"), format!("{median:.1}")]);
    }
    table.add_row(["their sum".to_owned(), format!("{sum:.1}")]);
    table.add_row(["a cold call, p50".to_owned(), format!("{:.1}", ms(quantile(&totals, 0.5)))]);
    table.add_row(["a cold call, max".to_owned(), format!("{:.1}", ms(quantile(&totals, 1.0)))]);
    let share = 100.0 * (median(shares) - 1.0);
    table.add_row([
        "above its slowest path, p50".to_owned(),
        format!("{:.1} ({share:.1} %)", median(overheads.clone())),
    ]);
    overheads.sort_by(f64::total_cmp);
    table.add_row(["above it, max".to_owned(), format!("{:.1}", overheads.last().unwrap())]);
    format!(
        "{users} cold users one after the other; onboarding sleeps {} ms, strategy {}, recommendations {} (once they know the \
         strategy), the AI {} (once it has both)\n\n{table}",
        PACE.onboarding.as_millis(),
        PACE.strategy.as_millis(),
        PACE.recommendations.as_millis(),
        PACE.ai.as_millis()
    )
}

/// Onboarding and strategy begin together; the analyses need both, performance and recommendations only the strategy.
fn slowest_path(answer: &GetComprehensiveUserDataResponse) -> Duration {
    let [onboarding, strategy, ai, gaps, performance, recommendations] =
        SOURCES.map(|(section, _)| of(answer, section));
    let analyses = onboarding.max(strategy) + ai.max(gaps);
    analyses.max(strategy + performance.max(recommendations))
}

fn of(answer: &GetComprehensiveUserDataResponse, section: Section) -> Duration {
    let report = answer.sections.iter().find(|report| report.section() == section).expect("all sections are requested");
    let took = report.took.expect("every source has run");
    Duration::new(took.seconds.try_into().expect("not negative"), took.nanos.try_into().expect("not negative"))
}

fn ms(duration: Duration) -> f64 {
    as_f64(u64::try_from(duration.as_micros()).expect("seconds")) / 1e3
}
