//! What `radioctl dns` asks this host's daemon: counters, traced queries, the time that the kernel program takes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use autoradio_common::trace::TraceEvent;
use autoradio_common::verdict::Verdict;
use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::Sources;
use crate::clock;
use crate::dataplane::{DataplaneError, Look, QueryLook, traced_name};
use crate::dns::{LIMITED_TOTAL, REPLIES_TOTAL, WireName};

/// Path of [`DnsCounters`].
pub const DNS_COUNTERS_PATH: &str = "/v1/dns/counters";
/// Path of [`TraceLine`]s, one JSON object a line, for as long as the client stays.
pub const DNS_TRACE_PATH: &str = "/v1/dns/trace";
/// Path of [`DnsLatency`].
pub const DNS_LATENCY_PATH: &str = "/v1/dns/latency";
/// Media type of JSON objects, one a line.
const LINES_TYPE: &str = "application/x-ndjson";
/// Longest time that the program is timed for one question, in seconds.
const LATENCY_S_MAX: u64 = 3_600;

/// Counters at one moment. They only grow while the daemon runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsCounters {
    /// When, in milliseconds of a clock that never jumps.
    pub at_ms: u64,
    /// Packets by verdict of the kernel program; none without one.
    pub kernel: Option<BTreeMap<String, u64>>,
    /// Replies of userspace by outcome and transport, like `NoError udp`; those that the rate limit changed once more.
    pub userspace: BTreeMap<String, u64>,
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceLine {
    /// A query.
    Query(TracedQuery),
    /// So many queries came too fast to be shown here.
    Lost(u64),
}

/// A query as the kernel program saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracedQuery {
    /// When, in milliseconds of Unix time.
    pub unix_ms: u64,
    /// Who asked.
    pub client: IpAddr,
    /// From which port.
    pub port: u16,
    /// For which name; null where the program did not read that far.
    pub name: Option<String>,
    /// Number of the type; 0 where the program did not read that far.
    pub qtype: u16,
    /// Flags of the DNS header; 0 where the program did not read that far.
    pub flags: u16,
    /// Bytes of the DNS message.
    pub bytes: u16,
    /// What the program decided.
    pub verdict: String,
}

/// The time that the kernel program took for queries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsLatency {
    /// For how long it was timed, in seconds.
    pub seconds: u64,
    /// Queries by time: element `n` counts those of `2^n` up to `2^(n+1)` nanoseconds.
    pub buckets: Vec<u64>,
}

/// Why a question is not answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApiFailure {
    /// In words, with what to do.
    pub error: String,
}

/// Where these answers come from.
#[derive(Clone)]
pub(super) struct Local {
    pub(super) sources: Arc<Sources>,
    /// Fires when the node stops, which ends answers that take time.
    pub(super) stop: CancellationToken,
}

pub(super) async fn counters(State(local): State<Local>) -> Response {
    let sources = local.sources;
    let kernel = sources.look.as_ref().map(|look| look.verdicts()).transpose();
    let kernel = match kernel {
        Ok(kernel) => kernel,
        Err(error) => return failure(StatusCode::INTERNAL_SERVER_ERROR, &error),
    };
    let by_label = |verdicts: Vec<(Verdict, u64)>| {
        verdicts.iter().map(|(verdict, count)| (verdict.label().to_owned(), *count)).collect()
    };
    Json(DnsCounters {
        at_ms: clock::boot_ms(),
        kernel: kernel.map(by_label),
        userspace: replies(&sources.metrics.render()),
    })
    .into_response()
}

/// What is to be traced.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    name: Option<String>,
}

pub(super) async fn trace(State(local): State<Local>, Query(wanted): Query<Wanted>) -> Response {
    let looked = kernel(&local.sources).and_then(|look| {
        let name = traced_name(wanted.name.as_deref())?;
        look.at_queries(name)
    });
    match looked {
        Ok(look) => {
            let lines = lines(seen(look), local.stop);
            ([(header::CONTENT_TYPE, LINES_TYPE)], lines).into_response()
        }
        Err(error) => failure(StatusCode::CONFLICT, &error),
    }
}

/// A query, or how many were lost before the next.
type Seen = Result<Arc<TraceEvent>, u64>;

fn seen(look: QueryLook) -> impl Stream<Item = Seen> + Send + 'static {
    stream::unfold(look, |mut look| async move { Some((look.next().await?, look)) })
}

/// Lines for as long as the client reads and the node runs.
pub(super) fn lines(
    seen: impl Stream<Item = Seen> + Send + 'static,
    stop: CancellationToken,
) -> Body {
    let lines = seen.take_until(stop.cancelled_owned()).map(|seen| {
        let line = match seen {
            Ok(event) => TraceLine::Query(traced(&event, Clocks::now())),
            Err(lost) => TraceLine::Lost(lost),
        };
        // These shapes always are JSON.
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        Ok::<_, Infallible>(Frame::data(Bytes::from(text)))
    });
    Body::new(StreamBody::new(lines))
}

/// For how long the program is to be timed.
#[derive(Debug, Deserialize)]
pub(super) struct Span {
    seconds: u64,
}

pub(super) async fn latency(State(local): State<Local>, Query(span): Query<Span>) -> Response {
    let seconds = span.seconds.clamp(1, LATENCY_S_MAX);
    let timed = async {
        let look = kernel(&local.sources)?.at_latency()?;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let buckets = look.so_far()?.into();
        Ok(DnsLatency { seconds, buckets })
    };
    unless_stopped(timed, &local.stop).await
}

/// The answer that takes time, or the news that the node stops meanwhile.
async fn unless_stopped(
    timed: impl Future<Output = Result<DnsLatency, DataplaneError>>,
    stop: &CancellationToken,
) -> Response {
    match stop.run_until_cancelled(timed).await {
        Some(Ok(latency)) => Json(latency).into_response(),
        Some(Err(error)) => failure(StatusCode::CONFLICT, &error),
        None => failure(StatusCode::SERVICE_UNAVAILABLE, &"the daemon stops; ask the next one"),
    }
}

fn kernel(sources: &Sources) -> Result<&Arc<Look>, DataplaneError> {
    sources.look.as_ref().ok_or(DataplaneError::NotRunning)
}

fn failure(status: StatusCode, error: &impl Display) -> Response {
    (status, Json(ApiFailure { error: error.to_string() })).into_response()
}

/// The replies of userspace in the metrics of this process, which alone count them.
fn replies(metrics: &str) -> BTreeMap<String, u64> {
    let mut replies = BTreeMap::new();
    for (metric, what) in [(REPLIES_TOTAL, ""), (LIMITED_TOTAL, "rate_limited ")] {
        for line in metrics.lines() {
            let rest = line.strip_prefix(metric).and_then(|rest| rest.strip_prefix('{'));
            let Some((labels, count)) = rest.and_then(|rest| rest.split_once("} ")) else {
                continue;
            };
            let values: Vec<&str> = labels.split('"').skip(1).step_by(2).collect();
            let count = count.trim().parse().unwrap_or(0);
            replies.insert(format!("{what}{}", values.join(" ")), count);
        }
    }
    replies
}

/// Both clocks at one moment: events carry the one, people read the other.
#[derive(Clone, Copy)]
struct Clocks {
    monotonic_ns: u64,
    unix_ms: u64,
}

impl Clocks {
    fn now() -> Self {
        Self { monotonic_ns: clock::monotonic_ns(), unix_ms: clock::unix_ms() }
    }
}

fn traced(event: &TraceEvent, now: Clocks) -> TracedQuery {
    let age_ms = now.monotonic_ns.saturating_sub(event.at_ns) / 1_000_000;
    let [a, b, c, d, ..] = event.client;
    let v4 = Ipv4Addr::new(a, b, c, d);
    let v6 = Ipv6Addr::from(event.client);
    let verdict = Verdict::ALL.get(event.verdict as usize);
    TracedQuery {
        unix_ms: now.unix_ms.saturating_sub(age_ms),
        client: if event.family == 4 { v4.into() } else { v6.into() },
        port: event.client_port,
        name: name_of(event),
        qtype: event.qtype,
        flags: event.dns_flags,
        bytes: event.message_bytes,
        verdict: verdict.map_or("unknown", |verdict| verdict.label()).to_owned(),
    }
}

fn name_of(event: &TraceEvent) -> Option<String> {
    let wire = event.name_lower.get(..usize::from(event.name_bytes))?;
    // Labels that do not end where the name does are not written out.
    let mut rest = wire;
    while let [length, after @ ..] = rest
        && *length != 0
    {
        rest = after.get(usize::from(*length)..)?;
    }
    (rest == [0]).then(|| match WireName::from_wire(wire).to_string() {
        root if root.is_empty() => ".".to_owned(),
        name => name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    use autoradio_common::zone::NAME_KEY_BYTES;

    fn event(name: &[u8]) -> TraceEvent {
        let mut name_lower = [0; NAME_KEY_BYTES];
        name_lower[..name.len()].copy_from_slice(name);
        TraceEvent {
            at_ns: 5_000_000_000,
            client: *b"\xc6\x12\x00\x15\0\0\0\0\0\0\0\0\0\0\0\0",
            verdict: Verdict::AnsweredNoData as u32,
            client_port: 4_711,
            qtype: 28,
            dns_flags: 0x0100,
            message_bytes: 40,
            family: 4,
            name_bytes: name.len() as u8,
            zero: [0; 2],
            name_lower,
        }
    }

    #[test]
    fn an_event_of_the_kernel_is_told_in_words_and_on_the_calendar() {
        let now = Clocks { monotonic_ns: 5_500_000_000, unix_ms: 1_700_000_000_000 };
        let seen = traced(&event(b"\x05radio\x04test\0"), now);
        assert_eq!(seen.name.as_deref(), Some("radio.test."));
        assert_eq!((seen.client.to_string().as_str(), seen.port), ("198.18.0.21", 4_711));
        assert_eq!((seen.verdict.as_str(), seen.qtype), ("answered_no_data", 28));
        assert_eq!(seen.unix_ms, 1_699_999_999_500);
        let v6 = TraceEvent { family: 6, client: [0x20; 16], ..event(b"") };
        assert!(traced(&v6, now).client.is_ipv6());
    }

    #[test]
    fn a_name_that_was_not_read_or_does_not_end_is_none() {
        for (why, name, want) in [
            ("not read", &b""[..], None),
            ("the root", b"\0", Some(".")),
            ("no end", b"\x05radio", None),
            ("beyond its bytes", b"\x3fradio\0", None),
            ("more after its end", b"\x01a\0b", None),
            ("bytes that are no letters", b"\x02a\xff\0", Some("a\\xff.")),
        ] {
            assert_eq!(name_of(&event(name)).as_deref(), want, "{why}");
        }
        let too_long = TraceEvent { name_bytes: 200, ..event(b"") };
        assert_eq!(name_of(&too_long), None);
    }

    #[tokio::test]
    async fn an_answer_that_takes_time_ends_when_the_node_stops() {
        let stop = CancellationToken::new();
        let latency = DnsLatency { seconds: 1, buckets: vec![7] };
        let whole = unless_stopped(ready(Ok(latency)), &stop).await;
        assert_eq!(whole.status(), StatusCode::OK);
        let refused = unless_stopped(ready(Err(DataplaneError::NotRunning)), &stop).await;
        assert_eq!(refused.status(), StatusCode::CONFLICT);
        stop.cancel();
        let stopped = unless_stopped(pending(), &stop).await;
        assert_eq!(stopped.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn replies_of_userspace_are_read_from_its_metrics() {
        let metrics = "# TYPE autoradio_dns_replies_total counter\n\
            autoradio_dns_replies_total{rcode=\"NoError\",transport=\"udp\"} 7\n\
            autoradio_dns_replies_total{rcode=\"NXDomain\",transport=\"tcp\"} 1\n\
            autoradio_dns_rate_limited_total{fate=\"dropped\"} 3\n\
            autoradio_http_requests_total{code=\"200\"} 5\n";
        let want = [("NXDomain tcp", 1), ("NoError udp", 7), ("rate_limited dropped", 3)];
        let want = want.map(|(outcome, count)| (outcome.to_owned(), count));
        assert_eq!(replies(metrics), want.into());
    }
}
