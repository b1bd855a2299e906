//! Lines of the log in which every character can be seen.
//!
//! Texts in the log come from callers, databases, model endpoints and libraries. Escaping them where a line is written
//! covers every one of them. ASCII passes as it is: controls are escaped before, and colours consist of them.

use std::io::{self, Write};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use crate::{config::LogFormat, text::is_unprintable};

/// Makes writers of such lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct PrintableLines<M> {
    pub(super) inner: M,
    pub(super) format: LogFormat,
}

impl<'w, M: MakeWriter<'w>> MakeWriter<'w> for PrintableLines<M> {
    type Writer = PrintableWriter<M::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        PrintableWriter { inner: self.inner.make_writer(), format: self.format }
    }

    fn make_writer_for(&'w self, meta: &Metadata<'_>) -> Self::Writer {
        PrintableWriter { inner: self.inner.make_writer_for(meta), format: self.format }
    }
}

/// Escapes what is written. A line is written at once, so no character is cut.
#[derive(Debug)]
pub(super) struct PrintableWriter<W> {
    inner: W,
    format: LogFormat,
}

impl<W: Write> Write for PrintableWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = if bytes.is_ascii() { None } else { std::str::from_utf8(bytes).ok() };
        match line.filter(|line| line.chars().any(is_escaped)) {
            Some(line) => self.inner.write_all(escaped(line, self.format).as_bytes())?,
            None => self.inner.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn is_escaped(c: char) -> bool {
    !c.is_ascii() && is_unprintable(c)
}

/// In JSON such a character only stands in strings, so JSON's escape says the same.
fn escaped(line: &str, format: LogFormat) -> String {
    let mut text = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        match format {
            _ if !is_escaped(c) => text.push(c),
            LogFormat::Text => text.extend(c.escape_unicode()),
            LogFormat::Json => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    text
}
