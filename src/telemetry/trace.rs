//! Traces: which requests are sampled, and spans that outlive their request.
//!
//! Sampling is decided before a span exists, by the `traceparent` or at random; a request that is not sampled has no
//! span. Inner spans exist for the log too. They belong to a trace only within a sampled request ([`layer`]), so that
//! sampling is decided once.
//!
//! A span of `tracing` ends with its last child. So work that continues after the answer is a child in the trace only
//! ([`outliving`]).

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{SpanContext, SpanKind, TraceContextExt as _, TraceId},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{Sampler, SamplingDecision, SdkTracer, ShouldSample as _},
};
use tracing::{Level, Metadata, Span, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter::dynamic_filter_fn, registry::LookupSpan};

use crate::config::OpenTelemetry;

/// The target of root spans.
pub const TRACED: &str = "userdata::traced";
/// The target of events for the log only. They can hold text of callers, which must not leave in a trace.
pub const AUDIT: &str = "userdata::audit";
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Decides which requests are traced.
#[derive(Clone, Debug, Default)]
pub struct Sampling(Option<Rules>);

#[derive(Clone, Copy, Debug)]
struct Rules {
    continues_traces: bool,
    follows_callers: bool,
    ratio: f64,
}

impl Sampling {
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    pub(super) fn of(said: &OpenTelemetry) -> Self {
        let &OpenTelemetry { continues_traces, follows_callers, ratio, .. } = said;
        Self(said.sends_traces.then_some(Rules { continues_traces, follows_callers, ratio }))
    }

    /// The parent context of a request's span. None: the request is not sampled.
    #[must_use]
    pub fn context(&self, headers: &HeaderMap) -> Option<Context> {
        let rules = self.0?;
        let parent = (rules.continues_traces && headers.contains_key(&TRACEPARENT))
            .then(|| TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers)));
        let of_caller = parent.as_ref().map(|parent| parent.span().span_context().clone());
        let of_caller = of_caller.filter(SpanContext::is_valid);
        let is_traced = match &of_caller {
            Some(caller) if rules.follows_callers => caller.is_sampled(),
            Some(caller) => rules.draws(caller.trace_id()),
            None => rules.draws(TraceId::from(rand::random::<u128>())),
        };
        is_traced.then(|| parent.unwrap_or_default())
    }
}

impl Rules {
    fn draws(self, trace: TraceId) -> bool {
        let sampler = Sampler::TraceIdRatioBased(self.ratio);
        let drawn = sampler.should_sample(None, trace, "", &SpanKind::Server, &[], &[]);
        drawn.decision == SamplingDecision::RecordAndSample
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// The trace id of a `traceparent`, for the log.
#[must_use]
pub fn trace_in(traceparent: &HeaderValue) -> Option<&str> {
    // version-trace-parent-flags
    let trace = traceparent.to_str().ok()?.split('-').nth(1)?;
    (trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(trace)
}

/// Makes a new span a child of a context, and records its `trace_id` for the log.
pub fn put_into(span: &Span, context: Context) {
    // It fails if traces are off.
    if span.set_parent(context).is_ok() {
        let trace = span_context(span).trace_id();
        if trace != TraceId::INVALID {
            span.record("trace_id", tracing::field::display(trace));
        }
    }
}

/// Makes a span without a parent a child of the current one in the trace only, so that it can end later.
#[must_use]
pub fn outliving(span: Span) -> Span {
    let current = Span::current();
    if !current.is_none() {
        put_into(&span, current.context());
    }
    span
}

/// A span that is only created within a sampled request, for short operations.
#[must_use]
pub fn within_request(span: impl FnOnce() -> Span) -> Span {
    if Span::current().is_none() { Span::none() } else { span() }
}

#[must_use]
pub fn span_context(span: &Span) -> SpanContext {
    span.context().span().span_context().clone()
}

/// Records that a span waited for another.
pub fn link(span: &Span, to: SpanContext) {
    span.add_link(to);
}

/// Sends root spans, and the spans and events within them, to the tracer.
pub(super) fn layer<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    // Only our targets: spans per HTTP/2 frame would multiply the cost of a request.
    let is_ours =
        |of: &Metadata<'_>| of.target().starts_with("userdata") && of.target() != AUDIT && *of.level() <= Level::INFO;
    let traced = dynamic_filter_fn(move |of, context| {
        is_ours(of) && (of.target() == TRACED || context.lookup_current().is_some())
    });
    let traced = traced
        .with_max_level_hint(LevelFilter::INFO)
        .with_callsite_filter(move |of| if is_ours(of) { Interest::sometimes() } else { Interest::never() });
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false)
        .with_filter(traced)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn sampling(follows_callers: bool, ratio: f64) -> Sampling {
        Sampling(Some(Rules { continues_traces: true, follows_callers, ratio }))
    }

    fn headers(flags: &str) -> HeaderMap {
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-{flags}");
        [(TRACEPARENT, parent.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn callers_decide_and_chance_where_they_have_not() {
        let traced = |sampling: &Sampling, headers: &HeaderMap| sampling.context(headers).is_some();
        for (ratio, by_chance) in [(0.0, false), (1.0, true)] {
            let following = sampling(true, ratio);
            assert!(traced(&following, &headers("01")) && !traced(&following, &headers("00")));
            assert_eq!(traced(&following, &HeaderMap::new()), by_chance);
            let own = sampling(false, ratio);
            assert_eq!((traced(&own, &headers("01")), traced(&own, &headers("00"))), (by_chance, by_chance));
        }
        assert!(!traced(&Sampling::none(), &headers("01")));
        let drawn = (0..10_000).filter(|_| traced(&sampling(true, 0.1), &HeaderMap::new())).count();
        assert!((700..1300).contains(&drawn), "{drawn} of 10,000 at a tenth");
    }

    #[test]
    fn a_trace_is_continued_and_a_malformed_parent_is_none() {
        let context = sampling(true, 0.0).context(&headers("01")).unwrap();
        assert_eq!(context.span().span_context().trace_id().to_string(), TRACE);
        assert_eq!(trace_in(&headers("00")[&TRACEPARENT]), Some(TRACE));
        for malformed in ["", "x", "00-0-0-01", &format!("00-{TRACE}-0000000000000000-01")] {
            let parent = [(TRACEPARENT, malformed.parse().unwrap())];
            let headers: HeaderMap = parent.into_iter().collect();
            assert!(sampling(true, 0.0).context(&headers).is_none(), "{malformed}");
            assert!(!sampling(true, 1.0).context(&headers).unwrap().span().span_context().is_valid(), "{malformed}");
        }
    }
}
