//! The bytes of messages that are not whole yet: limited for the process and for each connection.
//!
//! Above a limit, the oldest message of that connection is lost, or of the connection with the most bytes: callers that
//! never finish theirs cannot keep others out. Counted in bytes, because many small messages may be on their way at
//! once: a client sends headers and messages in frames of their own.

use std::{collections::HashMap, convert::Infallible, sync::Arc};

use tokio::sync::oneshot;

use crate::sync::Mutex;

/// For the messages of all connections together.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// So many of the largest messages may be on their way on one connection.
const CONNECTION_MESSAGES_MAX: usize = 16;

/// The messages of a server that are on their way.
#[derive(Debug)]
pub(crate) struct Slots {
    connection_bytes_max: usize,
    bytes_max: usize,
    taken: Mutex<TakenSlots>,
}

#[derive(Debug, Default)]
struct TakenSlots {
    /// Of the last message.
    number: u64,
    bytes: usize,
    connections: HashMap<u64, ConnectionSlots>,
}

#[derive(Debug, Default)]
struct ConnectionSlots {
    bytes: usize,
    /// The oldest first. At most as many as a connection may have streams.
    slots: Vec<TakenSlot>,
}

#[derive(Debug)]
struct TakenSlot {
    number: u64,
    bytes: usize,
    /// Its receiver learns of the loss when this is dropped.
    _holder: oneshot::Sender<Infallible>,
}

/// The slot of a message, free again when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    connection: u64,
    number: u64,
}

impl Slots {
    /// For messages of so many bytes at most.
    #[must_use]
    pub(crate) fn new(message_bytes_max: usize) -> Arc<Self> {
        Self::with(message_bytes_max, BYTES_MAX)
    }

    fn with(message_bytes_max: usize, bytes_max: usize) -> Arc<Self> {
        let connection_bytes_max = CONNECTION_MESSAGES_MAX * message_bytes_max;
        Arc::new(Self { connection_bytes_max, bytes_max, taken: Mutex::default() })
    }

    /// A slot for a message of this connection, and the receiver that ends when the message is lost.
    pub(super) fn take(self: &Arc<Self>, connection: u64) -> (Slot, oneshot::Receiver<Infallible>) {
        let (holder, lost) = oneshot::channel();
        let mut taken = self.taken.lock();
        taken.number += 1;
        let number = taken.number;
        let of = taken.connections.entry(connection).or_default();
        of.slots.push(TakenSlot { number, bytes: 0, _holder: holder });
        drop(taken);
        (Slot { slots: Arc::clone(self), connection, number }, lost)
    }
}

impl Slot {
    /// So many bytes of the message are there. Another message may be lost, or this one.
    pub(super) fn hold(&self, bytes: usize) {
        let mut taken = self.slots.taken.lock();
        taken.grow(self.connection, self.number, bytes);
        while let Some(connection) = taken.too_full(self.connection, &self.slots) {
            taken.lose_oldest(connection);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.taken.lock().remove(self.connection, |slot| slot.number == self.number);
    }
}

impl TakenSlots {
    fn grow(&mut self, connection: u64, number: u64, bytes: usize) {
        let Some(of) = self.connections.get_mut(&connection) else { return };
        let Some(slot) = of.slots.iter_mut().find(|slot| slot.number == number) else { return };
        let more = bytes.saturating_sub(slot.bytes);
        slot.bytes += more;
        of.bytes += more;
        self.bytes += more;
    }

    /// The connection that has to lose a message, if one has to.
    fn too_full(&self, growing: u64, limits: &Slots) -> Option<u64> {
        if self.connections.get(&growing).is_some_and(|of| of.bytes > limits.connection_bytes_max) {
            return Some(growing);
        }
        let most = || self.connections.iter().max_by_key(|(_, of)| of.bytes).map(|(connection, _)| *connection);
        (self.bytes > limits.bytes_max).then(most).flatten()
    }

    fn lose_oldest(&mut self, connection: u64) {
        self.remove(connection, |slot| slot.bytes > 0);
    }

    /// Removes the oldest slot of which this is true.
    fn remove(&mut self, connection: u64, is_meant: impl Fn(&TakenSlot) -> bool) {
        let Some(of) = self.connections.get_mut(&connection) else { return };
        if let Some(place) = of.slots.iter().position(is_meant) {
            let bytes = of.slots.remove(place).bytes;
            of.bytes -= bytes;
            self.bytes -= bytes;
        }
        if of.slots.is_empty() {
            self.connections.remove(&connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Held = (Slot, oneshot::Receiver<Infallible>);

    fn held(slots: &Arc<Slots>, connection: u64, bytes: usize) -> Held {
        let held = slots.take(connection);
        held.0.hold(bytes);
        held
    }

    fn is_lost((_, lost): &mut Held) -> bool {
        lost.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn a_connection_with_its_share_loses_its_oldest_message() {
        let slots = Slots::new(10);
        let mut other = held(&slots, 2, 10);
        let mut mine: Vec<_> = (0..=CONNECTION_MESSAGES_MAX).map(|_| held(&slots, 1, 10)).collect();
        let lost: Vec<_> = mine.iter_mut().map(is_lost).collect();
        assert!(lost[0] && !lost[1..].contains(&true), "{lost:?}");
        assert!(!is_lost(&mut other));
    }

    #[test]
    fn above_the_limit_of_all_the_connection_with_most_loses_its_oldest_message() {
        let slots = Slots::with(10, 35);
        let mut one = held(&slots, 1, 9);
        let mut greedy = [held(&slots, 2, 10), held(&slots, 2, 10)];
        let mut third = held(&slots, 3, 9);
        assert_eq!(greedy.each_mut().map(is_lost), [true, false]);
        assert!(!is_lost(&mut one) && !is_lost(&mut third));
    }

    #[test]
    fn many_messages_of_which_nothing_is_there_take_nothing() {
        let slots = Slots::with(10, 10);
        let mut many: Vec<_> = (0..1000).map(|_| held(&slots, 1, 0)).collect();
        assert!(!many.iter_mut().any(is_lost));
    }

    #[test]
    fn a_slot_is_free_again_when_its_message_is_there() {
        let slots = Slots::with(10, 10);
        drop(held(&slots, 1, 10));
        let mut next = held(&slots, 2, 10);
        assert!(!is_lost(&mut next));
        let taken = slots.taken.lock();
        assert_eq!((taken.bytes, taken.connections.len()), (10, 1));
    }
}
