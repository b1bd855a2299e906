//! The two clocks of this machine. Leases and waits use the boot-time clock; ages and expiry of documents use the wall
//! clock, on which instances should agree.

use std::time::Duration;

use chrono::{DateTime, Datelike, TimeDelta, Utc};

use super::Findings;
use crate::clock::{Clock, Moment};

/// Long enough to see a jump of the clock, short enough to wait for.
const WATCHED_FOR: Duration = Duration::from_millis(300);
/// Slewing changes the clock by half a thousandth; more is a jump.
const DIFFERENCE_MAX: TimeDelta = TimeDelta::milliseconds(50);
/// Both clocks are read within this time, or the reading is repeated: a busy machine would look like a jump.
const READ_WITHIN: Duration = Duration::from_millis(5);
const READINGS_MAX: usize = 100;
/// The year of the first release: an earlier wall clock was never set.
const YEAR_MIN: i32 = 2026;

pub(super) async fn examine(found: &mut Findings) {
    let clock = Clock::system();
    let (boot, wall) = both(&clock);
    tokio::time::sleep(WATCHED_FOR).await;
    let (boot_later, wall_later) = both(&clock);
    let by_boot = TimeDelta::from_std(boot_later.since(boot)).unwrap_or_default();
    let by_wall = wall_later - wall;
    let apart = by_wall - by_boot;
    if wall.year() < YEAR_MIN {
        found.fail("clocks", format!("the wall clock says {wall}"), "set it: documents expire by it");
    } else if apart.abs() > DIFFERENCE_MAX {
        found.warn(
            "clocks",
            format!("in {} ms the wall clock went {} ms", by_boot.num_milliseconds(), by_wall.num_milliseconds()),
            "see what sets it (one NTP client, slewing): documents' ages are wrong while it jumps; leases are not concerned",
        );
    } else {
        found.ok(
            "clocks",
            format!("the wall clock says {} and goes as the one from boot does", wall.format("%F %T UTC")),
        );
    }
}

/// Both clocks at the same time.
fn both(clock: &Clock) -> (Moment, DateTime<Utc>) {
    let read = || (clock.now(), clock.utc());
    let is_quick = |(boot, _): &(Moment, DateTime<Utc>)| clock.now().since(*boot) < READ_WITHIN;
    std::iter::repeat_with(read).take(READINGS_MAX).find(is_quick).unwrap_or_else(read)
}
