//! What calls hold while they need no permit: limited for the process and for each connection.
//!
//! Above a limit, that connection loses a call, or the connection that holds most: callers that never finish theirs
//! cannot keep others out. Connections without an admitted request lose theirs first, the longest before others. If that
//! is a call that may stay open, the connection ends with it.
//!
//! A call that is lost has not ended: its answer may wait for room that the peer does not give (a window of HTTP/2 of 0
//! bytes). Beyond a few of these, the connection with most of them ends, whoever its peer is.

use std::{cmp::Reverse, collections::HashMap, convert::Infallible, sync::Arc};

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::transport::peer::Peer;
use crate::sync::Mutex;

/// Calls that are lost and have not ended. An honest peer takes the answer within a round trip; each holds 7 KiB.
const UNENDED_MAX: usize = 256;

/// Which of its calls a connection loses.
#[derive(Clone, Copy, Debug)]
pub enum Loses {
    /// Calls that make progress: the oldest is the least likely to.
    Oldest,
    /// Calls that may stay open: the newest is refused before it costs anything.
    Newest,
}

/// What the calls of a server hold.
#[derive(Debug)]
pub struct Slots {
    loses: Loses,
    connection_max: usize,
    max: usize,
    taken: Mutex<TakenSlots>,
}

#[derive(Debug, Default)]
struct TakenSlots {
    /// Of the last call.
    number: u64,
    held: usize,
    /// Calls that are lost and have not ended, without those of connections that end.
    unended: usize,
    connections: HashMap<u64, ConnectionSlots>,
}

#[derive(Debug, Default)]
struct ConnectionSlots {
    peer: Peer,
    held: usize,
    /// The oldest first. At most as many as a connection may have streams.
    slots: Vec<TakenSlot>,
    unended: usize,
}

#[derive(Debug)]
struct TakenSlot {
    number: u64,
    held: usize,
    /// Its receiver learns of the loss when this is dropped.
    _holder: oneshot::Sender<Infallible>,
}

/// The slot of a call, free again when dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Slots>,
    connection: u64,
    number: u64,
}

/// Ends when the call is lost.
pub type Lost = oneshot::Receiver<Infallible>;

impl Slots {
    /// Limits of what one connection, and all together, may hold.
    #[must_use]
    pub fn new(loses: Loses, connection_max: usize, max: usize) -> Arc<Self> {
        Arc::new(Self { loses, connection_max, max, taken: Mutex::default() })
    }

    /// A slot for a call that holds so much from the start; none if it is refused.
    pub fn admit(self: &Arc<Self>, peer: &Peer, held: usize) -> Option<(Slot, Lost)> {
        let (slot, mut lost) = self.take(peer);
        slot.hold(held);
        (lost.try_recv() != Err(TryRecvError::Closed)).then_some((slot, lost))
    }

    /// A slot for a call of this connection, which holds nothing yet.
    pub fn take(self: &Arc<Self>, peer: &Peer) -> (Slot, Lost) {
        let (holder, lost) = oneshot::channel();
        let mut taken = self.taken.lock();
        taken.number += 1;
        let (number, connection) = (taken.number, peer.connection());
        let of = taken.connections.entry(connection).or_insert_with(|| {
            let peer = peer.clone();
            ConnectionSlots { peer, ..ConnectionSlots::default() }
        });
        of.slots.push(TakenSlot { number, held: 0, _holder: holder });
        drop(taken);
        (Slot { slots: Arc::clone(self), connection, number }, lost)
    }
}

impl Slot {
    /// The call holds so much, and never less again. Another call may be lost, or this one.
    pub fn hold(&self, held: usize) {
        let mut taken = self.slots.taken.lock();
        taken.grow(self.connection, self.number, held);
        while let Some(connection) = taken.too_full(self.connection, &self.slots) {
            taken.lose(connection, self.slots.loses);
        }
        taken.end_unread();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.taken.lock().ended(self.connection, self.number);
    }
}

impl TakenSlots {
    fn grow(&mut self, connection: u64, number: u64, held: usize) {
        let Some(of) = self.connections.get_mut(&connection) else { return };
        let Some(slot) = of.slots.iter_mut().find(|slot| slot.number == number) else { return };
        let more = held.saturating_sub(slot.held);
        slot.held += more;
        of.held += more;
        self.held += more;
    }

    /// The connection that has to lose a call, if one has to.
    fn too_full(&self, growing: u64, limits: &Slots) -> Option<u64> {
        if self.connections.get(&growing).is_some_and(|of| of.held > limits.connection_max) {
            return Some(growing);
        }
        let costs = |of: &ConnectionSlots| (of.held > 0 && !of.peer.is_admitted(), of.held);
        let by_cost = |(connection, of): &(&u64, &ConnectionSlots)| (costs(of), Reverse(**connection));
        let most = || self.connections.iter().max_by_key(by_cost).map(|(connection, _)| *connection);
        (self.held > limits.max).then(most).flatten()
    }

    fn lose(&mut self, connection: u64, loses: Loses) {
        // With one call each they are as many as connections.
        let has_several = |of: &&ConnectionSlots| of.slots.len() > 1 && !of.peer.is_admitted();
        if let (Loses::Newest, Some(of)) = (loses, self.connections.get(&connection).filter(has_several)) {
            of.peer.cut_off();
        }
        let holds = |slot: &TakenSlot| slot.held > 0;
        let is_lost = self.remove(connection, |slots| match loses {
            Loses::Oldest => slots.iter().position(holds),
            Loses::Newest => slots.iter().rposition(holds),
        });
        if let (true, Some(of)) = (is_lost, self.connections.get_mut(&connection)) {
            of.unended += 1;
            self.unended += 1;
        }
    }

    /// Ends connections whose peers do not take the ends of their calls.
    fn end_unread(&mut self) {
        while self.unended > UNENDED_MAX {
            let Some(of) = self.connections.values_mut().max_by_key(|of| of.unended) else { return };
            of.peer.cut_off();
            self.unended -= std::mem::take(&mut of.unended);
        }
    }

    fn ended(&mut self, connection: u64, number: u64) {
        let was_lost = !self.remove(connection, |slots| slots.iter().position(|slot| slot.number == number));
        let Some(of) = self.connections.get_mut(&connection) else { return };
        if was_lost && of.unended > 0 {
            of.unended -= 1;
            self.unended -= 1;
        }
        if of.slots.is_empty() && of.unended == 0 {
            self.connections.remove(&connection);
        }
    }

    /// Removes a slot, by its place in the list, if there is one.
    fn remove(&mut self, connection: u64, find: impl FnOnce(&[TakenSlot]) -> Option<usize>) -> bool {
        let Some(of) = self.connections.get_mut(&connection) else { return false };
        let Some(place) = find(&of.slots) else { return false };
        let held = of.slots.remove(place).held;
        of.held -= held;
        self.held -= held;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::{
        testing::{admitted, unauthenticated},
        transport::connections::End,
    };

    type Held = (Slot, Lost);

    fn held(slots: &Arc<Slots>, peer: &Peer, held: usize) -> Held {
        let taken = slots.take(peer);
        taken.0.hold(held);
        taken
    }

    fn is_lost((_, lost): &mut Held) -> bool {
        lost.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[tokio::test]
    async fn a_connection_with_its_share_loses_its_oldest_call() {
        let (slots, me, other) = (Slots::new(Loses::Oldest, 160, 1000), admitted(1).await, admitted(2).await);
        let mut others = held(&slots, &other, 10);
        let mut mine: Vec<_> = (0..=16).map(|_| held(&slots, &me, 10)).collect();
        let lost: Vec<_> = mine.iter_mut().map(is_lost).collect();
        assert!(lost[0] && !lost[1..].contains(&true), "{lost:?}");
        assert!(!is_lost(&mut others));
    }

    #[tokio::test]
    async fn above_the_limit_of_all_the_connection_with_most_loses_its_oldest_call() {
        let (slots, greedy) = (Slots::new(Loses::Oldest, 100, 35), admitted(2).await);
        let mut one = held(&slots, &admitted(1).await, 9);
        let mut greedy = [held(&slots, &greedy, 10), held(&slots, &greedy, 10)];
        let mut third = held(&slots, &admitted(3).await, 9);
        assert_eq!(greedy.each_mut().map(is_lost), [true, false]);
        assert!(!is_lost(&mut one) && !is_lost(&mut third));
    }

    #[tokio::test]
    async fn a_connection_without_an_admitted_request_loses_first_however_little_it_holds() {
        let (slots, caller) = (Slots::new(Loses::Oldest, 100, 30), admitted(1).await);
        let mut callers = [held(&slots, &caller, 10), held(&slots, &caller, 10)];
        let mut yielding = held(&slots, &unauthenticated(2).await, 1);
        let mut next = held(&slots, &caller, 10);
        assert_eq!(callers.each_mut().map(is_lost), [false, false]);
        assert!(is_lost(&mut yielding) && !is_lost(&mut next));
    }

    #[tokio::test]
    async fn calls_that_stay_open_are_refused_beyond_a_connections_share_and_yield_to_other_connections() {
        let (slots, greedy) = (Slots::new(Loses::Newest, 2, 3), unauthenticated(2).await);
        let mut open: Vec<_> = (0..2).map(|_| slots.admit(&greedy, 1).unwrap()).collect();
        assert!(slots.admit(&greedy, 1).is_none(), "its share is taken");
        let mut third = slots.admit(&unauthenticated(3).await, 1).unwrap();
        let mut fourth = slots.admit(&unauthenticated(4).await, 1).expect("it has fewer than another");
        assert_eq!([is_lost(&mut open[0]), is_lost(&mut open[1])], [false, true]);
        let mut fifth = slots.admit(&unauthenticated(5).await, 1).expect("as many as others, on a newer connection");
        let lost = [&mut open[0], &mut third, &mut fourth, &mut fifth].map(is_lost);
        assert_eq!(lost, [true, false, false, false]);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_take_the_ends_of_its_calls_loses_its_connection_also_after_an_admitted_request() {
        let (slots, reads, unread) = (Slots::new(Loses::Newest, 1000, 10), admitted(1).await, admitted(2).await);
        let open: Vec<_> = (0..10).map(|_| held(&slots, &reads, 1)).collect();
        for _ in 0..=UNENDED_MAX {
            drop(held(&slots, &reads, 1));
        }
        assert_eq!(reads.end(), None, "its calls end when they are lost");
        drop(open);
        let mut kept: Vec<_> = (0..10 + UNENDED_MAX).map(|_| held(&slots, &unread, 1)).collect();
        assert_eq!(unread.end(), None);
        kept.push(held(&slots, &unread, 1));
        assert_eq!(unread.end(), Some(End::Refused));
        drop(kept);
        let taken = slots.taken.lock();
        assert_eq!((taken.held, taken.unended, taken.connections.len()), (0, 0, 0));
    }

    #[tokio::test]
    async fn a_slot_is_free_again_when_its_call_has_ended() {
        let slots = Slots::new(Loses::Oldest, 10, 10);
        drop(held(&slots, &admitted(1).await, 10));
        let mut next = held(&slots, &admitted(2).await, 10);
        assert!(!is_lost(&mut next));
        let taken = slots.taken.lock();
        assert_eq!((taken.held, taken.connections.len()), (10, 1));
    }
}
