//! `userdata top`: live metrics of a server. Rates are differences between two answers, by the server's own clock.
//!
//! On a terminal it is a screen, elsewhere the same lines repeatedly. If the server does not answer, the screen says so
//! and it is asked again, so that a restart can be watched. Requests never delay a key press.

use std::time::Duration;

use clap::Args;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{
    super::{
        failure::Failure,
        output::{Format, Output},
    },
    target::{Target, duration, service},
};
use crate::proto::v1::{GetCacheStatsRequest, GetCacheStatsResponse};

mod screen;
mod view;

use view::View;

/// Statistics of an instance are in memory: a server that needs longer does not work.
const PATIENCE: Duration = Duration::from_secs(2);
/// Faster cannot be read.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Show live metrics of a server.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Time between two requests
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = pause)]
    interval: Duration,
    /// Print the metrics of one interval and exit
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    target: Target,
}

fn pause(text: &str) -> Result<Duration, &'static str> {
    duration(text).and_then(|pause| if pause < INTERVAL_MIN { Err("expected at least 100ms") } else { Ok(pause) })
}

#[derive(Clone, Debug)]
struct TopSample {
    /// `SERVING` or not.
    health: String,
    stats: GetCacheStatsResponse,
}

impl TopArgs {
    pub(super) async fn call(self, output: &mut Output<'_>) -> Result<(), Failure> {
        let Self { interval, once, target } = self;
        let target = target.patient(PATIENCE);
        let mut view = View::of(target.server());
        if once {
            return print_once(&target, interval, view, output).await;
        }
        // One answer at a time, so that the screen never shows an old one.
        let (answered, mut answers) = mpsc::channel(1);
        let asking = ask_again_and_again(&target, interval, answered);
        let showing = async {
            if output.is_terminal() && target.format() == Format::Table {
                return screen::show(&mut view, &mut answers).await.map_err(|error| Failure::unwritable(&error));
            }
            while let Some(answer) = answers.recv().await {
                view.learn(answer);
                print(&view, target.format(), output)?;
            }
            Ok(())
        };
        tokio::select! {
            shown = showing => shown,
            () = asking => Ok(()),
        }
    }
}

async fn print_once(
    target: &Target,
    interval: Duration,
    mut view: View,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    view.learn(Ok(ask(target).await?));
    tokio::time::sleep(interval).await;
    view.learn(Ok(ask(target).await?));
    print(&view, target.format(), output)
}

fn print(view: &View, format: Format, output: &mut Output<'_>) -> Result<(), Failure> {
    match (format, view.stats()) {
        (Format::Json, Some(stats)) => output.show(format, stats, |_| String::new()),
        // A line for each answer, and none for a failed request.
        (Format::Json, None) => Ok(()),
        (Format::Table, _) => output.say(&format!("{}\n", view.text())),
    }
}

/// Returns when the receiver is dropped.
async fn ask_again_and_again(target: &Target, every: Duration, answered: mpsc::Sender<Result<TopSample, Failure>>) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if answered.send(ask(target).await).await.is_err() {
            return;
        }
    }
}

async fn ask(target: &Target) -> Result<TopSample, Failure> {
    target
        .within_timeout(async |channel| {
            let health = target.request(HealthCheckRequest::default());
            let health = HealthClient::new(channel.clone()).check(health).await?.into_inner();
            // Without the counts of the table: they load the database, and fail with it.
            let figures = GetCacheStatsRequest { instance_only: true, ..Default::default() };
            let stats = service(channel).get_cache_stats(target.request(figures)).await?.into_inner();
            Ok(TopSample { health: health.status().as_str_name().to_owned(), stats })
        })
        .await
}

#[cfg(test)]
mod tests;
