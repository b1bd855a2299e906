//! Readers and invalidations that never stop, and a judge of every answer.
//!
//! The oracle: a source row of each user holds a count that grows. An answer must be at least as new as
//! the sources were when the last invalidation was called that binds it: one that the same instance had
//! acknowledged, one whose token the request carries, or one acknowledged a lease before the request.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display, Formatter},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use sea_orm::DatabaseConnection;
use tokio::time::Instant;
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use userdata::proto::v1::{CacheStatus, GetComprehensiveUserDataRequest};

use crate::{
    ask::{Answer, everything_of, get, invalidate, of},
    cluster::Cluster,
    database::execute,
    server::Client,
    sources, wait_for,
};

/// L: an instance trusts its copy of the log for so long.
const LEASE: Duration = Duration::from_millis(500);
/// A caller in a closed loop does not leave the machine's two cores to anybody else.
const BETWEEN_ANSWERS: Duration = Duration::from_millis(5);
/// Longer: with nothing but invalidations, nothing would be found in any tier.
const BETWEEN_INVALIDATIONS: Duration = Duration::from_millis(20);

/// A user, and what is known of its source row.
#[derive(Debug)]
pub struct User {
    pub name: String,
    pub strategy: i32,
    /// The largest count that may have been written.
    written: AtomicI64,
    acknowledged: Mutex<Vec<Acknowledged>>,
}

/// An invalidation that was called when the sources had this count.
#[derive(Clone, Debug)]
struct Acknowledged {
    count: i64,
    token: String,
    at: Instant,
}

impl User {
    /// The count that no answer of who acknowledged may be below.
    pub fn acknowledged(&self) -> i64 {
        self.acknowledged.lock().unwrap().last().map_or(0, |last| last.count)
    }

    /// The tokens of all invalidations that were acknowledged.
    pub fn tokens(&self) -> Vec<String> {
        self.acknowledged.lock().unwrap().iter().map(|one| one.token.clone()).collect()
    }

    /// What is wrong with an answer that is bound to this count.
    pub fn wrong(&self, answer: &Answer, at_least: i64) -> Option<String> {
        let written = self.written.load(Ordering::SeqCst);
        let right = answer.user == self.name
            && answer.strategy == i64::from(self.strategy)
            && (at_least..=written).contains(&answer.count)
            && answer.verified;
        (!right).then(|| format!("user {}: {answer:?}, expected {at_least} to {written}", self.name))
    }

    /// The last acknowledged invalidation that every instance has to know by now.
    fn known_everywhere(&self) -> i64 {
        let acknowledged = self.acknowledged.lock().unwrap();
        let known = acknowledged.iter().rev().find(|one| one.at.elapsed() >= LEASE);
        known.map_or(0, |one| one.count)
    }
}

/// Users with one strategy each, whose names are in every section that has text of theirs.
pub async fn users(cluster: &Cluster, number: i32) -> Vec<Arc<User>> {
    let mut users = Vec::new();
    for number in 1..=number {
        let (name, strategy) = (format!("user-{number}"), 10 + number);
        cluster.sources.add_user(&name, &[strategy]).await;
        for sql in [
            format!("UPDATE enhanced_content_strategies SET industry = 'trade of {name}' WHERE id = {strategy}"),
            format!(
                "INSERT INTO website_analyses (session_id, website_url, status) \
                 SELECT id, 'https://{name}.example', 'completed' FROM onboarding_sessions WHERE user_id = '{name}'"
            ),
        ] {
            execute(&cluster.sources.db, &sql).await;
        }
        users.push(Arc::new(User { name, strategy, written: AtomicI64::new(0), acknowledged: Mutex::default() }));
    }
    users
}

/// What has come so far.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Answers, by where they came from and about whom.
    answers: BTreeMap<(CacheStatus, String), usize>,
    pub invalidations: usize,
    /// Answers that were wrong.
    pub wrong: Vec<String>,
    /// Calls that failed.
    pub failed: Vec<String>,
}

impl Observed {
    fn judged(&self) -> usize {
        self.answers.values().sum()
    }

    fn from(&self, status: CacheStatus) -> usize {
        self.answers.iter().filter(|((from, _), _)| *from == status).map(|(_, answers)| answers).sum()
    }

    fn about(&self, user: &User, status: CacheStatus) -> usize {
        self.answers.get(&(status, user.name.clone())).copied().unwrap_or_default()
    }
}

impl Display for Observed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let statuses: BTreeSet<CacheStatus> = self.answers.keys().map(|(status, _)| *status).collect();
        for status in statuses {
            write!(f, "{} {}, ", self.from(status), status.as_str_name())?;
        }
        write!(f, "{} invalidations", self.invalidations)
    }
}

/// How a reader asks, and hence by what its answers are bound.
#[derive(Clone, Copy, Debug)]
enum Asks {
    /// The instance that acknowledges.
    Near,
    /// Another one.
    Far,
    /// Another one, with the last token.
    FarWithToken,
}

/// Calls that go on until this is stopped or dropped.
#[derive(Debug)]
pub struct Oracle {
    users: Vec<Arc<User>>,
    seen: Arc<Mutex<Observed>>,
    stop: CancellationToken,
    callers: Vec<AbortOnDropHandle<()>>,
}

/// What a caller has.
struct Calls {
    client: Client,
    users: Vec<Arc<User>>,
    seen: Arc<Mutex<Observed>>,
    stop: CancellationToken,
}

impl Oracle {
    /// One writer that invalidates at `near`, and readers there and, if it is another instance, at `far`.
    /// The number of users has no divisor in common with the readers' steps, or some would never be asked for.
    pub fn start(cluster: &Cluster, users: &[Arc<User>], near: &Client, far: Option<&Client>) -> Self {
        let seen: Arc<Mutex<Observed>> = Arc::default();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let calls = |client: &Client| Calls {
            client: client.clone(),
            users: users.to_vec(),
            seen: Arc::clone(&seen),
            stop: stop.clone(),
        };
        let mut callers = vec![tasks.spawn(calls(near).write(cluster.sources.db.clone()))];
        // In steps of other lengths: in step with the writer, they would ask for nothing but what it has just outdated.
        callers.extend([5, 7].map(|step| tasks.spawn(calls(near).read(Asks::Near, step))));
        if let Some(far) = far {
            callers.push(tasks.spawn(calls(far).read(Asks::Far, 5)));
            callers.push(tasks.spawn(calls(far).read(Asks::FarWithToken, 7)));
        }
        let callers = callers.into_iter().map(AbortOnDropHandle::new).collect();
        Self { users: users.to_vec(), seen, stop, callers }
    }

    /// Waits until every call has ended.
    pub async fn stop(self) -> Observed {
        self.stop.cancel();
        for caller in self.callers {
            caller.await.unwrap();
        }
        let seen = self.seen.lock().unwrap();
        seen.clone()
    }

    /// What has come so far.
    pub fn seen(&self) -> Observed {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until so many more answers have been judged, and so many more invalidations acknowledged.
    pub async fn more(&self, answers: usize, invalidations: usize) {
        let before = self.seen();
        self.until("calls to go on", |seen| {
            seen.judged() >= before.judged() + answers && seen.invalidations >= before.invalidations + invalidations
        })
        .await;
    }

    /// Waits until so many more answers have come from there.
    pub async fn more_from(&self, status: CacheStatus, answers: usize) {
        let before = self.seen().from(status);
        self.until(status.as_str_name(), |seen| seen.from(status) >= before + answers).await;
    }

    /// Waits until one more answer about each user has come from there.
    pub async fn everybody_from(&self, status: CacheStatus) {
        let before = self.seen();
        self.until(status.as_str_name(), |seen| {
            self.users.iter().all(|user| seen.about(user, status) > before.about(user, status))
        })
        .await;
    }

    /// No answer was wrong and no call failed.
    pub fn assert_right(&self, when: &str) {
        let seen = self.seen();
        assert!(seen.wrong.is_empty(), "{when}: {} wrong answers, as {}", seen.wrong.len(), seen.wrong[0]);
        assert!(seen.failed.is_empty(), "{when}: {} failures, as {}", seen.failed.len(), seen.failed[0]);
    }

    async fn until(&self, what: &str, there: impl Fn(&Observed) -> bool) {
        wait_for(what, async || there(&self.seen.lock().unwrap()).then_some(())).await;
    }
}

impl Calls {
    async fn read(self, asks: Asks, step: usize) {
        for user in self.users.iter().cycle().step_by(step).take_while(|_| !self.stop.is_cancelled()) {
            let (at_least, min_token) = match asks {
                Asks::Near => (user.acknowledged(), String::new()),
                Asks::Far => (user.known_everywhere(), String::new()),
                Asks::FarWithToken => {
                    let last = user.acknowledged.lock().unwrap().last().cloned();
                    last.map_or_else(Default::default, |last| (last.count, last.token))
                }
            };
            let request = GetComprehensiveUserDataRequest { min_token, ..of(&user.name) };
            let outcome = get(&self.client, request).await;
            {
                let mut seen = self.seen.lock().unwrap();
                match outcome {
                    Ok(answer) => {
                        *seen.answers.entry((answer.status, user.name.clone())).or_default() += 1;
                        seen.wrong.extend(user.wrong(&answer, at_least).map(|wrong| format!("{asks:?}: {wrong}")));
                    }
                    Err(status) => seen.failed.push(format!("{asks:?}, user {}: {status}", user.name)),
                }
            }
            tokio::time::sleep(BETWEEN_ANSWERS).await;
        }
    }

    /// Ends at the first invalidation that fails, so that at most one user's sources are ahead of its invalidations.
    async fn write(self, db: DatabaseConnection) {
        for user in self.users.iter().cycle().take_while(|_| !self.stop.is_cancelled()) {
            // Order: a reader of the new count must find that it may have been written.
            let count = user.written.fetch_add(1, Ordering::SeqCst) + 1;
            sources::write(&db, user.strategy, count).await;
            match invalidate(&self.client, everything_of(&user.name)).await {
                Ok(token) => {
                    user.acknowledged.lock().unwrap().push(Acknowledged { count, token, at: Instant::now() });
                    self.seen.lock().unwrap().invalidations += 1;
                }
                Err(status) => {
                    let failed = format!("invalidation of user {}: {status}", user.name);
                    return self.seen.lock().unwrap().failed.push(failed);
                }
            }
            tokio::time::sleep(BETWEEN_INVALIDATIONS).await;
        }
    }
}
