//! Runs the commands on the server's side: serving, installing triggers, seeding; others have files of their own.

use std::{collections::BTreeSet, io, mem::ManuallyDrop, net::SocketAddr, process::ExitCode, time::Duration};

use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use userdata_migrations::{MigrationError, Tables};

use super::{
    EX_CONFIG,
    databases::{failed, not_migrated, open},
    failure::Failure,
    keys, migrate,
    output::{Output, complain, pairs, table},
    server_side::{ServerCommand, Triggers},
};
use crate::{
    app::{App, Listeners, RunError, StartError, connect_single, descriptors},
    changes::{self, InstallError, Progress, TriggerState},
    clock::Clock,
    config::{self, Config, OpenTelemetry},
    database::{Access, Dialect},
    demo,
    error::with_causes,
    telemetry::{self, Telemetry},
    user_files::survey,
};

/// After a second signal.
const CUT_SHORT: u8 = 130;
/// For the banner, which waits no longer.
const FILES_COUNTED: usize = 1000;
const SURVEY_MAX: Duration = Duration::from_secs(1);

#[must_use]
pub fn run(command: ServerCommand) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let log = &command.config().log;
    // Within the runtime: telemetry sends from its tasks.
    let in_runtime = runtime.enter();
    let started = match &command {
        ServerCommand::Serve(_) => Telemetry::start(log, &OpenTelemetry::of_process()),
        _ => telemetry::log_only(log).map(|()| Telemetry::quiet()),
    };
    drop(in_runtime);
    let telemetry = match started {
        Ok(telemetry) => telemetry,
        Err(error) => {
            complain(&error);
            return ExitCode::FAILURE;
        }
    };
    let ended = match command {
        ServerCommand::Serve(loaded) => runtime.block_on(serve(loaded.config, telemetry)),
        ServerCommand::Migrate(migration, loaded) => {
            Output::with_stdout(|output| runtime.block_on(migrate::run(migration, &loaded.config, output)))
        }
        ServerCommand::Triggers(triggers, loaded) => {
            Output::with_stdout(|output| runtime.block_on(change_triggers(triggers, &loaded.config, output)))
        }
        ServerCommand::Keys(what, loaded) => {
            Output::with_stdout(|output| runtime.block_on(keys::run(what, &loaded.config, output)))
        }
        ServerCommand::DemoSeed(loaded) => Output::with_stdout(|output| runtime.block_on(seed(&loaded.config, output))),
    };
    // Does not wait for a thread that hangs in a name look-up.
    runtime.shutdown_background();
    ended
}

async fn serve(mut config: Config, telemetry: Telemetry) -> ExitCode {
    descriptors::fit(&mut config);
    // When the last clone is dropped, the library waits for its threads, even if the process has to end at once.
    let _never_dropped = ManuallyDrop::new(telemetry.clone());
    let listening = async {
        let listener = listen("server.listen", config.server.listen).await?;
        let probes_listener = listen("metrics.listen", config.metrics.listen).await?;
        let http = match config.http.listen {
            Some(address) => Some(listen("http.listen", address).await?),
            None => None,
        };
        let address = |listener: &TcpListener| listener.local_addr().map_err(|error| error.to_string());
        let (files, changes) = tokio::join!(describe_files(&config), describe_changes(&config));
        let http_address = http.as_ref().map(address).transpose()?;
        let banner = banner(&config, files, changes, address(&listener)?, http_address, address(&probes_listener)?);
        Ok::<_, String>((Listeners { grpc: listener, http, probes: probes_listener }, banner))
    };
    let (listeners, banner) = match listening.await {
        Ok(listening) => listening,
        Err(error) => {
            complain(&error);
            return ExitCode::FAILURE;
        }
    };
    let app = match App::connect(config, telemetry).await {
        Ok(app) => app,
        Err(error) => {
            complain(&with_causes(&error));
            let cannot_work = matches!(
                error,
                StartError::InvalidationLog(_)
                    | StartError::Security(_)
                    | StartError::Pooler { .. }
                    | StartError::MasterKeys(_)
                    | StartError::Migration(MigrationError::KeysBesideDocuments { .. })
            );
            return if cannot_work { EX_CONFIG.into() } else { ExitCode::FAILURE };
        }
    };
    Output::with_stdout(|output| {
        // A full disk or a closed descriptor must not keep the service from serving.
        if let Err(failure) = output.say(&banner) {
            tracing::warn!(%failure, "the banner could not be printed; the server goes on without it");
        }
        Ok(())
    });
    let told = CancellationToken::new();
    // Before serving: from now on a signal means a graceful shutdown.
    let signals = signals();
    tokio::select! {
        ended = app.run(listeners, told.clone().cancelled_owned()) => match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&with_causes(&error));
                if matches!(error, RunError::InvalidationLog(_)) { EX_CONFIG.into() } else { ExitCode::FAILURE }
            }
        },
        () = second_signal(signals, told) => CUT_SHORT.into(),
    }
}

async fn listen(setting: &str, address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address} ({setting}): {error}"))
}

/// Where each user has a file: where the files are, how many, and how their changes are noticed.
async fn describe_files(config: &Config) -> Option<String> {
    let places = config.sources.files()?;
    let url = places.first()?.url();
    let surveyed = tokio::task::spawn_blocking(move || survey(&places, FILES_COUNTED));
    let found = match tokio::time::timeout(SURVEY_MAX, surveyed).await {
        Ok(Ok(Ok(of))) => {
            let more = if of.is_part { " or more" } else { "" };
            format!("{} files{more} on {}", of.files, of.file_system.name())
        }
        Ok(Ok(Err(error))) => with_causes(&error),
        _ => "the file system does not answer".to_owned(),
    };
    Some(format!("{url} ({found}; changes are looked for every {:?})", config.sources.file_poll))
}

/// Addresses, storage, tiers, and the next command to try.
fn banner(
    config: &Config,
    files: Option<String>,
    changes: String,
    address: SocketAddr,
    http: Option<SocketAddr>,
    probes: SocketAddr,
) -> String {
    let redis = if config.redis.url.is_some() { "Redis" } else { "no Redis" };
    let sources = match &config.sources.database_url {
        Some(_) if files.is_some() => files.unwrap_or_default(),
        Some(url) => url.place(),
        None if config.demo.enabled => "the same database, with the demo's users 1 to 30".to_owned(),
        None => "the same database".to_owned(),
    };
    let ai = config.ai.base_url.as_deref().unwrap_or("no endpoint configured: rules");
    let scheme = if config.tls.cert.is_some() { "https" } else { "http" };
    // As it was started: it may not be in the PATH.
    let program = std::env::args().next().unwrap_or_else(|| "userdata".to_owned());
    let target = if address == config::ServerSettings::default().listen && scheme == "http" {
        String::new()
    } else {
        format!(" --addr {scheme}://{address}")
    };
    let http = http.map(|http| {
        format!("{scheme}://{http}: Connect, and the application's routes ({scheme}://{http}/openapi.json)")
    });
    let lines = [
        ("userdata", format!("listening on {scheme}://{address}")),
        ("HTTP", http.unwrap_or_default()),
        ("storage", config.database.url.place()),
        ("tiers", format!("memory, {redis}, database")),
        ("sources", sources),
        ("changes", changes),
        ("AI", ai.to_owned()),
        ("probes", format!("http://{probes}/healthz, /readyz and /metrics")),
        ("try", format!("{program} get 1{target}")),
    ];
    pairs(lines.into_iter().filter(|(_, value)| !value.is_empty()))
}

/// How this instance learns that the sources have changed.
async fn describe_changes(config: &Config) -> String {
    const ALONE: &str = "told by InvalidateCache only";
    let sources = &config.sources;
    if sources.files().is_some() {
        return "looked for in each user's file, and told by InvalidateCache".to_owned();
    }
    if !sources.change_feed {
        return format!("{ALONE} (sources.change_feed is off)");
    }
    let Some(outbox) = config.outbox_database() else {
        return format!("{ALONE} (sources.relay_database_url is not set)");
    };
    if sources.database_url.is_none() && Dialect::of_url(outbox.url.expose()).is_sqlite() {
        // Its triggers are installed at the start.
        return "told by triggers in the same database, and by InvalidateCache".to_owned();
    }
    let place = outbox.url.place();
    let states = async {
        let database = connect_single("the outbox", outbox, Access::ReadOnly, SURVEY_MAX).await.ok()?;
        changes::status(&database).await.ok()
    };
    let Ok(Some(states)) = tokio::time::timeout(SURVEY_MAX, states).await else {
        return format!("told by InvalidateCache; {place} does not say whether triggers tell them too");
    };
    let of = |state| states.iter().filter(|table| table.state == state).count();
    match (of(TriggerState::Installed), states.len() - of(TriggerState::TableMissing)) {
        (0, _) => format!("{ALONE}: no triggers in {place} (`userdata triggers install`)"),
        (all, there) if all == there => format!("told by triggers in {place}, and by InvalidateCache"),
        (some, there) => format!("told by InvalidateCache, and by triggers on {some} of {there} tables in {place}"),
    }
}

fn signals() -> io::Result<(Signal, Signal)> {
    Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
}

/// Stops the server at the first signal, and returns at the second.
async fn second_signal(signals: io::Result<(Signal, Signal)>, told: CancellationToken) {
    let Ok((mut terminate, mut interrupt)) = signals else {
        // Without handlers, the default action ends the process.
        return std::future::pending().await;
    };
    either(&mut terminate, &mut interrupt).await;
    tracing::info!("stopping; a second signal ends the process at once");
    told.cancel();
    either(&mut terminate, &mut interrupt).await;
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

async fn change_triggers(what: Triggers, config: &Config, output: &mut Output<'_>) -> Result<(), Failure> {
    refuse_files(config, "triggers are not needed")?;
    let named = config.relay_database().unwrap_or(config.sources_database());
    let database = open(named, Access::Outbox, config).await?;
    match what {
        Triggers::Install => {
            let (mut waited, mut said) = (BTreeSet::new(), Ok(()));
            let installing = changes::install_with(&database, |progress| {
                if let Progress::Waiting(table) = progress
                    && waited.insert(table)
                {
                    let waits = output.say(&format!("{table} is held by other transactions; trying again"));
                    said = std::mem::replace(&mut said, Ok(())).and(waits);
                }
            });
            let differences = installing.await.map_err(not_installed)?;
            said?;
            output.say("installed: changes in the sources' tables become invalidations")?;
            let not_there: Vec<String> = differences.iter().map(ToString::to_string).collect();
            match not_there.len() {
                0 => Ok(()),
                _ => output.say(&format!("not there, so not watched: {}", not_there.join(", "))),
            }
        }
        Triggers::Remove => {
            changes::remove(&database).await.map_err(not_installed)?;
            output.say("removed: after changes in the sources, call InvalidateCache")
        }
        Triggers::Status(of) => {
            let states = changes::status(&database).await.map_err(failed)?;
            let rows: Vec<_> =
                states.iter().map(|of| json!({"table": of.table, "triggers": of.state.name()})).collect();
            output.show(of.output, &rows, |_| {
                table(["table", "triggers"], states.iter().map(|of| [of.table.to_owned(), of.state.name().to_owned()]))
            })
        }
    }
}

/// UNAVAILABLE, so that a script retries, only if the database could not be reached, or its tables not be locked.
fn not_installed(error: InstallError) -> Failure {
    match error {
        InstallError::Database(_) | InstallError::Locked { .. } => failed(error),
        InstallError::NoTables => Failure::new(Code::FailedPrecondition, error.to_string()),
    }
}

async fn seed(config: &Config, output: &mut Output<'_>) -> Result<(), Failure> {
    refuse_files(config, "demo data is not written")?;
    let database = open(config.sources_database(), Access::ReadWrite, config).await?;
    userdata_migrations::up(&database, Tables::CacheAndSources).await.map_err(not_migrated)?;
    let base_day = config.demo.as_of.unwrap_or_else(|| Clock::system().utc().date_naive());
    let seeded = demo::seed(&database, &demo::SeedOptions::on(base_day), |_, _| {}).await.map_err(failed)?;
    output.say(&match seeded.already {
        true => "the sources hold users already: nothing was written".to_owned(),
        false => format!("wrote {} users in {} rows, dated from {base_day}", seeded.users, seeded.rows),
    })
}

/// Commands that write to the sources have nothing to do where each user has a file: those are only read.
fn refuse_files(config: &Config, why: &str) -> Result<(), Failure> {
    match config.sources.files() {
        None => Ok(()),
        Some(_) => {
            let message = format!("sources.database_url names a file per user: {why}, and nothing is written there");
            Err(Failure::new(Code::FailedPrecondition, message))
        }
    }
}
