//! `userdata top`: one server's figures, live. Rates are differences between two answers, by the server's own clock.
//!
//! On a terminal it is a screen; elsewhere the same lines, again and again. A server that does not answer is told, and
//! asked again: whoever watches a restart wants to see its end. Asking never holds up a key.

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

/// A server that needs longer for figures that it only has to hand out is as good as gone.
const PATIENCE: Duration = Duration::from_secs(2);
/// Faster than anybody can read.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Watch what a server does.
#[derive(Debug, Args)]
pub struct Top {
    /// How often it is asked
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = pause)]
    interval: Duration,
    /// Print the figures of one interval and end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    target: Target,
}

fn pause(text: &str) -> Result<Duration, &'static str> {
    duration(text).and_then(|pause| if pause < INTERVAL_MIN { Err("expected at least 100ms") } else { Ok(pause) })
}

/// What a server said when it was asked.
#[derive(Clone, Debug)]
struct Answer {
    /// `SERVING` or not.
    health: String,
    stats: GetCacheStatsResponse,
}

impl Top {
    pub(super) async fn call(self, output: &mut Output<'_>) -> Result<(), Failure> {
        let Self { interval, once, target } = self;
        let target = target.patient(PATIENCE);
        let mut view = View::of(target.server());
        if once {
            return print_once(&target, interval, view, output).await;
        }
        // One answer at a time: whoever shows them is not overtaken.
        let (answered, mut answers) = mpsc::channel(1);
        let asking = ask_again_and_again(&target, interval, answered);
        let showing = async {
            if output.is_terminal() && target.format() == Format::Table {
                return screen::show(&mut view, &mut answers).await.map_err(Failure::from);
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
        // Programs get a line for each answer, and none for none.
        (Format::Json, None) => Ok(()),
        (Format::Table, _) => output.say(&format!("{}\n", view.text())),
    }
}

/// Until nobody hears.
async fn ask_again_and_again(target: &Target, every: Duration, answered: mpsc::Sender<Result<Answer, Failure>>) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if answered.send(ask(target).await).await.is_err() {
            return;
        }
    }
}

async fn ask(target: &Target) -> Result<Answer, Failure> {
    target
        .within_timeout(async |channel| {
            let health = target.request(HealthCheckRequest::default());
            let health = HealthClient::new(channel.clone()).check(health).await?.into_inner();
            // Not the table's counts: they cost the database something each time, and fail with it.
            let figures = GetCacheStatsRequest { instance_only: true, ..Default::default() };
            let stats = service(channel).get_cache_stats(target.request(figures)).await?.into_inner();
            Ok(Answer { health: health.status().as_str_name().to_owned(), stats })
        })
        .await
}

#[cfg(test)]
mod tests;
