//! The settings, and the permissions of files with secrets.

use std::{collections::BTreeSet, os::unix::fs::PermissionsExt, path::Path};

use super::Findings;
use crate::config::{Loaded, OpenTelemetry, Origin, SETTINGS};

pub(super) const REMEDY: &str = "correct it where it was said; docs/configuration.md has every setting";

/// Readable by all users of the machine.
const OTHERS_READ: u32 = 0o004;

pub(super) fn examine(loaded: &Loaded, telemetry: &OpenTelemetry, found: &mut Findings) {
    match loaded.check_listeners() {
        Ok(()) => found.ok("configuration", format!("valid; {} settings are not the default", loaded.origins.len())),
        Err(error) => {
            for problem in error.problems {
                found.fail("configuration", problem.to_string(), REMEDY);
            }
        }
    }
    for remark in &telemetry.remarks {
        found.warn("configuration", remark, "correct the variable; until then it is ignored");
    }
    let files = files_of_secrets(loaded);
    for file in &files {
        secrecy(file, found);
    }
}

/// Files that contain secrets, each once.
fn files_of_secrets(loaded: &Loaded) -> BTreeSet<&Path> {
    let secrets = SETTINGS.iter().filter(|setting| (setting.secret)());
    let in_the_file = secrets.filter_map(|setting| match loaded.origin(setting.key) {
        Origin::File { path, .. } if !loaded.secret_files.contains_key(setting.key) => Some(path.as_path()),
        _ => None,
    });
    let own = loaded.secret_files.values().map(AsRef::as_ref);
    in_the_file.chain(own).chain(loaded.config.tls.key.as_deref()).collect()
}

fn secrecy(file: &Path, found: &mut Findings) {
    let name = file.display();
    // An unreadable file is another finding.
    let Ok(metadata) = std::fs::metadata(file) else { return };
    let mode = metadata.permissions().mode();
    if mode & OTHERS_READ == 0 {
        found.ok("secrets", format!("{name} is not readable by all users of this machine"));
    } else {
        let mode = mode & 0o777;
        found.warn(
            "secrets",
            format!("{name} holds a secret, and all users of this machine can read it ({mode:o})"),
            format!("chmod o-rwx {name}"),
        );
    }
}
