//! Another process that writes a SQLite file, as the planning application does: its locks, journals and owner are not the
//! test's.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// Executes the statements that it is sent, each committed unless a transaction is open, and says so.
const PROGRAM: &str = "
import os, sqlite3, sys
if int(sys.argv[2]):
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for line in sys.stdin:
    try:
        for statement in line.split(';'):
            db.execute(statement).fetchall()
        print('done', flush=True)
    except sqlite3.Error as error:
        print(error, flush=True)
";

/// A connection of another process to a file. Dropping it kills the process.
#[derive(Debug)]
pub struct SqliteWriter {
    process: Child,
    statements: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl SqliteWriter {
    pub fn of(file: &Path) -> Self {
        Self::of_user(file, 0)
    }

    /// Under another uid, if the test runs as root; 0: the test's own.
    pub fn of_user(file: &Path, uid: u32) -> Self {
        let mut process = Command::new("python3")
            .args(["-c", PROGRAM])
            .arg(file)
            .arg(uid.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed to run the tests");
        let (statements, answers) = (process.stdin.take(), process.stdout.take().expect("it is piped"));
        Self { process, statements, answers: BufReader::new(answers) }
    }

    /// Executes statements, separated by semicolons.
    pub fn execute(&mut self, statements: &str) {
        let answer = self.try_execute(statements);
        assert_eq!(answer, "done", "{statements}");
    }

    /// The same; `done`, or why not.
    pub fn try_execute(&mut self, statements: &str) -> String {
        let input = self.statements.as_mut().expect("it has not ended");
        writeln!(input, "{}", statements.replace('\n', " ")).expect("it runs");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it runs");
        answer.trim_end().to_owned()
    }

    /// Kills it as a crash would.
    pub fn kill(mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it was started here");
    }

    /// Closes its connection.
    pub fn end(mut self) {
        drop(self.statements.take());
        assert!(self.process.wait().expect("it was started here").success());
    }
}

impl Drop for SqliteWriter {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
