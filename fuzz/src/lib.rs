//! What must hold of every parser of bytes from outside, whatever the bytes: one function per target.
//!
//! In: any bytes. Out: nothing, or a panic that names the law which they break. The same functions are run by the fuzzer
//! (`src/bin/fuzz.rs`, by `cargo xtask fuzz`) and by the test that replays the seeds in `seeds/<target>/` (`tests/replay.rs`).
//! Never here: sockets, clocks, chance: a target says the same of the same bytes.
#![forbid(unsafe_code)]

mod cluster;
mod dns;
mod http;
mod icecast;
mod stream;

/// The environment variable that tells the fuzzer which target to run.
pub const TARGET_VARIABLE: &str = "AUTORADIO_FUZZ_TARGET";

/// One parser, and what must hold of it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its folder of seeds.
    pub name: &'static str,
    /// Panics if a law is broken.
    pub check: fn(&[u8]),
}

const fn of(name: &'static str, check: fn(&[u8])) -> Target {
    Target { name, check }
}

/// Every target.
pub const TARGETS: [Target; 19] = [
    of("dns_query", dns::query),
    of("dns_name", dns::name),
    of("http_head", http::head),
    of("http_body", http::body),
    of("http_route", http::target),
    of("shoutcast", http::shoutcast),
    of("proxy_header", http::proxy_header),
    of("listener_verdict", http::listener_verdict),
    of("http_url", cluster::http_url),
    of("mount_path", cluster::mount_path),
    of("etcd_key", cluster::key),
    of("etcd_record", cluster::record),
    of("backup", cluster::backup),
    of("peer_state", cluster::peer_state),
    of("icecast_stats", icecast::stats),
    of("stream_icy", stream::icy),
    of("stream_mpeg", stream::frames),
    of("stream_adts", stream::frames),
    of("stream_ogg", stream::frames),
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
