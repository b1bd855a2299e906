//! What CLUSTER SLOTS says: ranges of slots, each with its master.

use std::ops::RangeInclusive;

use fred::types::{Value, config::Server};

/// Of all clusters.
const SLOTS: u16 = 16_384;

pub(super) type SlotRange = RangeInclusive<u16>;

/// The ranges by their first slots. `asked`: the host that has answered, which may not know its own name. None for what
/// is no such answer.
pub(super) fn read(answer: Value, asked: &str) -> Option<Vec<(SlotRange, Server)>> {
    if !answer.is_array() {
        return None;
    }
    let mut owned = answer.into_array().into_iter().map(|range| owner(range, asked)).collect::<Option<Vec<_>>>()?;
    owned.sort_by_key(|(range, _)| *range.start());
    Some(owned)
}

/// First slot, last slot, the master, its replicas.
fn owner(range: Value, asked: &str) -> Option<(SlotRange, Server)> {
    let mut parts = range.into_array().into_iter();
    let mut slot = || parts.next()?.as_u64()?.try_into().ok().filter(|slot| *slot < SLOTS);
    let range = slot()?..=slot()?;
    let mut master = parts.next()?.into_array().into_iter();
    // A node that does not know its name, or has none, is at the address that it was asked at.
    let host = master.next()?.into_string().filter(|host| !host.is_empty() && host != "?");
    let port = master.next()?.as_u64()?.try_into().ok()?;
    Some((range, Server::new(host.as_deref().unwrap_or(asked), port)))
}

/// Whether every slot is in one of the ranges, which are ordered by their first slots.
pub(super) fn are_all<'a>(ranges: impl Iterator<Item = &'a SlotRange>) -> bool {
    let mut next = 0;
    for range in ranges {
        if *range.start() > next {
            return false;
        }
        next = next.max(range.end() + 1);
    }
    next == SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: i64, last: i64, host: Value, port: i64) -> Value {
        let node = Value::Array(vec![host, port.into(), "id".into(), Value::Array(vec![])]);
        Value::Array(vec![first.into(), last.into(), node.clone(), node])
    }

    #[test]
    fn each_range_has_its_master_in_order_of_slots() {
        let answer = Value::Array(vec![range(8192, 16_383, "b".into(), 2), range(0, 8191, Value::Null, 1)]);
        let owned = read(answer, "asked").unwrap();
        assert_eq!(owned, [(0..=8191, Server::new("asked", 1)), (8192..=16_383, Server::new("b", 2))]);
        assert!(are_all(owned.iter().map(|(range, _)| range)));
        assert!(!are_all(owned[..1].iter().map(|(range, _)| range)));
        assert!(!are_all(owned[1..].iter().map(|(range, _)| range)));
    }

    #[test]
    fn what_is_no_answer_to_it_is_none() {
        for odd in [
            Value::Null,
            "ERR".into(),
            Value::Array(vec!["ERR".into()]),
            Value::Array(vec![range(0, 99_999, "a".into(), 1)]),
            Value::Array(vec![range(0, 1, "a".into(), 99_999)]),
        ] {
            assert_eq!(read(odd.clone(), "asked"), None, "{odd:?}");
        }
        assert_eq!(read(Value::Array(Vec::new()), "asked"), Some(Vec::new()), "a cluster without slots");
    }
}
