//! The load, by standard programs: h2load for gRPC, redis-benchmark for Redis.

use std::{ffi::OsString, fmt, fs, path::Path, process::Command, time::Duration};

use crate::machine::Cpus;

/// h2load's connections, and concurrent requests on each.
const CONNECTIONS: u32 = 8;
const STREAMS: u32 = 16;
const PATH: &str = "/userdata.v1.UserDataService/GetComprehensiveUserData";
/// The unit of `/proc/<pid>/stat`.
const TICK: Duration = Duration::from_millis(10);

/// One measurement of one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) requests_per_second: f64,
    /// User and system time of the server's process per request.
    pub(super) cpu_us: f64,
}

impl fmt::Display for Measured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.0} requests/s, {:.1} us of CPU each", self.requests_per_second, self.cpu_us)
    }
}

/// The output of a load generator.
#[derive(Debug)]
pub(super) struct Done {
    requests: f64,
    requests_per_second: f64,
}

/// Runs a load and measures the server's CPU time.
pub(super) fn of_process(pid: u32, load: impl FnOnce() -> Done) -> Measured {
    let before = cpu_time(pid);
    let done = load();
    let cpu = cpu_time(pid) - before;
    Measured { requests_per_second: done.requests_per_second, cpu_us: cpu.as_secs_f64() * 1e6 / done.requests }
}

/// Requests in a closed loop for that time.
pub(super) fn h2load(port: u16, request: &Path, seconds: u32, reply_bytes: usize) -> Done {
    let (connections, streams) = (CONNECTIONS.to_string(), STREAMS.to_string());
    let (seconds, url) = (seconds.to_string(), format!("http://127.0.0.1:{port}{PATH}"));
    let mut command = vec!["h2load", "-c", &connections, "-m", &streams, "-D", &seconds];
    command.extend(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
    command.extend(["-d", request.to_str().unwrap(), &url]);
    let said = run(command);
    let requests = number_before(&said, " 2xx");
    #[expect(clippy::cast_precision_loss, reason = "a few KiB")]
    let expected = requests * reply_bytes as f64;
    // An error has no body. Ages and positions differ in length, and unfinished requests count in part.
    let under_way = f64::from(CONNECTIONS * STREAMS) * expected / requests;
    let missing = (number_before(&said, ") data") - expected).abs();
    assert!(missing < expected * 0.02 + under_way, "unexpected sizes of replies:\n{said}");
    Done { requests, requests_per_second: number_before(&said, " req/s") }
}

/// About the GETs that Redis answers in that time.
pub(super) fn redis(port: u16, key: &str, connections: u32, pipeline: u32, took: Duration) -> Done {
    // redis-benchmark counts requests, not time: a short run tells how many.
    let some = redis_benchmark(port, key, connections, pipeline, 20_000);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hundred thousand")]
    let requests = (some * took.as_secs_f64()) as u32;
    let requests_per_second = redis_benchmark(port, key, connections, pipeline, requests);
    Done { requests: f64::from(requests + 20_000), requests_per_second }
}

fn redis_benchmark(port: u16, key: &str, connections: u32, pipeline: u32, requests: u32) -> f64 {
    let (port, requests) = (port.to_string(), requests.to_string());
    let (connections, pipeline) = (connections.to_string(), pipeline.to_string());
    let mut command = vec!["redis-benchmark", "-p", &port, "-c", &connections, "-P", &pipeline];
    command.extend(["-n", &requests, "-q", "GET", key]);
    number_before(&run(command), " requests per second")
}

/// Runs a load generator on its CPUs; returns its output.
fn run<'a>(command: impl IntoIterator<Item = &'a str>) -> String {
    let command: Vec<OsString> = Cpus::OfLoad.prefix().into_iter().chain(command.into_iter().map(Into::into)).collect();
    let output = Command::new(&command[0]).args(&command[1..]).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error} (Debian: apt-get install util-linux)"));
    assert!(output.status.success(), "{output:?} (Debian: apt-get install nghttp2-client redis-tools)");
    String::from_utf8(output.stdout).unwrap()
}

/// The last number before these words.
fn number_before(said: &str, words: &str) -> f64 {
    let (before, _) = said.rsplit_once(words).unwrap_or_else(|| panic!("no {words:?} in {said}"));
    let digits = before.rsplit(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or_default();
    digits.parse().unwrap_or_else(|error| panic!("{error}: {digits:?} before {words:?} in {said}"))
}

/// User and system time of a process so far.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // The process name may contain anything; behind it, user and system time are the 12th and 13th field.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u32>().unwrap()).sum::<u32>();
    TICK * ticks
}
