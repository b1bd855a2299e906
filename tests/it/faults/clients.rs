//! The twelve clients: all read in every way that there is, four of them change the sources and
//! measure how long the other instances still give what was before.

use std::{sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use super::{
    calls::{Change, Run, Way},
    ground::{INSTANCES, STRATEGIES, USERS},
    oracle::Ack,
    timeline::Part,
};
use testkit::server::Client;

pub(super) const CLIENTS: u64 = 12;
pub(super) const OWNERS: u64 = 4;

/// After a disturbance notifications may be missing for so long: until the connection is noticed to be dead
/// (0.55 s), made again (1 s at most) and subscribed on.
const NOTIFICATIONS_RECOVER: Duration = Duration::from_secs(2);
/// An instance that is not fresh after this is cut off; nothing is to be learnt from it.
const PROBE_MAX: Duration = Duration::from_secs(2);
/// Tokens that a client remembers.
const TOKENS: usize = 8;

/// One client, with a connection to every instance.
struct One {
    run: Arc<Run>,
    clients: Vec<Client>,
    random: ChaCha8Rng,
    tokens: Vec<(usize, Ack)>,
}

/// Reads, and if it is an owner changes, until the run is over.
pub(super) async fn client(run: Arc<Run>, clients: Vec<Client>, seed: u64, number: u64) {
    let random = ChaCha8Rng::seed_from_u64(seed.wrapping_mul(CLIENTS + 1).wrapping_add(number));
    let mut one = One { run, clients, random, tokens: Vec::new() };
    while !one.run.is_over() {
        if number < OWNERS && one.random.random_bool(0.7) {
            one.change().await;
        }
        one.read().await;
        // Closed loops without a pause would only measure the machine.
        tokio::time::sleep(Duration::from_millis(one.random.random_range(2..20))).await;
    }
}

impl One {
    async fn read(&mut self) {
        let mut user = self.random.random_range(0..USERS);
        let strategy = self.random.random_range(0..=STRATEGIES).checked_sub(1);
        let instance = self.random.random_range(0..INSTANCES);
        let way = match self.random.random_range(0..100) {
            0..50 => Way::Default,
            50..62 => Way::Strict,
            62..72 => Way::Linearizable,
            72..84 => match self.tokens.choose(&mut self.random) {
                Some((of, ack)) => {
                    user = *of;
                    Way::Token(ack.clone())
                }
                None => Way::Default,
            },
            84..88 => Way::MaxAge(Duration::from_secs(1)),
            88..90 => Way::MaxAge(Duration::ZERO),
            90..92 => Way::Refresh,
            _ => Way::Section,
        };
        self.run.read(&self.clients, instance, (user, strategy), &way).await;
    }

    /// A change that no instance is told: how long the others give the document from before, verified.
    async fn commit(&mut self) {
        let (user, which) = (self.random.random_range(0..USERS), self.random.random_range(0..STRATEGIES));
        let instance = self.random.random_range(0..INSTANCES);
        self.probe(instance, user, Some(which)).await;
        let count = self.run.commit(user, which).await;
        let committed = Instant::now();
        if self.random.random_bool(0.3) {
            self.run.read(&self.clients, instance, (user, Some(which)), &Way::Linearizable).await;
            return;
        }
        while committed.elapsed() < PROBE_MAX && !self.run.is_over() {
            let Some((sent, seen, verified)) = self.probe(instance, user, Some(which)).await else { return };
            if seen >= count {
                self.run.totals.with(|figures| figures.by_feed.push(sent - committed));
                return;
            }
            if !verified {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn change(&mut self) {
        if self.random.random_bool(0.3) {
            return self.commit().await;
        }
        let user = self.random.random_range(0..USERS);
        let strategy = self.random.random_bool(0.4).then(|| self.random.random_range(0..STRATEGIES));
        let instance = self.random.random_range(0..INSTANCES);
        let kind = self.random.random_range(0..100);
        let change = Change { user, strategy, wait_for_all: kind < 20, purge: (20..25).contains(&kind) };
        let others: [usize; INSTANCES - 1] = std::array::from_fn(|step| (instance + 1 + step) % INSTANCES);
        // So that they have something old to give.
        tokio::join!(self.probe(others[0], user, strategy), self.probe(others[1], user, strategy));
        let Some(ack) = self.run.change(&self.clients, instance, change).await else { return };
        // At once, before a notification or a poll can have made them fresh: what binds them by itself.
        let surely = match self.random.random_range(0..6) {
            _ if ack.waited_for_all => Some(Way::Default),
            0 => Some(Way::Token(ack.clone())),
            1 => Some(Way::Linearizable),
            _ => None,
        };
        if let Some(way) = surely {
            let read = |other| self.run.read(&self.clients, other, (user, strategy), &way);
            tokio::join!(read(others[0]), read(others[1]));
        } else {
            tokio::join!(self.watch(&ack, others[0], user, strategy), self.watch(&ack, others[1], user, strategy));
        }
        self.tokens.push((user, ack));
        if self.tokens.len() > TOKENS {
            self.tokens.remove(0);
        }
    }

    /// The answer of an instance to a plain question: the count, and when the question was sent.
    async fn probe(&self, instance: usize, user: usize, strategy: Option<usize>) -> Option<(Instant, i64, bool)> {
        let (asked, seen) = self.run.read(&self.clients, instance, (user, strategy), &Way::Default).await?;
        Some((asked.sent, seen.count, seen.verified))
    }

    /// How long an instance still gave the document from before, verified.
    async fn watch(&self, ack: &Ack, other: usize, user: usize, strategy: Option<usize>) {
        let count = ack.rows[0].1;
        let mut older_for = Duration::ZERO;
        let fresh_at = loop {
            let Some((sent, seen, verified)) = self.probe(other, user, strategy).await else { return };
            if seen >= count {
                break sent;
            }
            if sent - ack.acknowledged > PROBE_MAX || self.run.is_over() {
                return;
            }
            if verified {
                older_for = sent - ack.acknowledged;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        self.record(ack, other, fresh_at, older_for);
    }

    /// It is notifications that are measured if Redis was well at both ends, polls if it was away from one.
    fn record(&self, ack: &Ack, other: usize, fresh_at: Instant, older_for: Duration) {
        let timeline = &self.run.timeline;
        let ends = [ack.instance, other];
        let is_disturbed =
            |part, end: usize| timeline.disturbs((part, end), ack.called, fresh_at, NOTIFICATIONS_RECOVER).is_some();
        if ends.iter().any(|end| is_disturbed(Part::Process, *end) || is_disturbed(Part::Database, *end)) {
            return;
        }
        if !ends.iter().any(|end| is_disturbed(Part::Redis, *end)) {
            self.run.totals.with(|figures| figures.by_notification.push(older_for));
        } else if ends.iter().any(|end| timeline.is_away((Part::Redis, *end), ack.called, fresh_at)) {
            self.run.totals.with(|figures| figures.by_poll.push(older_for));
        }
    }
}
