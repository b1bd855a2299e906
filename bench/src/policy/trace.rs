//! The traces: `xz` of big-endian 32-bit numbers, one per read; `gzip` of a workflow's events, which are reads and
//! changes.

use std::{collections::HashMap, fs::File, io::Read as _, path::Path, process::Command};

use flate2::read::GzDecoder;

/// A read or a change of a document, by its number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Read(usize),
    Change(usize),
}

#[derive(Debug)]
pub(super) struct Trace {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
    /// Documents, numbered from 0.
    pub(super) keys: usize,
}

impl Trace {
    pub(super) fn read(file: &Path) -> Self {
        let file_name = file.file_name().expect("a file").to_string_lossy();
        let name = file_name.split(['.', '_']).next().unwrap_or_default().to_owned();
        if file_name.ends_with(".xz") {
            let bytes = unpacked(file);
            return Self::of(name, bytes.chunks_exact(4).map(|number| (number, true)));
        }
        let mut text = String::new();
        GzDecoder::new(File::open(file).unwrap()).read_to_string(&mut text).unwrap();
        // Seconds, case, kind, and further columns.
        let fields = text.lines().skip(1).map(|line| line.split(',').skip(1));
        let steps = fields.map(|mut fields| (fields.next().expect("a case"), fields.next() == Some("R")));
        Self::of(name, steps)
    }

    fn of<Key: Eq + std::hash::Hash>(name: String, steps: impl Iterator<Item = (Key, bool)>) -> Self {
        let mut numbers = HashMap::new();
        let number_of = |(key, read)| {
            let next = numbers.len();
            let number = *numbers.entry(key).or_insert(next);
            if read { Step::Read(number) } else { Step::Change(number) }
        };
        let steps = steps.map(number_of).collect();
        Self { name, steps, keys: numbers.len() }
    }

    pub(super) fn reads(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step, Step::Read(_))).count()
    }

    pub(super) fn changes(&self) -> usize {
        self.steps.len() - self.reads()
    }
}

/// Runs the program (Debian: xz-utils): every build would compile a library for two files.
fn unpacked(file: &Path) -> Vec<u8> {
    let output = Command::new("xz").arg("-dc").arg(file).output().expect("xz is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
