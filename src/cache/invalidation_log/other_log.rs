//! Notices notifications of another log: of another deployment that uses the same Redis prefix, or of instances that use
//! another database.
//!
//! After a new epoch has begun, a late notification may still name the old one. So one alone says nothing.

use std::{sync::Arc, time::Duration};

use crate::clock::Moment;

/// A notification that is late by so much would have been lost.
const LATE_MAX: Duration = Duration::from_secs(10);
/// Between two warnings.
const PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct OtherLog {
    /// Its epoch, and when it was named first.
    named: Option<(Arc<str>, Moment)>,
    warned_at: Option<Moment>,
}

impl OtherLog {
    /// A notification names an epoch that is not the log's. Whether this is to be said now.
    pub(super) fn is_named(&mut self, epoch: &Arc<str>, now: Moment) -> bool {
        let first = match &self.named {
            Some((named, first)) if named == epoch => *first,
            _ => self.named.insert((Arc::clone(epoch), now)).1,
        };
        let is_due = self.warned_at.is_none_or(|at| now.since(at) >= PAUSE);
        let is_to_be_said = now.since(first) >= LATE_MAX && is_due;
        if is_to_be_said {
            self.warned_at = Some(now);
        }
        is_to_be_said
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn another_log_is_told_once_a_minute_and_a_late_notification_never() {
        let (late, other): (Arc<str>, Arc<str>) = ("late".into(), "other".into());
        let began = Clock::system().now();
        let mut log = OtherLog::default();
        let mut told = Vec::new();
        for second in 0..150 {
            let now = began.after(Duration::from_secs(second));
            let epoch = if second < 9 { &late } else { &other };
            if log.is_named(epoch, now) {
                told.push(second);
            }
        }
        assert_eq!(told, [19, 79, 139]);
    }
}
