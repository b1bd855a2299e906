//! The id of a call, the same for its caller, the log and a support request; and the trace that its caller names.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use tracing::{Span, error_span, field::Empty};
use uuid::Uuid;

use crate::telemetry::trace;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Long enough for any tracing system's id; it is repeated in every log line and reply.
const BYTES_MAX: usize = 128;

/// A request's id: the caller's if it is fit to be logged, else one of ours. Empty until it is known. Clones share it,
/// and are small: it passes through all layers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestId(Option<Arc<KnownId>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct KnownId {
    id: HeaderValue,
    trace: Option<HeaderValue>,
}

impl RequestId {
    /// The id that a request carries, or a new one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let fit = headers.get(&HEADER).filter(|id| is_fit(id.as_bytes()));
        Self::known(fit.cloned().unwrap_or_else(create), headers.get(&trace::TRACEPARENT).cloned())
    }

    /// A new one.
    #[must_use]
    pub fn create() -> Self {
        Self::known(create(), None)
    }

    fn known(id: HeaderValue, trace: Option<HeaderValue>) -> Self {
        Self(Some(Arc::new(KnownId { id, trace })))
    }

    /// Logs something about the request, within a span that names it: most requests have none.
    pub fn in_log(&self, say: impl FnOnce()) {
        if !Span::current().is_none() {
            return say();
        }
        self.span().in_scope(say);
    }

    /// For the log alone. Every filter passes its level, so no line loses its ids.
    #[must_use]
    pub fn span(&self) -> Span {
        let span =
            error_span!("request", rpc.method = Empty, request.id = self.as_str(), caller = Empty, trace_id = Empty);
        if let Some(trace) = self.0.as_ref().and_then(|known| trace::trace_in(known.trace.as_ref()?)) {
            span.record("trace_id", trace);
        }
        span
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let known = self.0.as_ref().map(|known| known.id.to_str());
        known.map_or("", |id| id.expect("checked when made: ASCII without control characters"))
    }

    /// Adds it to the headers of an answer. The last clone is moved there: copying a header's value allocates.
    pub fn stamp(self, headers: &mut HeaderMap) {
        if let Some(known) = self.0 {
            headers.insert(HEADER, once(Arc::unwrap_or_clone(known).id));
        }
    }
}

/// A value that is hardly ever sent twice. HTTP/2 keeps a table of the headers sent on a connection, and looks through
/// all values of a name. Sensitive values stay out of the table; the mark has no other effect.
#[must_use]
pub fn once(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

fn create() -> HeaderValue {
    // From the thread's generator: `Uuid::new_v4` calls the kernel each time.
    let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
    let text = id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned();
    HeaderValue::try_from(text).expect("hex digits and hyphens are legal in a header")
}

fn is_fit(id: &[u8]) -> bool {
    (1..=BYTES_MAX).contains(&id.len()) && id.iter().all(|byte| (b' '..=b'~').contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(sent: &[u8]) -> RequestId {
        RequestId::of(&[(HEADER, HeaderValue::from_bytes(sent).unwrap())].into_iter().collect())
    }

    #[test]
    fn a_callers_id_is_echoed_if_it_has_at_most_128_printable_bytes() {
        for sent in ["a", "4bf92f3577b34da6a3ce929d0e0e4736", "with space", &"x".repeat(128)] {
            assert_eq!(id_for(sent.as_bytes()).as_str(), sent);
        }
    }

    #[test]
    fn any_other_id_is_replaced_by_a_uuid() {
        for sent in [b"".as_slice(), &[b'x'; 129], b"tab\there", "caf\u{e9}".as_bytes()] {
            assert!(Uuid::parse_str(id_for(sent).as_str()).is_ok(), "{sent:?}");
        }
        let created = RequestId::of(&HeaderMap::new());
        assert_eq!(Uuid::parse_str(created.as_str()).unwrap().get_version_num(), 4);
        assert_ne!(created, RequestId::create());
    }
}
