//! The first session of README.md: its commands print what stands there, apart from times, ids and addresses.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use testkit::{command::program, free_port};

/// A command and the output below it. `...` stands for lines that are left out.
struct Shown {
    command: String,
    output: Vec<String>,
}

/// The commands of a chapter, with what they print.
fn shown(document: &str, chapter: &str) -> Vec<Shown> {
    let (_, text) = document.split_once(chapter).expect("the chapter");
    let text = text.split("\n## ").next().unwrap();
    let mut commands: Vec<Shown> = Vec::new();
    for block in text.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match line.strip_prefix("$ ") {
                Some(command) => commands.push(Shown { command: command.to_owned(), output: vec![] }),
                None => commands.last_mut().expect("a command before its output").output.push(line.to_owned()),
            }
        }
    }
    commands
}

/// A line without what differs between two runs: `#` in place of numbers, times, ids and addresses; no padding.
fn alike(line: &str) -> String {
    let words = line.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric));
    let alike = words.map(|word| {
        let differs = word.starts_with(|c: char| c.is_ascii_digit()) || word.len() >= 36;
        if differs {
            "#".to_owned()
        } else {
            word.split_once("127.0.0.1").map_or(word, |(before, _)| before).to_owned()
        }
    });
    alike.collect::<Vec<_>>().join(" ")
}

fn assert_alike(command: &str, written: &[String], printed: &str) {
    let is_left_out = |line: &&String| line.as_str() == "...";
    let whole = !written.iter().any(|line| is_left_out(&line));
    let written: Vec<_> = written.iter().take_while(|line| !is_left_out(line)).map(|line| alike(line)).collect();
    let printed: Vec<_> = printed.lines().map(alike).collect();
    let compared = if whole { &printed[..] } else { &printed[..written.len().min(printed.len())] };
    assert_eq!(written, compared, "README.md's output of `{command}` is not what it prints");
}

#[tokio::test]
async fn the_first_session_prints_what_the_readme_shows() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let commands = shown(&readme, "## Two commands");
    assert_eq!(commands.len(), 4);
    let (serve, calls) = commands.split_first().unwrap();
    assert_eq!(serve.command, "cargo run --release -- serve --demo");
    let (listen, probes) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let mut script = "set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n\
         \"$USERDATA\" serve --demo >0 2>log &\n\
         until \"$USERDATA\" healthcheck --addr \"$ADDR\" 2>/dev/null; do sleep 0.2; done >healthy\n"
        .to_owned();
    for (index, call) in calls.iter().enumerate() {
        let arguments = call.command.strip_prefix("target/release/userdata ").expect("what was built");
        script += &format!("\"$USERDATA\" {arguments} --addr \"$ADDR\" >{}\n", index + 1);
    }
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", "600", "bash", "-c", &script]).current_dir(directory.path());
    command.env("USERDATA", program()).env("ADDR", format!("http://{listen}")).stdin(Stdio::null());
    command.env("USERDATA__SERVER__LISTEN", &listen).env("USERDATA__METRICS__LISTEN", &probes);
    // A busy machine is not what is shown.
    command.env("USERDATA__SOURCES__SOFT_TIMEOUT", "8s").env("USERDATA__DATABASE__TIMEOUT", "5s");
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));

    let printed = |index: usize| fs::read_to_string(directory.path().join(index.to_string())).unwrap();
    // It is called by another name and at another address than the defaults.
    let banner = printed(0).replace(&program().display().to_string(), "target/release/userdata");
    let banner = banner.replace(&format!(" --addr http://{listen}"), "");
    assert_alike(&serve.command, &serve.output, &banner);
    for (index, call) in calls.iter().enumerate() {
        assert_alike(&call.command, &call.output, &printed(index + 1));
    }
}
