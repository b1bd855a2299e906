//! The demo's users and their stories.

use chrono::{Days, NaiveDate, NaiveDateTime, TimeDelta};

use super::words::{INDUSTRIES, Industry};

/// The special feature of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Story {
    /// Rows in all tables.
    Full,
    /// No persona, competitors, gap row or page audits: rules and defaults stand in.
    NoCompetition,
    /// Only a legacy strategy, no calendar, no research.
    LegacyOnly,
    /// Columns that do not parse.
    Broken,
    /// No strategy.
    OnboardingOnly,
    /// Two active activations, and both kinds of strategy under one number.
    Twins,
    /// A text id: no rows in tables whose user ids are integers.
    TextId,
}

/// One user.
#[derive(Clone, Copy, Debug)]
pub(super) struct User {
    pub(super) id: &'static str,
    pub(super) story: Story,
    /// Selects among alternatives that users get in turn.
    pub(super) turn: i32,
    /// Its block of row ids.
    slot: i32,
    base_day: NaiveDate,
}

/// Users with text ids have their blocks after those of all numbers.
const TEXT_SLOTS: i32 = 100_000;

/// The size of a user's block of ids, per table.
const IDS_PER_USER: i32 = 1000;

/// The block of strategies is smaller, so that their ids are short: people type them.
const STRATEGIES_PER_USER: i32 = 10;

#[rustfmt::skip]
const NUMBERED: [&str; 30] = [
    "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15",
    "16", "17", "18", "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "30",
];
const TEXT: [&str; 3] = ["demo_anna", "demo_ben", "demo_chloé"];

pub(super) fn users(base_day: NaiveDate) -> Vec<User> {
    let numbered = NUMBERED.into_iter().zip(1..).map(|(id, number)| {
        let (story, turn) = match number {
            26 => (Story::NoCompetition, number),
            27 => (Story::LegacyOnly, number),
            28 => (Story::Broken, 1),
            29 => (Story::OnboardingOnly, number),
            30 => (Story::Twins, number),
            _ => (Story::Full, number),
        };
        User { id, story, turn, slot: number, base_day }
    });
    let text = TEXT.into_iter().zip(1..).map(|(id, number)| User {
        id,
        story: Story::TextId,
        turn: number,
        slot: TEXT_SLOTS + number,
        base_day,
    });
    numbered.chain(text).collect()
}

impl User {
    /// The id in tables whose user ids are integers.
    pub(super) fn number(&self) -> Option<i32> {
        (self.story != Story::TextId).then_some(self.slot)
    }

    /// The n-th row id in this user's block.
    pub(super) fn row(&self, n: usize) -> i32 {
        self.slot.saturating_mul(IDS_PER_USER).saturating_add(i32::try_from(n).unwrap_or_default())
    }

    /// The n-th strategy id in this user's block.
    pub(super) fn strategy(&self, n: i32) -> i32 {
        self.slot.saturating_mul(STRATEGIES_PER_USER).saturating_add(n)
    }

    pub(super) fn industry(&self) -> &'static Industry {
        let turn = usize::try_from(self.turn - 1).unwrap_or_default();
        &INDUSTRIES[turn % INDUSTRIES.len()]
    }

    pub(super) fn site(&self) -> String {
        format!("https://www.{}-{}.example", self.industry().company.to_lowercase(), self.slot)
    }

    pub(super) fn company(&self) -> String {
        format!("{} {}", self.industry().company, self.slot)
    }

    /// A time of day, this many days before the base day, or after it if negative.
    pub(super) fn days_ago(&self, days: i32, hour: i32) -> NaiveDateTime {
        let offset = Days::new(u64::from(days.unsigned_abs()));
        let day = if days < 0 { self.base_day + offset } else { self.base_day - offset };
        day.and_time(chrono::NaiveTime::MIN) + TimeDelta::hours(hour.into())
    }
}
