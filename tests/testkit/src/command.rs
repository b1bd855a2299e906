//! `userdata` as a person or a script runs it: arguments and environment in; output and exit code out.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// The service's program, which cargo builds beside the tests' own.
pub fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let beside = own.ancestors().skip(1).take(2).map(|directory| directory.join("userdata"));
    beside.into_iter().find(|file| file.is_file()).expect("cargo builds the program before tests/it")
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub exit_code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The output of a command that has to succeed, and silently at that.
    pub fn output(self) -> String {
        assert_eq!((self.exit_code, self.stderr.as_str()), (0, ""), "{}", self.stdout);
        self.stdout
    }

    /// Everything that was printed.
    pub fn printed(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs a command in an empty directory, with these variables and no other settings.
pub async fn userdata_with(arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let directory: TempDir = tempfile::Builder::new().prefix("userdata-command-").tempdir().unwrap();
    let mut command = Command::new("timeout");
    // Nothing that is run to its end here takes a minute, and nothing may outlive its test.
    command.args(["--kill-after=5", "60"]).arg(program()).args(arguments);
    command.current_dir(directory.path()).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("USERDATA__")) {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    drop(directory);
    Ran {
        exit_code: ran.status.code().expect("it ends by itself"),
        stdout: String::from_utf8(ran.stdout).unwrap(),
        stderr: String::from_utf8(ran.stderr).unwrap(),
    }
}

/// Runs a command in an empty directory, without settings.
pub async fn userdata(arguments: &[&str]) -> Ran {
    userdata_with(arguments, &[]).await
}
