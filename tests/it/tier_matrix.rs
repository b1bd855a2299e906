//! Every dependency, broken in every way: what is answered meanwhile, what that costs, and how soon the
//! dependency is used again (coherence.md P8, P9).
//!
//! A cell is a part and a fault; what has to come of it is data ([`expected`]). The marks (a tier's
//! timeout and 20 ms, 5 ms once its breaker is open, 3 s to recover) head the table of what was measured;
//! asserted is only what a busy machine cannot break.
//!
//! All cells: `bash tests/run --test it tier_matrix -- --ignored --nocapture`.

mod fault;
mod figures;
mod rig;

use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;
use tonic::{Code, Status};
use userdata::{
    model::{Section, State},
    proto::v1::{CacheStatus, SectionReport},
};

use fault::{Break, Fault, Part};
use figures::{Figures, Wave};
use rig::{Instances, Rig, WARM};
use testkit::{
    ask::reason,
    call::{Answer, about},
    wait_for,
};

/// Beyond its mark no median may be so much longer, however busy the machine is; what hangs is.
const NOISE: Duration = Duration::from_secs(2);
/// The mark is 3 s.
const RECOVERY_MAX: Duration = Duration::from_secs(10);
/// Warm calls of a wave; their median is looked at.
const WARM_CALLS: usize = 5;
/// Cold calls of a wave: as many as open a source's breaker.
const COLD_CALLS: usize = 3;

/// What a cold call comes to.
#[derive(Clone, Copy, Debug)]
enum Cold {
    /// A whole document.
    Whole,
    /// All but these sections, which are named.
    Without(&'static [Section]),
    /// No document: a required source failed.
    Failed,
    /// What there was time for: none without the required sections, the others as it happens. It costs that
    /// time for as long as the fault lasts: successes now and then keep the circuit closed.
    Possible,
    /// A whole document, or all but the section.
    WholeOrWithout(&'static [Section]),
}

/// What has to come of a cell.
#[derive(Clone, Copy, Debug)]
struct Expected {
    /// Where the instance that looks below memory finds what is cached.
    warm: &'static [CacheStatus],
    cold: Cold,
    /// One of these breakers opens; none: no circuit opens.
    breakers: &'static [&'static str],
}

fn expected(part: Part, fault: Fault) -> Expected {
    use CacheStatus::{HitDatabase, HitRedis};
    use Fault::{Garbage, Reset, Slice, Slow};
    let passing = matches!(fault, Reset | Slice);
    let whole = Expected { warm: &[HitRedis], cold: Cold::Whole, breakers: &[] };
    match part {
        Part::Redis => Expected {
            warm: if passing { &[HitRedis, HitDatabase] } else { &[HitDatabase] },
            breakers: if passing { &[] } else { &["redis"] },
            ..whole
        },
        // Its breaker opens too, after the first wave's cold calls, but without it there are no statistics to say so.
        Part::Database => whole,
        Part::Sources => match fault {
            Slice => whole,
            // A statement may be under way, or need more round trips than there is time for.
            Reset | Slow => Expected { cold: Cold::Possible, ..whole },
            _ => Expected { cold: Cold::Failed, breakers: &["onboarding", "strategy"], ..whole },
        },
        Part::Ai => match fault {
            Slice | Slow => whole,
            Reset => Expected { cold: Cold::WholeOrWithout(&[Section::AiAnalysis]), ..whole },
            // An answer that cannot be understood does not speak against the endpoint.
            Garbage => Expected { cold: Cold::Without(&[Section::AiAnalysis]), ..whole },
            _ => Expected { cold: Cold::Without(&[Section::AiAnalysis]), breakers: &["ai_analysis"], ..whole },
        },
        _ if matches!(fault, Slow | Garbage) => whole,
        Part::Onboarding => Expected { cold: Cold::Failed, breakers: &["onboarding"], ..whole },
        Part::Strategy => Expected { cold: Cold::Failed, breakers: &["strategy"], ..whole },
        Part::GapAnalysis => Expected {
            // Its table is read for performance too.
            cold: Cold::Without(&[Section::GapAnalysis, Section::Performance]),
            breakers: &["gap_analysis"],
            ..whole
        },
        Part::Performance => {
            Expected { cold: Cold::Without(&[Section::Performance]), breakers: &["performance"], ..whole }
        }
        Part::Recommendations => {
            Expected { cold: Cold::Without(&[Section::Recommendations]), breakers: &["recommendations"], ..whole }
        }
    }
}

/// One cell under test.
struct Cell<'a> {
    instances: &'a Instances,
    name: String,
    expected: Expected,
}

impl Cell<'_> {
    /// One call after the other, but cold ones together: each may take as long as a source may.
    async fn wave(&self, broken: Option<&Break>) -> Wave {
        let (mut memory, mut tier) = (Vec::new(), Vec::new());
        for _ in 0..WARM_CALLS {
            broken.inspect(|fault| fault.repeat(&self.instances.rig));
            memory.push(self.timed(self.remembered()).await);
            tier.push(self.timed(self.warm(broken.is_some())).await);
        }
        broken.inspect(|fault| fault.repeat(&self.instances.rig));
        let cold = join_all((0..COLD_CALLS).map(|_| self.timed(self.cold(broken.is_some())))).await;
        Wave { memory, tier, cold }
    }

    async fn timed(&self, call: impl Future<Output = ()>) -> Duration {
        let began = Instant::now();
        call.await;
        began.elapsed()
    }

    async fn remembered(&self) {
        let answer = self.instances.remembering.ask(about(WARM)).await;
        let answer = answer.unwrap_or_else(|status| panic!("{}: remembered: {status}", self.name));
        assert_eq!(answer.status(), CacheStatus::HitMemory, "{}", self.name);
    }

    async fn warm(&self, is_broken: bool) {
        let answer = self.instances.forgetful.ask(about(WARM)).await;
        let answer = answer.unwrap_or_else(|status| panic!("{}: warm: {status}", self.name));
        let expected = match self.instances.part {
            _ if is_broken => self.expected.warm,
            // A busy machine may need longer than its timeout.
            Part::Redis => &[CacheStatus::HitRedis, CacheStatus::HitDatabase],
            _ => &[CacheStatus::HitRedis],
        };
        assert!(expected.contains(&answer.status()), "{}: warm: {:?}", self.name, answer.info);
        assert!(answer.info.complete, "{}: warm: {:?}", self.name, answer.sections);
    }

    async fn cold(&self, is_broken: bool) {
        let outcome = self.instances.cold().await;
        let expected = if is_broken { self.expected.cold } else { Cold::Whole };
        let missing = missing(&outcome);
        let is_without = |sections| missing.as_deref() == Some(sections);
        let as_expected = match expected {
            Cold::Whole => is_without(&[]),
            Cold::Without(sections) => is_without(sections),
            Cold::WholeOrWithout(sections) => is_without(&[]) || is_without(sections),
            Cold::Failed => is_failed(&outcome),
            Cold::Possible => is_failed(&outcome) || missing.is_some_and(|sections| are_optional(&sections)),
        };
        let seen = outcome.as_ref().map(|answer| (&answer.info, &answer.sections));
        assert!(as_expected, "{}: a cold call, instead of {expected:?}: {seen:?}", self.name);
    }

    /// Goes on asking until a breaker opens that has to.
    async fn until_left_alone(&self, fault: &Break) {
        if self.expected.breakers.is_empty() {
            return;
        }
        wait_for(&format!("{}: a breaker to open", self.name), async || {
            let left_alone = self.instances.left_alone().await.unwrap_or_default();
            if left_alone.iter().any(|name| self.expected.breakers.contains(&name.as_str())) {
                return Some(());
            }
            fault.repeat(&self.instances.rig);
            tokio::join!(self.warm(true), self.cold(true));
            None
        })
        .await;
    }
}

/// The sections that a new document had to do without. None: there is none, or it does not say so.
fn missing(outcome: &Result<Answer, Status>) -> Option<Vec<Section>> {
    let answer = outcome.as_ref().ok().filter(|answer| answer.status() == CacheStatus::Assembled)?;
    let failed = answer.sections.iter().filter(|report| report.state() == State::Failed);
    let failed: Vec<Section> = failed.map(SectionReport::section).collect();
    (answer.info.complete == failed.is_empty()).then_some(failed)
}

fn are_optional(sections: &[Section]) -> bool {
    !sections.iter().any(|section| matches!(section, Section::Onboarding | Section::Strategy | Section::Derived))
}

fn is_failed(outcome: &Result<Answer, Status>) -> bool {
    outcome.as_ref().is_err_and(|status| status.code() == Code::Unavailable && reason(status) == "SOURCE_FAILED")
}

/// The whole story of one cell.
async fn check(instances: &Instances, fault: Fault) -> Figures {
    let part = instances.part;
    let cell = Cell { instances, name: format!("{part:?} {fault:?}"), expected: expected(part, fault) };
    let may_be_stale = matches!(cell.expected.cold, Cold::Failed);
    let expired = if may_be_stale { Some(instances.expired_user().await) } else { None };
    let whole = cell.wave(None).await;

    let broken = Break::begin(&instances.rig, part, fault).await;
    let at_first = cell.wave(Some(&broken)).await;
    cell.until_left_alone(&broken).await;
    let later = cell.wave(Some(&broken)).await;
    if let Some(user) = expired {
        let stale = instances.forgetful.get(&user).await;
        assert_eq!(stale.status(), CacheStatus::Stale, "{}: {:?}", cell.name, stale.info);
    }

    broken.end(&instances.rig).await;
    let ended = Instant::now();
    instances.use_it_again().await;
    let recovery = ended.elapsed();
    instances.are_whole().await;
    Figures { cell: cell.name, timeout: instances.timeout(), whole, at_first, later, recovery }
}

async fn check_all(cells: &[(Part, &[Fault])]) {
    let mut rig = Rig::start().await;
    eprintln!("{}", Figures::HEAD);
    for (part, faults) in cells {
        let instances = rig.serve(*part).await;
        for fault in *faults {
            let figures = check(&instances, *fault).await;
            eprintln!("{figures}");
            assert!(figures.lost_at_first() <= figures.timeout + NOISE, "{figures}");
            let lasts = matches!(expected(*part, *fault).cold, Cold::Possible);
            let lost_later = if lasts { figures.timeout } else { Duration::ZERO };
            assert!(figures.lost_later() <= lost_later + NOISE, "{figures}");
            assert!(figures.recovery <= RECOVERY_MAX, "{figures}");
        }
        rig = instances.rig;
    }
}

/// CI's twenty cells: all ways in which a tier breaks but one, and of the sources' those that differ most.
const SAMPLE: [(Part, &[Fault]); 6] = {
    use Fault::{Blackhole, Frozen, Garbage, Refuse, Reset, Slice, Slow};
    [
        (Part::Redis, &[Refuse, Reset, Blackhole, Slice, Garbage, Frozen]),
        (Part::Database, &[Refuse, Blackhole, Slow, Slice, Garbage, Frozen]),
        (Part::Sources, &[Refuse, Slice, Frozen]),
        (Part::Ai, &[Refuse, Slice]),
        (Part::Onboarding, &[Reset]),
        (Part::Recommendations, &[Blackhole, Garbage]),
    ]
};

#[tokio::test]
async fn what_breaks_is_answered_around_and_used_again() {
    check_all(&SAMPLE).await;
}

const OF_A_NETWORK: &[Fault] =
    &[Fault::Refuse, Fault::Reset, Fault::Blackhole, Fault::Slow, Fault::Slice, Fault::Garbage, Fault::Frozen];
/// Nothing of one table alone can be sliced.
const OF_A_TABLE: &[Fault] =
    &[Fault::Refuse, Fault::Reset, Fault::Blackhole, Fault::Slow, Fault::Garbage, Fault::Frozen];

#[tokio::test]
#[ignore = "all cells take minutes"]
async fn whatever_breaks_however_is_answered_around_and_used_again() {
    let networks = [Part::Redis, Part::Database, Part::Sources, Part::Ai].map(|part| (part, OF_A_NETWORK));
    let tables = [Part::Onboarding, Part::Strategy, Part::GapAnalysis, Part::Performance, Part::Recommendations];
    check_all(&[&networks[..], &tables.map(|part| (part, OF_A_TABLE))].concat()).await;
}
