//! Commands about this binary and its configuration; they call no server.

use std::process::ExitCode;

use serde_json::{Value as Json, json};
use tonic::Code;

use super::{
    failure::Failure,
    output::{Format, Output, pairs, table},
    server_side::flags,
};
use crate::{
    config::{self, Loaded, SETTINGS},
    grpc::middleware::auth::{Role, digest},
    privacy::new_master_key,
};

#[derive(Debug)]
pub enum LocalCommand {
    ConfigShow(Box<Loaded>, Format),
    ConfigSchema,
    ConfigReference,
    ConfigInit,
    TokenNew(Role, String, Format),
    /// With the name of the master key.
    KeysNew(String),
    Version(Format),
}

#[must_use]
pub fn run(command: &LocalCommand) -> ExitCode {
    Output::with_stdout(|output| answer(command, output))
}

fn answer(command: &LocalCommand, output: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        LocalCommand::ConfigShow(loaded, format) => {
            output.show(*format, &effective(loaded), |_| settings_table(loaded))
        }
        LocalCommand::ConfigSchema => output.show(Format::Json, &config::schema(), |_| String::new()),
        LocalCommand::ConfigReference => output.say(config::reference(&flags()).trim_end()),
        LocalCommand::ConfigInit => output.say(config::sample().trim_end()),
        LocalCommand::TokenNew(role, name, format) => {
            let (token, line) = new_token(*role, name);
            output.show(*format, &json!({ "token": token, "line": line }), |_| {
                pairs([("token", token.clone()), ("line for auth.tokens_file", line.clone())])
            })
        }
        LocalCommand::KeysNew(name) => match new_master_key(name) {
            Some(line) => output.say(&line),
            None => Err(Failure::new(
                Code::InvalidArgument,
                "the name has to be one printable word of 64 characters at most",
            )),
        },
        LocalCommand::Version(format) => {
            let version = env!("CARGO_PKG_VERSION");
            output.show(*format, &json!({ "version": version }), |_| format!("userdata {version}"))
        }
    }
}

/// 256 random bits, and the line of the tokens file with their digest.
fn new_token(role: Role, name: &str) -> (String, String) {
    let token = hex::encode(rand::random::<[u8; 32]>());
    let line = format!("{} {} {name}", role.name(), hex::encode(digest(&token)));
    (token, line)
}

/// `{ "section.key": { "value": .., "origin": .. } }`.
fn effective(loaded: &Loaded) -> Json {
    SETTINGS
        .iter()
        .map(|setting| {
            let value = json!({
                "value": (setting.get)(&loaded.config),
                "origin": loaded.origin(setting.key).to_string(),
            });
            (setting.key, value)
        })
        .collect()
}

fn settings_table(loaded: &Loaded) -> String {
    let row = |setting: &config::Setting| {
        [setting.key.to_owned(), (setting.get)(&loaded.config), loaded.origin(setting.key).to_string()]
    };
    table(["setting", "value", "from"], SETTINGS.iter().map(row))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Config;

    #[test]
    fn config_show_gives_values_and_origins_but_no_secrets() {
        let url = ("USERDATA__REDIS__URL".to_owned(), "redis://:s3cret@localhost".to_owned());
        let loaded = Box::new(Config::load(None, &BTreeMap::from([url]), &[]).expect("valid"));

        let json = effective(&loaded);
        let mut text = Vec::new();
        answer(&LocalCommand::ConfigShow(loaded, Format::Table), &mut Output::to(&mut text, false)).expect("written");
        let text = String::from_utf8(text).expect("UTF-8");

        assert_eq!(json["memory.ttl"], json!({ "value": "5m", "origin": "default" }));
        assert_eq!(json["redis.url"], json!({ "value": "***", "origin": "USERDATA__REDIS__URL" }));
        assert!(!json.to_string().contains("s3cret") && !text.contains("s3cret"));
        let line = |key: &str| text.lines().find(|line| line.contains(key)).unwrap_or_default().to_owned();
        assert!(line("memory.ttl").contains("5m") && line("memory.ttl").contains("default"), "{text}");
        assert!(line("redis.url").contains("***") && line("redis.url").contains("USERDATA__REDIS__URL"), "{text}");
    }

    #[test]
    fn the_version_is_for_people_and_for_programs() {
        let said = |format| {
            let mut text = Vec::new();
            answer(&LocalCommand::Version(format), &mut Output::to(&mut text, false)).expect("written");
            String::from_utf8(text).expect("UTF-8")
        };
        assert_eq!(said(Format::Table), concat!("userdata ", env!("CARGO_PKG_VERSION"), "\n"));
        assert_eq!(said(Format::Json), concat!("{\"version\":\"", env!("CARGO_PKG_VERSION"), "\"}\n"));
    }
}
