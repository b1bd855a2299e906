//! Breadth-first search through every reachable state of a model.
//!
//! A state is remembered by a 64-bit fingerprint only: with ten million states the chance that two share one is below 1 in
//! 100,000. The step that first led to a state is kept, so that the shortest way to a broken promise can be repeated and
//! printed.

use std::fmt::{Display, Write as _};

/// A state machine that can be explored.
pub(crate) trait Model {
    type State: Copy;
    /// Names one successor of a state.
    type Step: Copy + PartialEq + Display;

    fn start(&self) -> Self::State;
    /// Equal for states that need not be distinguished.
    fn fingerprint(&self, state: &Self::State) -> u64;
    fn steps(&self, state: &Self::State, next: &mut Vec<Next<Self>>);
    /// A state in one line.
    fn show(&self, state: &Self::State) -> String;
}

pub(crate) struct Next<M: Model + ?Sized> {
    pub(crate) step: M::Step,
    pub(crate) state: M::State,
    /// The promise that this step breaks.
    pub(crate) broken: Option<String>,
}

/// How a search ended.
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    pub(crate) depth: usize,
    /// The shortest way to a broken promise, from the start.
    pub(crate) counterexample: Option<String>,
}

/// Visits every reachable state, or stops at the first broken promise.
pub(crate) fn explore<M: Model>(model: &M) -> Explored {
    let start = model.start();
    let mut seen = Fingerprints::new();
    seen.insert(model.fingerprint(&start));
    let mut ways: Vec<Way<M::Step>> = vec![Way { from: 0, step: None }];
    let mut layer = vec![(0, start)];
    let mut next = Vec::new();
    let (mut steps, mut depth) = (0, 0);
    while !layer.is_empty() {
        let mut below = Vec::with_capacity(layer.len());
        for (from, state) in &layer {
            model.steps(state, &mut next);
            steps += next.len();
            for Next { step, state, broken } in next.drain(..) {
                if let Some(promise) = broken {
                    let counterexample = tell(model, &ways, *from, step, &promise);
                    return Explored { states: ways.len(), steps, depth, counterexample: Some(counterexample) };
                }
                if seen.insert(model.fingerprint(&state)) {
                    below.push((u32::try_from(ways.len()).expect("fewer than 2^32 states"), state));
                    ways.push(Way { from: *from, step: Some(step) });
                }
            }
        }
        layer = below;
        depth += 1;
    }
    Explored { states: ways.len(), steps, depth, counterexample: None }
}

/// How a state was first reached.
struct Way<S> {
    from: u32,
    step: Option<S>,
}

fn tell<M: Model>(model: &M, ways: &[Way<M::Step>], last: u32, broken_by: M::Step, promise: &str) -> String {
    let mut path = vec![broken_by];
    let mut at = last;
    while let Some(step) = ways[at as usize].step {
        path.push(step);
        at = ways[at as usize].from;
    }
    let mut state = model.start();
    let mut text = String::new();
    let mut next = Vec::new();
    for (number, step) in path.iter().rev().enumerate() {
        model.steps(&state, &mut next);
        state = next.iter().find(|next| next.step == *step).expect("the steps are repeatable").state;
        next.clear();
        let _ = writeln!(text, "{:>3}. {:<62} {}", number + 1, step.to_string(), model.show(&state));
    }
    let _ = write!(text, "     BROKEN: {promise}");
    text
}

/// A set of fingerprints, with open addressing; doubled when half full.
struct Fingerprints {
    places: Vec<u64>,
    held: usize,
}

impl Fingerprints {
    fn new() -> Self {
        Self { places: vec![0; 1 << 16], held: 0 }
    }

    /// Whether the fingerprint is new.
    fn insert(&mut self, fingerprint: u64) -> bool {
        let fingerprint = fingerprint.max(1); // 0 marks a free place
        if self.held * 2 >= self.places.len() {
            let grown = vec![0; self.places.len() * 2];
            for old in std::mem::replace(&mut self.places, grown) {
                if old != 0 {
                    let place = self.find(old);
                    self.places[place] = old;
                }
            }
        }
        let place = self.find(fingerprint);
        if self.places[place] == fingerprint {
            return false;
        }
        self.places[place] = fingerprint;
        self.held += 1;
        true
    }

    fn find(&self, fingerprint: u64) -> usize {
        let mask = self.places.len() - 1;
        let mut place = fingerprint as usize & mask;
        while self.places[place] != 0 && self.places[place] != fingerprint {
            place = (place + 1) & mask;
        }
        place
    }
}

/// Folds a state's words into its fingerprint.
pub(crate) struct Fold(pub(crate) u64);

impl Fold {
    #[inline(always)]
    pub(crate) fn word(&mut self, word: u64) {
        // One round of a multiply-and-rotate hash; `done` mixes the last bits.
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 ^= self.0 >> 29;
    }

    pub(crate) fn done(self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        mixed ^ (mixed >> 32)
    }
}
