//! Says in the log when changes of the sources become unknown, and when they are known again: one line for each.

use std::sync::Arc;

use crate::{cache::change_feed::ChangeFeed, clock::Clock, model::SectionSet, sync::Mutex};

#[derive(Debug)]
pub(super) struct FeedLog {
    feed: Arc<ChangeFeed>,
    clock: Clock,
    /// What the last lines were about.
    last: Mutex<LastLines>,
}

#[derive(Debug)]
struct LastLines {
    is_lost: bool,
    unwatched: SectionSet,
}

impl FeedLog {
    pub(super) fn new(feed: Arc<ChangeFeed>, clock: Clock) -> Self {
        Self { feed, clock, last: Mutex::new(LastLines { is_lost: false, unwatched: SectionSet::NONE }) }
    }

    pub(super) fn run(&self) {
        let mut last = self.last.lock();
        // Before the first certified moment there is nothing to say.
        let is_lost = self.feed.lost_at(self.clock.now()).is_some_and(|lost_at| lost_at.nanos() != 0);
        if std::mem::replace(&mut last.is_lost, is_lost) != is_lost {
            match is_lost {
                true => tracing::warn!("change feed lost: no instance reads the outbox; answers are not verified"),
                false => tracing::info!("change feed read again"),
            }
        }
        let unwatched = self.feed.unwatched();
        if std::mem::replace(&mut last.unwatched, unwatched) != unwatched {
            let sections: Vec<&str> = unwatched.iter().map(|section| section.as_str_name()).collect();
            match sections.is_empty() {
                true => tracing::info!("all triggers on the sources' tables are installed"),
                false => tracing::warn!(
                    ?sections,
                    "triggers on the sources' tables are missing or changed: these sections are not verified; run `userdata triggers install`"
                ),
            }
        }
    }
}
