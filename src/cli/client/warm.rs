//! `userdata warm`: a progress bar on a terminal, a line per item otherwise.
//!
//! One user that cannot be loaded does not stop the others; the exit code then is the first failure's.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tonic::{Code, Streaming};

use super::{
    super::{
        failure::Failure,
        output::{Format, Output, printable},
    },
    human,
    target::{Target, service},
};
use crate::proto::v1::{WarmCacheRequest, WarmCacheResponse, WarmItem};

/// A thousand documents at sixty AI calls a minute take 17 minutes.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(3600);

/// Load documents into the cache.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["users", "most_accessed"])))]
pub struct WarmArgs {
    /// The users' ids
    #[arg(value_name = "USER")]
    users: Vec<String>,
    /// Instead of users: that many of the most accessed documents
    #[arg(long, value_name = "N")]
    most_accessed: Option<i32>,
    /// Loads at once; 4 if not given
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    concurrency: i32,
    #[command(flatten)]
    target: Target,
}

impl WarmArgs {
    pub(super) async fn call(self, output: &mut Output<'_>) -> Result<(), Failure> {
        let message = self.message();
        let target = self.target.patient(TIMEOUT_DEFAULT);
        target
            .within_timeout(async |channel| {
                let items = service(channel).warm_cache(target.request(message)).await?.into_inner();
                match target.format() {
                    Format::Json => as_json(items, output).await,
                    Format::Table => in_words(items, output).await,
                }
            })
            .await
    }

    fn message(&self) -> WarmCacheRequest {
        let item = |user: &String| WarmItem { user_id: user.clone(), strategy_id: None };
        WarmCacheRequest {
            items: self.users.iter().map(item).collect(),
            most_accessed: self.most_accessed.unwrap_or_default(),
            concurrency: self.concurrency,
        }
    }
}

/// One reply after the other, as they come: a line each unless a terminal shows them.
async fn as_json(mut items: Streaming<WarmCacheResponse>, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut outcome = WarmTotals::default();
    while let Some(item) = items.message().await? {
        output.show(Format::Json, &item, described)?;
        outcome.count(&item);
    }
    outcome.result()
}

async fn in_words(mut items: Streaming<WarmCacheResponse>, output: &mut Output<'_>) -> Result<(), Failure> {
    let mut outcome = WarmTotals::default();
    let bar = io::stderr().is_terminal().then(|| ProgressBar::new(0).with_style(style()));
    while let Some(item) = items.message().await? {
        outcome.count(&item);
        match &bar {
            Some(bar) => advance(bar, &item),
            None => output.say(&described(&item))?,
        }
    }
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    output.say(&format!("warmed {} of {}", outcome.done - outcome.failed, outcome.done))?;
    outcome.result()
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta}").expect("a constant that is a template")
}

fn advance(bar: &ProgressBar, item: &WarmCacheResponse) {
    bar.set_length(u64::try_from(item.total).unwrap_or_default());
    bar.set_position(u64::try_from(item.done).unwrap_or_default());
    if item.error.is_some() {
        bar.println(printable(&described(item)));
    }
}

/// `2/3 alice HIT_MEMORY`, `3/3 bob NOT_FOUND: user not found`.
fn described(item: &WarmCacheResponse) -> String {
    let warmed = item.item.clone().unwrap_or_default();
    let strategy = warmed.strategy_id.map(|strategy| format!(" (strategy {strategy})")).unwrap_or_default();
    let result = failure(item)
        .map_or_else(|| human::name(item.status().as_str_name(), "CACHE_STATUS_"), |failure| failure.to_string());
    format!("{}/{} {}{strategy} {result}", item.done, item.total, warmed.user_id)
}

fn failure(item: &WarmCacheResponse) -> Option<Failure> {
    item.error.as_ref().map(|status| Failure::new(Code::from_i32(status.code), status.message.clone()))
}

/// How it went so far.
#[derive(Default)]
struct WarmTotals {
    done: u32,
    failed: u32,
    first_failure: Option<Failure>,
}

impl WarmTotals {
    fn count(&mut self, item: &WarmCacheResponse) {
        self.done += 1;
        if let Some(failure) = failure(item) {
            self.failed += 1;
            self.first_failure.get_or_insert(failure);
        }
    }

    fn result(self) -> Result<(), Failure> {
        self.first_failure.map_or(Ok(()), |first| Err(first.of_several(self.failed, self.done)))
    }
}
