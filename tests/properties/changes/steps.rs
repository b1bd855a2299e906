//! One step after another: changes, a load that they fall into, the relay, and the questions.

use std::{collections::VecDeque, sync::Arc};

use rand::{RngExt as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;
use userdata::{
    cache::ReadOptions,
    fault::{FaultPoint, Mode, Place},
};

use super::{
    ground::{Concerned, Ground},
    judge::{Judge, USERS, question, questions, questions_about},
    writes::Change,
};
use testkit::{database::Kind, wait_for};

/// Of a failure's message: what happened last.
const TOLD: usize = 12;
/// How often every question is asked at every instance: what was not noticed before is noticed then.
const ALL_EVERY: usize = 20;
const SOURCES: [&str; 5] = ["onboarding", "strategy", "gap_analysis", "performance", "recommendations"];

/// A run.
pub(super) struct Steps {
    pub(super) ground: Ground,
    judge: Judge,
    rng: ChaCha8Rng,
    steps: usize,
    changes: usize,
    refused: usize,
    held: usize,
    told: VecDeque<String>,
}

impl Steps {
    pub(super) async fn begin(kind: Kind, rng: ChaCha8Rng) -> Self {
        let ground = Ground::open(kind).await;
        let mut steps = Self {
            ground,
            judge: Judge::default(),
            rng,
            steps: 0,
            changes: 0,
            refused: 0,
            held: 0,
            told: VecDeque::new(),
        };
        steps.ask_all().await.unwrap();
        steps
    }

    /// As if it had begun now: what is read again because of the triggers does not count.
    pub(super) async fn begin_again(&mut self) {
        self.ground.relay_everywhere().await;
        self.judge = Judge::default();
        self.ask_all().await.unwrap();
    }

    /// Whether everything has happened that is to be looked at, also where a busy machine takes long for each step.
    pub(super) fn were_enough(&self) -> bool {
        self.steps >= ALL_EVERY && self.held > 0 && self.judge.read_again > 0
    }

    /// Some changes, and what comes of them; what is wrong with that.
    pub(super) async fn take_one(&mut self) -> Result<(), String> {
        self.steps += 1;
        let mut concerned = self.change().await;
        if self.rng.random_bool(0.5) {
            concerned.append(&mut self.change_during_a_load(&concerned).await);
        }
        if self.rng.random_bool(0.1) {
            self.inspect_what_is_changing(&concerned).await;
        }
        let relaying = self.rng.random_range(0..self.ground.members.len());
        self.ground.members[relaying].jobs.relay_now().await;
        for place in questions_about(&concerned) {
            self.ask_everywhere(place).await?;
        }
        let (member, place) =
            (self.rng.random_range(0..self.ground.members.len()), self.rng.random_range(0..questions()));
        self.ask(member, place).await?;
        self.ground.members[member].jobs.check_staleness().await;
        if self.steps.is_multiple_of(ALL_EVERY) {
            self.ask_all().await?;
        }
        Ok(())
    }

    /// A transaction of one to three statements, of which some are taken back.
    async fn change(&mut self) -> Concerned {
        let mut changes = Vec::new();
        for _ in 0..self.rng.random_range(1..=3) {
            changes.extend(Change::any(&self.ground, &mut self.rng, &USERS).await);
        }
        let keep = self.rng.random_bool(0.9);
        let concerned = self.ground.commit(&changes, keep).await;
        let outcome = match &concerned {
            None => "refused",
            Some(_) if keep => "committed",
            Some(_) => "rolled back",
        };
        let statements: Vec<&str> = changes.iter().map(|change| change.sql.as_str()).collect();
        self.tell(format!("{outcome}: {}", statements.join("; ")));
        self.changes += usize::from(concerned.is_some());
        self.refused += usize::from(concerned.is_none());
        self.judge.expect(&concerned);
        concerned.unwrap_or_default()
    }

    /// A load whose source is held, before or after it was read, while more is changed.
    async fn change_during_a_load(&mut self, concerned: &Concerned) -> Concerned {
        let Some(place) = questions_about(concerned).choose(&mut self.rng).copied() else { return Concerned::new() };
        let member = self.rng.random_range(0..self.ground.members.len());
        let call = FaultPoint::Source(SOURCES.choose(&mut self.rng).unwrap());
        let where_to = if self.rng.random_bool(0.5) { Place::Before } else { Place::After };
        self.ground.members[member].jobs.relay_now().await;
        let (faults, gauge, cache) = {
            let member = &self.ground.members[member];
            (member.faults.clone(), member.gauge.clone(), Arc::clone(&member.cache))
        };
        let begun = faults.begun(call);
        faults.set(call, where_to, Some(Mode::HangOnce));
        let query = question(place);
        let load =
            tokio_util::task::TaskTracker::new().spawn(async move { cache.get(&query, &ReadOptions::default()).await });
        // Held, or over without that source.
        wait_for("the load", async || (load.is_finished() || faults.begun(call) > begun).then_some(())).await;
        if !load.is_finished() {
            gauge.is_at_none().await;
            self.held += 1;
        }
        let more = self.change().await;
        if self.rng.random_bool(0.5) {
            self.ground.members[member].jobs.relay_now().await;
        }
        self.tell(format!("during a load of {place} at {member}, {call:?} held {where_to:?}"));
        faults.mend();
        let answer = load.await.unwrap();
        self.judge.hear(place, &answer);
        more
    }

    /// The change has not been relayed yet: what is cached differs from the sources, and is not stale.
    async fn inspect_what_is_changing(&mut self, concerned: &Concerned) {
        let Some(place) = questions_about(concerned).choose(&mut self.rng).copied() else { return };
        let member = &self.ground.members[self.rng.random_range(0..self.ground.members.len())];
        // It is looked at if it is found in memory.
        let _ = member.cache.get(&question(place), &ReadOptions::default()).await;
        member.jobs.check_staleness().await;
    }

    async fn ask(&mut self, member: usize, place: usize) -> Result<(), String> {
        self.judge.judge(&self.ground, member, place).await.map_err(|wrong| {
            let told: Vec<&str> = self.told.iter().map(String::as_str).collect();
            format!("{:?}, step {}: {wrong}\n{}", self.ground.kind, self.steps, told.join("\n"))
        })
    }

    async fn ask_all(&mut self) -> Result<(), String> {
        for place in 0..questions() {
            self.ask_everywhere(place).await?;
        }
        Ok(())
    }

    /// After it nothing has to be read again.
    async fn ask_everywhere(&mut self, place: usize) -> Result<(), String> {
        for member in 0..self.ground.members.len() {
            self.ask(member, place).await?;
        }
        self.judge.settle(place);
        Ok(())
    }

    fn tell(&mut self, what: String) {
        if self.told.len() == TOLD {
            self.told.pop_front();
        }
        self.told.push_back(format!("{:>4} {what}", self.steps));
    }

    /// What was done, to explain a failure.
    pub(super) async fn end(mut self) -> Result<(), String> {
        self.ask_all().await?;
        eprintln!(
            "{:?}: {} steps, {} transactions ({} refused), {} into a load, {} answers judged, {} sections read again",
            self.ground.kind,
            self.steps,
            self.changes,
            self.refused,
            self.held,
            self.judge.judged,
            self.judge.read_again
        );
        for member in &self.ground.members {
            let inspected = member.inspected().await;
            eprintln!("{inspected:?}");
            assert_eq!(inspected.stale, 0);
        }
        self.ground.close().await;
        Ok(())
    }
}
