//! The protocol's steps: what may happen next in a state.
//!
//! Each step is what really is atomic: one statement of the database, one critical section, one
//! message. Between any two of them everybody else may act, and whatever takes long (a frozen
//! database, a paused process, a slow source) is a step that is not taken for a while.

use std::fmt::{self, Display, Formatter};

use crate::{
    configurations::{Configuration, Kind, Wish},
    explore::{Model, Next},
    mutants::Mutant,
    state::{
        Flight, Instance, LogRow, Lost, NOBODY, Phase, Progress, Reading, SECTIONS, Set, Snapshot, Stage, State, Used,
        instance,
    },
};

/// One configuration of the protocol, whole or with one rule broken.
pub(crate) struct Protocol {
    pub(crate) configuration: Configuration,
    pub(crate) mutant: Option<Mutant>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Tick,
    Call { invalidation: u8, at: u8 },
    Draw { invalidation: u8 },
    Commit { invalidation: u8 },
    Acknowledge { invalidation: u8 },
    Change { invalidation: u8 },
    Take { invalidation: u8, at: u8 },
    Delete { invalidation: u8 },
    Send { at: u8 },
    ReadHead { at: u8 },
    Replace { at: u8 },
    ApplyRows { at: u8 },
    Extend { at: u8 },
    Arrive { request: u8, at: u8 },
    GiveUp { request: u8 },
    Look { request: u8 },
    FindInRedis { at: u8, flight: u8, stored: u8 },
    FindInTable { at: u8, flight: u8 },
    BeginReads { at: u8, flight: u8 },
    Land { at: u8, flight: u8, partial: bool },
    Write { write: u8, stored: bool },
    Crash { at: u8 },
    Lose { to: u8 },
    Trim { to: u8 },
    Prune { at: u8 },
}

impl Display for Step {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::Tick => "time passes".to_owned(),
            Self::Call { invalidation, at } => format!("invalidation #{invalidation} is called at {}", instance(at)),
            Self::Draw { invalidation } => format!("#{invalidation} draws its position"),
            Self::Commit { invalidation } => format!("#{invalidation}'s fence is committed"),
            Self::Acknowledge { invalidation } => format!("#{invalidation} is acknowledged"),
            Self::Change { invalidation } => format!("change #{invalidation} is written, with its outbox row"),
            Self::Take { invalidation, at } => format!("{} locks the outbox row of #{invalidation}", instance(at)),
            Self::Delete { invalidation } => format!("the outbox row of #{invalidation} is deleted"),
            Self::Send { at } => format!("{} sends its read of the log", instance(at)),
            Self::ReadHead { at } => format!("{} reads the log's head", instance(at)),
            Self::Replace { at } => format!("{} replaces the incarnation", instance(at)),
            Self::ApplyRows { at } => format!("{} reads the log's rows and applies them", instance(at)),
            Self::Extend { at } => format!("{} extends its lease", instance(at)),
            Self::Arrive { request, at } => format!("request {request} arrives at {}", instance(at)),
            Self::GiveUp { request } => format!("request {request} waits no longer for the log"),
            Self::Look { request } => format!("request {request} looks into memory, else boards a load"),
            Self::FindInRedis { at, flight, stored } => {
                format!("{}'s load {flight} gets value {stored} from Redis", instance(at))
            }
            Self::FindInTable { at, flight } => format!("{}'s load {flight} gets the table's row", instance(at)),
            Self::BeginReads { at, flight } => {
                format!("{}'s load {flight} has to read the sources, and begins", instance(at))
            }
            Self::Land { at, flight, partial } => {
                let how = if partial { ", one section failed" } else { "" };
                format!("{}'s load {flight} lands{how}", instance(at))
            }
            Self::Write { write, stored } => {
                format!("write {write} {}", if stored { "reaches the table" } else { "is lost" })
            }
            Self::Crash { at } => format!("{} crashes and starts again", instance(at)),
            Self::Lose { to } => format!("the database loses its commits after position {to}"),
            Self::Trim { to } => format!("the log is trimmed up to position {to}"),
            Self::Prune { at } => format!("{} forgets the key's fences", instance(at)),
        };
        formatter.write_str(&text)
    }
}

/// The successors found so far.
struct Steps<'a> {
    next: &'a mut Vec<Next<Protocol>>,
}

impl Steps<'_> {
    fn add(&mut self, step: Step, state: State) {
        self.next.push(Next { step, state, broken: None });
    }

    fn judged(&mut self, step: Step, state: State, broken: Option<String>) {
        self.next.push(Next { step, state, broken });
    }
}

impl Model for Protocol {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let mut state = State::default();
        state.database.incarnation = 1;
        if self.configuration.started {
            for one in &mut state.instances {
                one.caught_up = true;
                one.incarnation = 1;
                one.lease_left = self.configuration.lease;
            }
        }
        state
    }

    fn fingerprint(&self, state: &State) -> u64 {
        let used = self.used();
        let fingerprint = state.fingerprint([0, 1, 2], used);
        match self.configuration.instances {
            1 => fingerprint,
            // No instance differs from another, so swapping their names changes nothing.
            _ => fingerprint.min(state.fingerprint([1, 0, 2], used)),
        }
    }

    fn steps(&self, state: &State, next: &mut Vec<Next<Self>>) {
        let asked = &state.requests[..self.configuration.requests.len()];
        if asked.iter().all(|request| request.phase == Phase::Answered) && !self.configuration.row {
            return; // nobody is left to whom a promise could be broken
        }
        let mut steps = Steps { next };
        self.time(state, &mut steps);
        self.invalidations(state, &mut steps);
        self.requests(state, &mut steps);
        for at in 0..self.configuration.instances as u8 {
            self.catch_up(state, at, &mut steps);
            self.flights(state, at, &mut steps);
        }
        self.writes(state, &mut steps);
        self.faults(state, &mut steps);
    }

    fn show(&self, state: &State) -> String {
        state.show(self.used())
    }
}

impl Protocol {
    fn used(&self) -> Used {
        Used {
            instances: self.configuration.instances,
            invalidations: self.configuration.invalidations.len(),
            requests: self.configuration.requests.len(),
            redis: self.configuration.redis,
            row: self.configuration.row,
            alike: self.configuration.requests.windows(2).all(|pair| pair[0] == pair[1]),
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn instances(&self) -> std::ops::Range<u8> {
        0..self.configuration.instances as u8
    }

    fn sections(&self) -> std::ops::Range<usize> {
        0..self.configuration.sections
    }

    // ---- time

    fn time(&self, state: &State, steps: &mut Steps<'_>) {
        let lease = self.configuration.lease;
        if !self.configuration.time {
            return;
        }
        let mut after = *state;
        let mut moved = false;
        for one in &mut after.instances {
            moved |= one.lease_left > 0;
            one.lease_left = one.lease_left.saturating_sub(1);
            if one.reading != Reading::Idle && one.read_age < lease {
                one.read_age += 1;
                moved = true;
            }
        }
        for (one, invalidation) in after.invalidations.iter_mut().zip(self.configuration.invalidations) {
            let counts = match invalidation.kind {
                Kind::Change => one.progress == Progress::Done,
                _ => one.progress >= Progress::Committed && one.position > 0,
            };
            if counts && one.since < lease {
                one.since += 1;
                moved = true;
            }
        }
        if moved {
            steps.add(Step::Tick, after);
        }
    }

    // ---- invalidations, changes and the relay

    fn invalidations(&self, state: &State, steps: &mut Steps<'_>) {
        for (index, invalidation) in self.configuration.invalidations.iter().enumerate() {
            let one = &state.invalidations[index];
            let name = index as u8;
            // Of two that are alike the first comes first.
            let alike = index > 0 && self.configuration.invalidations[index - 1] == *invalidation;
            let waits = alike && state.invalidations[index - 1].progress == Progress::Idle;
            match (invalidation.kind, one.progress) {
                (_, Progress::Idle) if waits => {}
                (Kind::Elsewhere, Progress::Idle) => {
                    let mut after = *state;
                    after.called |= 1 << index;
                    self.commit(&mut after, index);
                    steps.add(Step::Commit { invalidation: name }, after);
                }
                (Kind::Change, Progress::Idle) => {
                    let mut after = *state;
                    after.called |= 1 << index;
                    after.invalidations[index].progress = Progress::Called;
                    steps.add(Step::Change { invalidation: name }, after);
                }
                (Kind::Change, Progress::Called) => {
                    for at in self.instances() {
                        let mut after = *state;
                        after.invalidations[index].at = at;
                        after.invalidations[index].progress = Progress::Taken;
                        steps.add(Step::Take { invalidation: name, at }, after);
                    }
                }
                (Kind::Change, Progress::Taken) if self.is(Mutant::DeletesTheOutboxRowFirst) => {
                    let mut after = *state;
                    after.invalidations[index].progress = Progress::Between;
                    steps.add(Step::Delete { invalidation: name }, after);
                }
                (Kind::Change, Progress::Taken | Progress::Between) => {
                    let mut after = *state;
                    let deleted = one.progress == Progress::Between;
                    self.commit(&mut after, index);
                    if deleted {
                        after.invalidations[index].progress = Progress::Done;
                    }
                    steps.add(Step::Commit { invalidation: name }, after);
                }
                (Kind::Change, Progress::Committed) => {
                    let mut after = *state;
                    after.invalidations[index].progress = Progress::Done;
                    after.invalidations[index].since = 0;
                    steps.add(Step::Delete { invalidation: name }, after);
                }
                (Kind::Change | Kind::Elsewhere, _) => {}
                (_, Progress::Idle) => {
                    for at in self.instances() {
                        let mut after = *state;
                        after.called |= 1 << index;
                        after.invalidations[index].progress = Progress::Called;
                        after.invalidations[index].at = at;
                        steps.add(Step::Call { invalidation: name, at }, after);
                    }
                }
                (_, Progress::Called) if self.is(Mutant::SequenceForACounter) => {
                    let mut after = *state;
                    after.invalidations[index].progress = Progress::Between;
                    let drawn = state.invalidations.iter().map(|other| other.position).max().unwrap_or(0);
                    after.invalidations[index].position = drawn + 1;
                    steps.add(Step::Draw { invalidation: name }, after);
                }
                (_, Progress::Called | Progress::Between) => {
                    let mut after = *state;
                    self.commit(&mut after, index);
                    if self.is(Mutant::AppliesOnlyItsOwnRow) {
                        let (position, nonce) = (after.database.seq, after.database.nonces);
                        let home = &mut after.instances[usize::from(one.at)];
                        self.fence(home, invalidation.sections, position);
                        home.applied = position;
                        home.nonce = nonce;
                        after.invalidations[index].progress = Progress::CaughtUp;
                    }
                    if self.is(Mutant::SharesASentCatchUp)
                        && state.instances[usize::from(one.at)].reading != Reading::Idle
                    {
                        after.invalidations[index].progress = Progress::Riding;
                    }
                    if self.is(Mutant::AcknowledgesBeforeApplying) {
                        after.invalidations[index].progress = Progress::CaughtUp;
                    }
                    steps.add(Step::Commit { invalidation: name }, after);
                }
                (kind, Progress::CaughtUp) => {
                    let applied = state.instances[usize::from(one.at)].applied >= one.position
                        || self.is(Mutant::AcknowledgesBeforeApplying);
                    let waited = kind != Kind::WaitAll
                        || one.since >= self.configuration.lease
                        || self.is(Mutant::WaitAllDoesNotWait);
                    if applied && waited {
                        let mut after = *state;
                        after.invalidations[index].progress = Progress::Done;
                        steps.add(Step::Acknowledge { invalidation: name }, after);
                    }
                }
                (_, Progress::Taken | Progress::Committed | Progress::Riding | Progress::Done | Progress::Orphaned) => {
                }
            }
        }
    }

    /// The counter row's lock is held until COMMIT, so to everybody else advancing the counter and
    /// appending the row are one step.
    fn commit(&self, state: &mut State, index: usize) {
        let one = &mut state.invalidations[index];
        let database = &mut state.database;
        // A sequence has handed out the position before.
        let position =
            if one.progress == Progress::Between && one.position > 0 { one.position } else { database.seq + 1 };
        one.position = position;
        one.progress = Progress::Committed;
        one.since = 0;
        database.seq = database.seq.max(position);
        database.nonces += 1;
        let sections = self.configuration.invalidations[index].sections;
        database.log[usize::from(position) - 1] = LogRow { nonce: database.nonces, sections };
    }

    /// Applies one row of the log.
    fn fence(&self, instance: &mut Instance, sections: u8, position: u8) {
        for section in self.sections() {
            if self.concerns(sections, section)
                && !(self.is(Mutant::ForgetsWhatIsMadeFromASection) && sections & 1 << section == 0)
            {
                instance.fences[section] = position;
            }
        }
    }

    /// Whether a fence on some sections concerns one: the second is made from the first.
    pub(crate) fn concerns(&self, sections: u8, section: usize) -> bool {
        sections & 1 << section != 0 || (section == 1 && sections & 1 != 0)
    }

    // ---- the copy of the log

    fn catch_up(&self, state: &State, at: u8, steps: &mut Steps<'_>) {
        let index = usize::from(at);
        let before = &state.instances[index];
        let lease = self.configuration.lease;
        let mut after = *state;
        let own = &mut after.instances[index];
        match before.reading {
            Reading::Idle => {
                if !self.configuration.polls && !self.has_reason_to_read(state, at) {
                    return;
                }
                own.reading = Reading::Sent;
                own.read_age = 0;
                // Whoever asked before the read was sent shares it.
                for request in &mut after.requests {
                    if request.phase == Phase::Queued && request.at == at {
                        request.phase = Phase::Riding;
                    }
                }
                for (one, invalidation) in after.invalidations.iter_mut().zip(self.configuration.invalidations) {
                    let waits = matches!(invalidation.kind, Kind::Plain | Kind::WaitAll);
                    if waits && one.progress == Progress::Committed && one.at == at {
                        one.progress = Progress::Riding;
                    }
                }
                steps.add(Step::Send { at }, after);
            }
            Reading::Sent => {
                let database = &state.database;
                let other_log = database.incarnation != before.incarnation;
                let nonce_there = database.at(before.applied).nonce;
                if other_log {
                    own.incarnation = database.incarnation;
                    own.applied = database.floor;
                    own.floor = database.floor;
                    own.nonce = 0;
                    own.fences = [0; SECTIONS];
                    // Starts again, with a new read; the lease of the old log goes on.
                    own.read_age = 0;
                } else if database.seq < before.applied
                    || (before.applied > database.floor && nonce_there != before.nonce)
                {
                    own.reading = Reading::Lost;
                } else {
                    own.reading = Reading::Head;
                    own.read_seq = database.seq;
                    own.read_floor = database.floor;
                    if self.is(Mutant::LeaseBeforeTheRows) {
                        own.lease_left = lease - before.read_age;
                    }
                }
                steps.add(Step::ReadHead { at }, after);
            }
            Reading::Lost => {
                own.reading = Reading::Sent;
                own.read_age = 0;
                if state.database.incarnation == before.incarnation {
                    after.database.incarnation += 1;
                    after.database.floor = after.database.seq;
                    self.renew(&mut after, before.applied);
                }
                steps.add(Step::Replace { at }, after);
            }
            Reading::Head => {
                self.apply(state, at, steps);
            }
            Reading::Applied => {
                own.reading = Reading::Idle;
                if !self.is(Mutant::LeaseBeforeTheRows) {
                    let counted = if self.is(Mutant::LeaseFromTheReadsEnd) { 0 } else { before.read_age };
                    own.lease_left = lease - counted;
                }
                own.caught_up = true;
                own.read_age = 0;
                for request in &mut after.requests {
                    if request.phase == Phase::Riding && request.at == at {
                        request.phase = Phase::Checked;
                        request.verified = true;
                    }
                }
                for one in &mut after.invalidations {
                    if one.progress == Progress::Riding && one.at == at {
                        one.progress = Progress::CaughtUp;
                    }
                }
                steps.add(Step::Extend { at }, after);
            }
        }
    }

    /// A read that brings nothing new, and that nobody waits for, changes nothing but the lease.
    fn has_reason_to_read(&self, state: &State, at: u8) -> bool {
        let own = &state.instances[usize::from(at)];
        let database = &state.database;
        !own.caught_up
            || own.lease_left < self.configuration.lease
            || own.incarnation != database.incarnation
            || own.applied != database.seq
            || own.floor < database.floor
            || state.requests.iter().any(|one| one.phase == Phase::Queued && one.at == at)
            || state.invalidations.iter().any(|one| one.progress == Progress::Committed && one.at == at)
    }

    fn apply(&self, state: &State, at: u8, steps: &mut Steps<'_>) {
        let mut after = *state;
        let database = &state.database;
        let own = &mut after.instances[usize::from(at)];
        let follows = own.applied <= database.floor || database.at(own.applied).nonce == own.nonce;
        if !follows && !self.is(Mutant::TakesTheRowsOfAnotherLog) {
            own.reading = Reading::Lost;
            (own.read_seq, own.read_floor) = (0, 0);
            steps.add(Step::ApplyRows { at }, after);
            return;
        }
        let mut contiguous = true;
        for position in own.applied + 1..=own.read_seq {
            let row = database.at(position);
            if row.nonce == 0 {
                contiguous = false;
                continue;
            }
            self.fence(own, row.sections, position);
            own.nonce = row.nonce;
        }
        own.floor = own.floor.max(own.read_floor);
        if !contiguous && !self.is(Mutant::SequenceForACounter) {
            own.floor = own.floor.max(own.read_seq);
        }
        own.applied = own.read_seq;
        own.reading = Reading::Applied;
        (own.read_seq, own.read_floor) = (0, 0);
        steps.add(Step::ApplyRows { at }, after);
    }

    // ---- requests

    fn requests(&self, state: &State, steps: &mut Steps<'_>) {
        for (index, wish) in self.configuration.requests.iter().enumerate() {
            let request = index as u8;
            let one = &state.requests[index];
            match one.phase {
                Phase::Idle => {
                    let alike = index > 0 && self.configuration.requests[index - 1] == *wish;
                    if alike && state.requests[index - 1].phase == Phase::Idle {
                        continue;
                    }
                    if self.cannot_come_yet(state, *wish) {
                        continue;
                    }
                    for at in self.instances() {
                        steps.add(Step::Arrive { request, at }, self.arrive(state, index, *wish, at));
                    }
                }
                Phase::Queued | Phase::Riding
                    if self.configuration.impatient && !wish.linearizable && wish.token.is_none() =>
                {
                    let mut after = *state;
                    after.requests[index].phase = Phase::Checked;
                    steps.add(Step::GiveUp { request }, after);
                }
                Phase::Checked => self.look(state, index, *wish, steps),
                Phase::Queued | Phase::Riding | Phase::Waiting | Phase::Answered => {}
            }
        }
    }

    /// A token is there once its invalidation is acknowledged.
    fn cannot_come_yet(&self, state: &State, wish: Wish) -> bool {
        wish.token.is_some_and(|of| state.invalidations[usize::from(of)].progress != Progress::Done)
    }

    fn arrive(&self, state: &State, index: usize, wish: Wish, at: u8) -> State {
        let mut after = *state;
        let own = &state.instances[usize::from(at)];
        let request = &mut after.requests[index];
        request.at = at;
        (request.must, request.must_if_verified) = self.bound(state, at, wish);
        let behind = wish
            .token
            .is_some_and(|of| own.applied < state.invalidations[usize::from(of)].position || own.incarnation == 0);
        let must_read = wish.linearizable || (behind && !self.is(Mutant::IgnoresTheToken));
        let leased = own.caught_up && (own.lease_left > 0 || self.is(Mutant::NoLease));
        if leased && !must_read {
            request.phase = Phase::Checked;
            request.verified = true;
        } else if self.is(Mutant::SharesASentCatchUp) && own.reading != Reading::Idle {
            request.phase = Phase::Riding;
        } else {
            request.phase = Phase::Queued;
        }
        after
    }

    fn look(&self, state: &State, index: usize, wish: Wish, steps: &mut Steps<'_>) {
        let request = index as u8;
        let at = state.requests[index].at;
        let own = &state.instances[usize::from(at)];
        let step = Step::Look { request };
        // Nothing cached is served before the first complete catch-up.
        if own.caught_up && self.admits(own, &own.memory, wish.sections) {
            let mut after = *state;
            let broken = self.answer(&mut after, index, &own.memory);
            steps.judged(step, after, broken);
            return;
        }
        let joins = |flight: &Flight| {
            let newer = flight.tag >= own.fence() || self.is(Mutant::JoinsAnOlderFlight);
            let same_log = flight.incarnation == own.incarnation
                || self.is(Mutant::JoinsAcrossIncarnations)
                || self.is(Mutant::JoinsAnOlderFlight);
            flight.listed && newer && same_log
        };
        let mut after = *state;
        if let Some(flight) = own.flights.iter().position(joins) {
            after.requests[index].flight = flight as u8;
        } else if let Some(free) = own.flights.iter().position(|flight| flight.stage == Stage::None) {
            let flights = &mut after.instances[usize::from(at)].flights;
            // A flight older than the fence loses its place but goes on for those who joined it.
            for older in flights.iter_mut() {
                older.listed = false;
            }
            flights[free] = Flight {
                stage: Stage::Boarded,
                listed: true,
                incarnation: own.incarnation,
                tag: own.applied,
                ..Flight::default()
            };
            after.requests[index].flight = free as u8;
        } else {
            return;
        }
        after.requests[index].phase = Phase::Waiting;
        steps.add(step, after);
    }

    /// Whether every asked section can be served.
    fn admits(&self, own: &Instance, snapshot: &Snapshot, asked: u8) -> bool {
        self.readable(own, snapshot)
            && self.sections().all(|section| asked & 1 << section == 0 || own.is_valid(section, snapshot.tag[section]))
    }

    fn readable(&self, own: &Instance, snapshot: &Snapshot) -> bool {
        snapshot.is_there()
            && (snapshot.incarnation == own.incarnation || self.is(Mutant::IgnoresTheIncarnation))
            && snapshot.tag.iter().all(|tag| *tag <= own.applied)
    }

    // ---- flights

    fn flights(&self, state: &State, at: u8, steps: &mut Steps<'_>) {
        let own = &state.instances[usize::from(at)];
        for (index, one) in own.flights.iter().enumerate() {
            let flight = index as u8;
            match one.stage {
                Stage::None => {}
                Stage::Boarded | Stage::Based => {
                    // A miss is one step with the beginning of the reads: whatever may happen between
                    // them may as well happen before both.
                    steps.add(Step::BeginReads { at, flight }, self.begin_reads(state, at, index));
                    if one.stage == Stage::Based || !own.caught_up {
                        continue;
                    }
                    for (stored, snapshot) in state.redis.iter().enumerate().take_while(|(_, one)| one.is_there()) {
                        let step = Step::FindInRedis { at, flight, stored: stored as u8 };
                        self.found(state, at, index, snapshot, step, self.is(Mutant::TrustsRedis), steps);
                    }
                    if state.database.row.is_there() {
                        let step = Step::FindInTable { at, flight };
                        self.found(state, at, index, &state.database.row, step, false, steps);
                    }
                }
                Stage::Reading => {
                    let mut sealed = one.held;
                    if self.is(Mutant::TagTakenAtTheEnd) {
                        sealed.tag = [own.applied; SECTIONS];
                        if self.configuration.sections == 1 {
                            sealed.tag[1] = 0;
                        }
                    }
                    self.land(state, at, index, &sealed, true, Step::Land { at, flight, partial: false }, steps);
                    if self.configuration.partial {
                        sealed.partial = true;
                        self.land(state, at, index, &sealed, true, Step::Land { at, flight, partial: true }, steps);
                    }
                }
            }
        }
    }

    fn begin_reads(&self, state: &State, at: u8, index: usize) -> State {
        let mut after = *state;
        let flight = &mut after.instances[usize::from(at)].flights[index];
        flight.stage = Stage::Reading;
        flight.held.incarnation = flight.incarnation;
        for section in self.sections() {
            if flight.reused & 1 << section == 0 {
                flight.held.tag[section] = flight.tag;
                flight.held.knows[section] = state.called;
            }
        }
        after
    }

    /// A load judges what a tier gave it: served if all of it is valid, a base if some of it is.
    #[expect(clippy::too_many_arguments, reason = "a value's way through one load")]
    fn found(
        &self,
        state: &State,
        at: u8,
        index: usize,
        snapshot: &Snapshot,
        step: Step,
        trusted: bool,
        steps: &mut Steps<'_>,
    ) {
        let own = &state.instances[usize::from(at)];
        let all = (1 << self.configuration.sections) - 1;
        if trusted || self.admits(own, snapshot, all) {
            // To the upper tiers only.
            self.land(state, at, index, snapshot, false, step, steps);
            return;
        }
        if self.configuration.sections == 1 || snapshot.partial || !self.readable(own, snapshot) {
            return;
        }
        let valid =
            |section: &usize| own.is_valid(*section, snapshot.tag[*section]) || self.is(Mutant::ReusesFencedSections);
        let reused = self.sections().filter(valid).fold(0, |set, one| set | 1 << one);
        if reused == 0 || snapshot.incarnation != own.flights[index].incarnation {
            return;
        }
        let mut after = *state;
        let flight = &mut after.instances[usize::from(at)].flights[index];
        flight.stage = Stage::Based;
        flight.reused = reused;
        for section in self.sections() {
            if reused & 1 << section != 0 {
                flight.held.tag[section] = snapshot.tag[section];
                flight.held.knows[section] = snapshot.knows[section];
            }
        }
        steps.add(step, after);
    }

    /// Keeps a document in memory, answers those who wait, and sends it to the tiers behind the answer.
    #[expect(clippy::too_many_arguments, reason = "a document's way out of one load")]
    fn land(
        &self,
        state: &State,
        at: u8,
        index: usize,
        snapshot: &Snapshot,
        assembled: bool,
        step: Step,
        steps: &mut Steps<'_>,
    ) {
        let mut after = *state;
        let own = &state.instances[usize::from(at)];
        after.instances[usize::from(at)].flights[index] = Flight::default();
        let mut broken = None;
        if snapshot.is_there() {
            let all = (1 << self.configuration.sections) - 1;
            let hides = snapshot.partial
                && !own.memory.partial
                && self.admits(own, &own.memory, all)
                && !self.is(Mutant::PartialOverComplete);
            if !hides {
                broken = broken.or(self.replaces_a_better_one(state, &own.memory, snapshot, "memory"));
                after.instances[usize::from(at)].memory = *snapshot;
            }
            if assembled && self.configuration.redis {
                self.send_to_redis(&mut after, snapshot);
            }
            if assembled && self.configuration.row {
                let free = after.writes.iter_mut().find(|(write, _)| !write.is_there()).expect("room for all writes");
                *free = (*snapshot, own.fence());
            }
        }
        for request in 0..self.configuration.requests.len() {
            let one = &state.requests[request];
            if one.phase == Phase::Waiting && one.at == at && usize::from(one.flight) == index {
                broken = broken.or(self.answer(&mut after, request, snapshot));
            }
        }
        steps.judged(step, after, broken);
    }

    fn send_to_redis(&self, state: &mut State, snapshot: &Snapshot) {
        if !state.redis.contains(snapshot) {
            *state.redis.iter_mut().find(|stored| !stored.is_there()).expect("room for all values") = *snapshot;
        }
    }

    // ---- the table

    fn writes(&self, state: &State, steps: &mut Steps<'_>) {
        for (index, (snapshot, fence)) in state.writes.iter().enumerate() {
            if !snapshot.is_there() {
                continue;
            }
            let mut after = *state;
            after.writes[index] = Default::default();
            steps.add(Step::Write { write: index as u8, stored: false }, after);
            let row = &state.database.row;
            let keeps = row.is_there()
                && row.incarnation == snapshot.incarnation
                && snapshot.partial
                && !row.partial
                && row.tag[0].max(row.tag[1]) >= *fence;
            // Which of two is newer is for clocks to say: a write that is lost stands for one refused.
            if !keeps || self.is(Mutant::PartialOverComplete) {
                let broken = self.replaces_a_better_one(state, row, snapshot, "the table");
                after.database.row = *snapshot;
                steps.judged(Step::Write { write: index as u8, stored: true }, after, broken);
            }
        }
    }

    // ---- faults

    fn faults(&self, state: &State, steps: &mut Steps<'_>) {
        let configuration = &self.configuration;
        for at in self.instances() {
            let own = &state.instances[usize::from(at)];
            if state.crashes < configuration.crashes && own.incarnation != 0 {
                steps.add(Step::Crash { at }, self.crash(state, at));
            }
            if state.prunes < configuration.prunes && own.fences != [0; SECTIONS] {
                let mut after = *state;
                let pruned = &mut after.instances[usize::from(at)];
                pruned.fences = [0; SECTIONS];
                if !self.is(Mutant::PrunesWithoutTheFloor) {
                    pruned.floor = own.fence();
                }
                after.prunes += 1;
                steps.add(Step::Prune { at }, after);
            }
        }
        let database = &state.database;
        if state.trims < configuration.trims {
            for to in database.floor + 1..=database.seq {
                let mut after = *state;
                after.trims += 1;
                after.database.floor = to;
                after.database.log[..usize::from(to)].fill(LogRow::default());
                steps.add(Step::Trim { to }, after);
            }
        }
        if state.losses < configuration.losses {
            for to in 0..database.seq {
                steps.add(Step::Lose { to }, self.lose(state, to));
            }
        }
    }

    /// Everything in the process is gone; it starts again at once, knowing nothing.
    fn crash(&self, state: &State, at: u8) -> State {
        let mut after = *state;
        after.crashes += 1;
        after.instances[usize::from(at)] = Instance::default();
        for request in &mut after.requests {
            if request.at == at && request.phase != Phase::Idle {
                *request = crate::state::Request { phase: Phase::Answered, ..Default::default() };
            }
        }
        for (one, invalidation) in after.invalidations.iter_mut().zip(self.configuration.invalidations) {
            if one.at != at || one.progress == Progress::Idle {
                continue;
            }
            one.lost = match one.lost {
                Lost::KnownAtHome => Lost::Forgotten,
                Lost::RenewedAndKnownAtHome => Lost::Renewed,
                other => other,
            };
            one.progress = match (invalidation.kind, one.progress) {
                (Kind::Elsewhere, same) | (_, same @ Progress::Done) => same,
                // The relay's lock goes with it; the row is there for the next one.
                (Kind::Change, Progress::Between) => Progress::Done,
                (Kind::Change, _) => Progress::Called,
                _ => Progress::Orphaned,
            };
            if one.progress == Progress::Called {
                one.at = NOBODY;
            }
        }
        after
    }

    /// A restore, or an asynchronous failover: commits are gone that instances may have seen.
    fn lose(&self, state: &State, to: u8) -> State {
        let mut after = *state;
        after.losses += 1;
        after.database.seq = to;
        after.database.log[usize::from(to)..].fill(LogRow::default());
        for one in &mut after.invalidations {
            if one.position > to {
                let known = state
                    .instances
                    .get(usize::from(one.at))
                    .is_some_and(|home| home.incarnation == state.database.incarnation && home.applied >= one.position);
                one.lost = if known { Lost::KnownAtHome } else { Lost::Forgotten };
                one.since = 0;
            }
        }
        // Who waits for an answer is excused too, as far as nobody is bound.
        for request in &mut after.requests {
            for (index, one) in after.invalidations.iter().enumerate().filter(|(_, one)| one.lost != Lost::No) {
                request.must_if_verified &= !(1 << index);
                if one.lost == Lost::Forgotten {
                    request.must &= !(1 << index);
                }
            }
        }
        after
    }

    /// An instance that had applied lost fences has started a new incarnation: they bind again.
    fn renew(&self, state: &mut State, witnessed: u8) {
        for one in &mut state.invalidations {
            if one.position > witnessed {
                continue;
            }
            one.lost = match one.lost {
                Lost::Forgotten => Lost::Renewed,
                Lost::KnownAtHome => Lost::RenewedAndKnownAtHome,
                other => other,
            };
            if matches!(one.lost, Lost::Renewed | Lost::RenewedAndKnownAtHome) {
                one.since = 0;
            }
        }
    }

    pub(crate) fn all(&self) -> Set {
        (1 << self.configuration.invalidations.len()) - 1
    }
}
