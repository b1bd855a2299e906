//! Commands about the users' keys: which master keys wrap them, and the rotation of the master key.

use serde_json::json;
use tonic::Code;

use super::{
    databases::{failed, open_keys},
    failure::Failure,
    output::{Output, table},
    server_side::Keys,
};
use crate::{
    config::Config,
    database::Access,
    error::with_causes,
    privacy::{MasterKeys, Rotated, rotate, wrapped_keys},
};

pub(super) async fn run(what: Keys, config: &Config, output: &mut Output<'_>) -> Result<(), Failure> {
    let (Some(named), Some(file)) = (config.key_database(), &config.privacy.master_key_file) else {
        let message = "privacy.keys_url is not set: there are no keys of users";
        return Err(Failure::new(Code::FailedPrecondition, message));
    };
    let masters = MasterKeys::read(file).await.map_err(|error| precondition(&error))?;
    match what {
        // Handled without a configuration.
        Keys::New { .. } => Ok(()),
        Keys::Status(of) => {
            let wrapped = wrapped_keys(&open_keys(named, Access::ReadOnly, config).await?).await.map_err(failed)?;
            let names = masters.names().map(str::to_owned);
            let of_master = |name: &str| wrapped.iter().find(|of| of.master == name).map_or(0, |of| of.keys);
            let mut rows: Vec<_> = names.map(|name| (of_master(&name), state(&masters, &name), name)).collect();
            let missing = wrapped.iter().filter(|of| !masters.names().any(|name| name == of.master));
            rows.extend(missing.map(|of| (of.keys, "missing", of.master.clone())));
            let listed: Vec<_> = rows
                .iter()
                .map(|(keys, state, name)| json!({ "master_key": name, "state": state, "keys": keys }))
                .collect();
            output.show(of.output, &listed, |_| {
                let cells =
                    rows.iter().map(|(keys, state, name)| [name.clone(), (*state).to_owned(), keys.to_string()]);
                table(["master key", "state", "users' keys"], cells)
            })
        }
        Keys::Rotate => {
            let pool = open_keys(named, Access::ReadWrite, config).await?;
            let Rotated { wrapped, failed: left, last_failure } = rotate(&pool, &masters).await.map_err(failed)?;
            output.say(&format!("{wrapped} keys are now wrapped by {}", masters.first()))?;
            match last_failure {
                None => Ok(()),
                Some(why) => {
                    Err(Failure::new(Code::FailedPrecondition, format!("{left} keys are left as they are: {why}")))
                }
            }
        }
    }
}

fn state(masters: &MasterKeys, name: &str) -> &'static str {
    if name == masters.first() { "in use" } else { "unwraps only" }
}

fn precondition(error: &dyn std::error::Error) -> Failure {
    Failure::new(Code::FailedPrecondition, with_causes(error))
}
