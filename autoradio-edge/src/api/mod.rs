//! The admin port: health, metrics and status for the operator and for machines that watch, and what
//! this node's Icecast asks about its sources. Beside it a socket in the state directory, for what only this host's operator
//! may see: who asks DNS for what.
//!
//! In: a function that tells the node's [`Status`], and the front's gates. Out: HTTP on a private address. Never here: decisions.

mod dns;
mod listener_auth;
mod socket;
mod source_auth;
mod status;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::Standing;
use crate::dataplane::Look;
use crate::http::{ListenerGate, SourceGate};

pub use dns::{
    ApiFailure, DNS_COUNTERS_PATH, DNS_LATENCY_PATH, DNS_TRACE_PATH, DnsCounters, DnsLatency,
    TraceLine, TracedQuery,
};
pub use listener_auth::LISTENER_AUTH_PATH;
pub use socket::{AdminServer, LocalServer};
pub use source_auth::SOURCE_AUTH_PATH;
pub use status::{DnsStatus, MountStatus, Parts, Status, XdpStatus};

/// Media type of the Prometheus text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4";

/// Longest path of a Unix socket on Linux, in bytes: its place holds 108, the last of which ends the text (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Name of the socket in the state directory.
pub const LOCAL_SOCKET: &str = "radioctl.sock";

/// What an operator can mend about the admin port.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The port cannot be opened.
    #[error(
        "cannot open {address} for the admin port: {source}; another program may hold it, --admin-listen chooses another"
    )]
    Bind {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The socket in the state directory cannot be opened.
    #[error("cannot open {path} for radioctl: {source}; --state-dir chooses another folder")]
    BindLocal {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The state directory's path leaves no room for the socket's name.
    #[error(
        "{path} has more than {SOCKET_PATH_BYTES_MAX} bytes, so it cannot be a socket, and `radioctl dns` cannot ask this \
         daemon; a shorter --state-dir mends it"
    )]
    LocalTooLong {
        /// Where.
        path: PathBuf,
    },
}

/// Where the answers come from.
pub struct Sources {
    /// The node's state now.
    pub status: Box<dyn Fn() -> Status + Send + Sync>,
    /// The metrics of this process.
    pub metrics: PrometheusHandle,
    /// What judges the sources of this node's Icecast.
    pub gate: Arc<SourceGate>,
    /// What judges its listeners.
    pub listener_gate: Arc<ListenerGate>,
    /// What looks into the kernel program, if one runs.
    pub look: Option<Arc<Look>>,
}

fn router(sources: Arc<Sources>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(render_metrics))
        .route("/v1/status", get(status))
        .route(SOURCE_AUTH_PATH, post(source_auth::judge))
        .route(LISTENER_AUTH_PATH, post(listener_auth::judge))
        .with_state(sources)
}

fn local_router(sources: Arc<Sources>, stop: CancellationToken) -> Router {
    Router::new()
        .route(DNS_COUNTERS_PATH, get(dns::counters))
        .route(DNS_TRACE_PATH, get(dns::trace))
        .route(DNS_LATENCY_PATH, get(dns::latency))
        .with_state(dns::Local { sources, stop })
}

async fn ready(State(sources): State<Arc<Sources>>) -> Response {
    let status = (sources.status)();
    let code = if status.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, axum::Json(status.parts)).into_response()
}

async fn render_metrics(State(sources): State<Arc<Sources>>) -> Response {
    record_status(&(sources.status)());
    ([(header::CONTENT_TYPE, METRICS_TYPE)], sources.metrics.render()).into_response()
}

async fn status(State(sources): State<Arc<Sources>>) -> Response {
    axum::Json((sources.status)()).into_response()
}

/// Takes over what is counted elsewhere: the kernel counts its verdicts itself.
fn record_status(status: &Status) {
    for (verdict, count) in &status.dns.verdicts {
        metrics::counter!("autoradio_dataplane_packets_total", "verdict" => *verdict)
            .absolute(*count);
    }
    for label in Standing::LABELS {
        let stands = if status.standing == label { 1.0 } else { 0.0 };
        metrics::gauge!("autoradio_cluster_standing", "standing" => label).set(stands);
    }
    metrics::gauge!("autoradio_api_ready").set(if status.ready { 1.0 } else { 0.0 });
}
