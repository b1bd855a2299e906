//! `userdata config check`: the settings have been checked as they were read; what is left is the file of master keys.

use std::process::ExitCode;

use super::{
    EX_CONFIG,
    output::{Output, complain},
};
use crate::{config::Config, error::with_causes, privacy::MasterKeys};

#[must_use]
pub fn run(config: &Config) -> ExitCode {
    if let Some(file) = &config.privacy.master_key_file {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                complain(&format!("cannot start: {error}"));
                return ExitCode::FAILURE;
            }
        };
        let read = runtime.block_on(MasterKeys::read(file));
        // Does not wait for a thread that hangs in the file system.
        runtime.shutdown_background();
        if let Err(error) = read {
            complain(&with_causes(&error));
            return EX_CONFIG.into();
        }
    }
    Output::with_stdout(|output| output.say("the configuration is valid"))
}
