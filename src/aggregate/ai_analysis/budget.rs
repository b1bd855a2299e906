//! Limits the AI calls of prefetches: per hour, per day, and per user and day. Loads with a waiting caller are not
//! limited.
//!
//! A call counts when it is decided on, even if it turns out not to be needed: a limit that is too tight costs a wait,
//! one that is too wide costs money. The windows are the last hour and the last day, so that midnight does not double a
//! limit.

use std::{collections::VecDeque, time::Duration};

use crate::{
    clock::{Clock, Moment},
    config,
    model::UserId,
    sync::Mutex,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The limits, and the calls of the last day.
#[derive(Debug)]
pub struct Budget {
    clock: Clock,
    per_hour: usize,
    per_user_per_day: usize,
    per_day: usize,
    /// Oldest first; never more than `per_day`.
    calls: Mutex<VecDeque<(Moment, UserId)>>,
}

impl Budget {
    #[must_use]
    pub fn new(config: &config::PrefetchSettings, clock: Clock) -> Self {
        let limit = |calls: u32| usize::try_from(calls).unwrap_or(usize::MAX);
        Self {
            clock,
            per_hour: limit(config.ai_calls_per_hour),
            per_user_per_day: limit(config.ai_calls_per_user_per_day),
            per_day: limit(config.ai_calls_per_day),
            calls: Mutex::default(),
        }
    }

    /// Takes one call of this user's budget; false if it is used up.
    pub(super) fn take_one(&self, user: &UserId) -> bool {
        let now = self.clock.now();
        let mut calls = self.calls.lock();
        while calls.front().is_some_and(|(at, _)| now.since(*at) >= DAY) {
            calls.pop_front();
        }
        let of_the_hour = calls.iter().rev().take_while(|(at, _)| now.since(*at) < HOUR).count();
        let of_the_user = calls.iter().filter(|(_, other)| other == user).count();
        let left = calls.len() < self.per_day && of_the_hour < self.per_hour && of_the_user < self.per_user_per_day;
        if left {
            calls.push_back((now, user.clone()));
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    fn budget(per_hour: u32, per_user_per_day: u32, per_day: u32) -> (Budget, Clock) {
        let clock = Clock::system();
        let config = config::PrefetchSettings {
            ai_calls_per_hour: per_hour,
            ai_calls_per_user_per_day: per_user_per_day,
            ai_calls_per_day: per_day,
            ..config::PrefetchSettings::default()
        };
        (Budget::new(&config, clock.clone()), clock)
    }

    #[test]
    fn no_hour_and_no_day_has_more_calls_than_allowed() {
        let (budget, clock) = budget(2, 100, 3);
        let mut made = Vec::new();
        for half_hour in 0..52 {
            if budget.take_one(&user("1")) {
                made.push(half_hour);
            }
            clock.advance(HOUR / 2);
        }
        assert_eq!(made, [0, 1, 2, 48, 49, 50]);
    }

    #[test]
    fn a_user_who_has_used_up_a_day_leaves_the_others_theirs() {
        let (budget, clock) = budget(100, 2, 100);
        let taken = |name| budget.take_one(&user(name));
        assert_eq!([taken("1"), taken("1"), taken("1"), taken("2")], [true, true, false, true]);
        clock.advance(DAY);
        assert!(taken("1"));
    }

    #[test]
    fn a_limit_of_nothing_allows_nothing() {
        for (per_hour, per_user_per_day, per_day) in [(0, 9, 9), (9, 0, 9), (9, 9, 0)] {
            assert!(!budget(per_hour, per_user_per_day, per_day).0.take_one(&user("1")));
        }
    }
}
