//! A child process that cannot outlive the test process.
//!
//! A small shell stands between the two and waits for the end of its input, a pipe that the test
//! process holds. The pipe ends when it is dropped, and also when the test process is killed; then
//! the shell ends the server and removes its directory. The shell has a process group of its own,
//! or Ctrl-C would end it before it could do that.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// Order: the exit code is told last, because that ends the shell if the test process is gone already.
/// `$1`: directory to remove or nothing; `$2`: signal that ends the server; then its command.
const KEEPER: &str = r#"
remove=$1 signal=$2; shift 2
"$@" >&3 2>&3 3>&- & pid=$!
echo "$pid"
said=$(cat)
kill -CONT $(cat "/proc/$pid/task/$pid/children" 2>/dev/null) "$pid" 2>/dev/null
kill -"$signal" "$pid" 2>/dev/null
for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
kill -KILL "$pid" 2>/dev/null
wait "$pid" 2>/dev/null; code=$?
[ -z "$remove" ] || [ "$said" = keep ] || rm -rf -- "$remove"
# Last: who reads it may go on at once.
echo "$code"
"#;

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Process {
    keeper: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pid: u32,
}

/// How a server is started and ended.
#[derive(Debug)]
pub struct Start<'a> {
    pub command: Vec<OsString>,
    pub environment: Vec<(String, String)>,
    /// Where its output goes.
    pub log: &'a Path,
    /// What ends it, without `SIG`; after five seconds it is killed.
    pub signal: &'a str,
    /// Removed after its end, unless it shall be kept.
    pub directory: Option<&'a Path>,
}

impl Process {
    pub fn start(start: Start<'_>) -> Self {
        let log = File::options().create(true).append(true).open(start.log).unwrap();
        let mut keeper = Command::new("bash")
            // Descriptor 3 is the log.
            .args(["-c", &format!("exec 3>>\"$0\"; {KEEPER}")])
            .arg(start.log)
            .arg(start.directory.map_or(OsStr::new(""), Path::as_os_str))
            .arg(start.signal)
            .args(start.command)
            .envs(start.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("bash is needed to run the tests");
        let mut output = BufReader::new(keeper.stdout.take().unwrap());
        let mut pid = String::new();
        output.read_line(&mut pid).unwrap();
        let input = keeper.stdin.take();
        Self { keeper, input, output, pid: pid.trim().parse().expect("the keeper prints the process id") }
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal to the server: `KILL`, `TERM`, `STOP`, `CONT`.
    pub fn signal(&self, signal: &str) {
        self.shell(&format!("kill -{signal} {}", self.pid));
    }

    /// Sends a signal to the server and to its children.
    pub fn signal_family(&self, signal: &str) {
        // A child that ends meanwhile is no failure; the server comes first, so that it makes no new ones.
        let pid = self.pid;
        self.signal(signal);
        self.shell(&format!("kill -{signal} $(cat /proc/{pid}/task/{pid}/children) 2>/dev/null || true"));
    }

    /// Whether the server still runs.
    pub fn is_running(&self) -> bool {
        // A child that ended stays a zombie until the keeper waits for it; its state tells.
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        status.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
    }

    /// The exit code of a server that has ended; 128 and the signal's number if that ended it.
    pub fn exit_code(mut self) -> i32 {
        assert!(!self.is_running(), "it runs");
        self.input.take();
        let mut code = String::new();
        self.output.read_line(&mut code).unwrap();
        code.trim().parse().expect("the keeper prints the exit code")
    }

    /// Ends it and leaves its directory, for the next start.
    pub fn end_but_keep_directory(mut self) {
        let said = self.input.as_mut().map(|input| input.write_all(b"keep"));
        assert!(matches!(said, Some(Ok(()))), "the keeper listens");
    }

    fn shell(&self, script: &str) {
        let done = Command::new("bash").args(["-c", script]).status().unwrap();
        assert!(done.success(), "{script}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.input.take();
        let _ended = self.keeper.wait();
    }
}
