//! The log: lines on stderr, for people or as JSON.
//!
//! stderr, because stdout belongs to what was asked for.

use std::io::{self, IsTerminal};

use opentelemetry_sdk::trace::SdkTracer;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::ParseError,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

use super::{printable_lines::PrintableLines, trace};
use crate::config::{LogFormat, LogSettings};

/// Appended to every filter: with spans per HTTP/2 frame, a request would cost several times its own work; sqlx tells of
/// each connection that it closes because it failed, which the statement's own error tells; fred warns of each connection
/// that ends, idle ones too, while the circuit's line says what matters.
const ALWAYS_OFF: &str = "h2=off,hyper=off,tower=off,sqlx_core::pool=off,fred=error";

/// Why nothing is logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read. A loaded configuration has none that cannot.
    #[error("log.filter cannot be read")]
    Filter(#[from] ParseError),
    /// Something else logs in this process.
    #[error("the log is set up already")]
    Twice(#[from] TryInitError),
}

/// Starts logging to stderr, for the whole process, and making traces of spans if there is a tracer.
pub(super) fn start(log: &LogSettings, tracer: Option<SdkTracer>) -> Result<(), LogError> {
    let colours = io::stderr().is_terminal();
    Ok(subscriber(log, tracer, io::stderr, colours)?.try_init()?)
}

fn subscriber<W>(
    log: &LogSettings,
    tracer: Option<SdkTracer>,
    writer: W,
    colours: bool,
) -> Result<impl Subscriber + Send + Sync, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(format!("{},{ALWAYS_OFF}", log.filter))?;
    let writer = PrintableLines { inner: writer, format: log.format };
    let lines = match log.format {
        LogFormat::Text => fmt::layer().with_writer(writer).with_ansi(colours).boxed(),
        LogFormat::Json => fmt::layer().with_writer(writer).json().flatten_event(true).boxed(),
    };
    Ok(tracing_subscriber::registry().with(tracer.map(trace::layer)).with(lines.with_filter(filter)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sync::Mutex;

    /// What is logged by a few events of different origins.
    fn logged(filter: &str, format: LogFormat) -> String {
        logged_by(filter, format, || {
            tracing::info!(user.count = 2, "warmed");
            tracing::debug!("detail");
            tracing::error!(target: "h2::proto", "frame");
            tracing::warn!(target: "fred::router::responses", "Broadcasting error");
        })
    }

    fn logged_by(filter: &str, format: LogFormat, say: impl FnOnce()) -> String {
        let written = Arc::new(Mutex::new(Vec::new()));
        let log = LogSettings { filter: filter.to_owned(), format };
        let subscriber = subscriber(&log, None, Appender(Arc::clone(&written)), false).expect("a filter");
        tracing::subscriber::with_default(subscriber, say);
        let bytes = written.lock().clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[derive(Clone)]
    struct Appender(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Appender {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Appender {
        type Writer = Self;
        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn the_filter_decides_but_frames_are_never_logged() {
        for (filter, lines) in [("info", 1), ("debug", 2), ("warn", 0), ("trace,h2=trace", 2), ("", 0)] {
            let text = logged(filter, LogFormat::Text);
            assert_eq!(text.lines().count(), lines, "{filter}: {text}");
            assert!(!text.contains("frame"), "{filter}: {text}");
        }
    }

    #[test]
    fn characters_without_a_glyph_are_escaped_wherever_they_stand() {
        let text = "a\u{202e}b\u{2028}c\u{e0041}d\u{9b}é";
        for format in [LogFormat::Text, LogFormat::Json] {
            let line = logged_by("info", format, || {
                tracing::info_span!("request", of = text)
                    .in_scope(|| tracing::warn!(debug = ?text, display = %text, "{text}"));
            });
            assert!(line.lines().count() == 1 && line.contains('é'), "{line}");
            assert_eq!(crate::text::first_unprintable(line.trim_end()), None, "{line}");
            if format == LogFormat::Json {
                let read: serde_json::Value = serde_json::from_str(&line).expect("one JSON object");
                assert_eq!(
                    (&read["message"], &read["display"], &read["span"]["of"]),
                    (&text.into(), &text.into(), &text.into())
                );
            }
        }
    }

    #[test]
    fn json_lines_are_one_object_with_its_fields() {
        let line: serde_json::Value = serde_json::from_str(&logged("info", LogFormat::Json)).expect("one JSON object");
        assert_eq!(line["message"], "warmed");
        assert_eq!(line["user.count"], 2);
        assert_eq!(line["level"], "INFO");
    }
}
