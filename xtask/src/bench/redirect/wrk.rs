//! wrk with one thread on the load generator's core.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Connection;
use crate::bench::cores::GENERATOR_CORE;
use crate::bench::server::MOUNT;
use crate::process;

/// Connections at one time.
const CONNECTIONS: u32 = 64;

/// Asks for so many seconds. Returns answers a second; it is an error if any was no redirect.
pub(super) fn run(server: SocketAddr, connection: Connection, seconds: u32) -> Result<f64> {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &GENERATOR_CORE.to_string(), "wrk", "--threads", "1"]);
    command.args(["--connections", &CONNECTIONS.to_string(), "--duration", &format!("{seconds}s")]);
    if connection == Connection::Close {
        command.args(["--header", "Connection: close"]);
    }
    let text = process::answer(command.arg(format!("http://{server}{MOUNT}")));
    parse(&text.context("wrk failed")?)
}

/// Reads `Requests/sec:  12345.67`, and the two lines that only appear when something went wrong.
fn parse(text: &str) -> Result<f64> {
    let wrong = ["Socket errors:", "Non-2xx or 3xx responses:"];
    if let Some(line) = text.lines().find(|line| wrong.iter().any(|wrong| line.contains(wrong))) {
        bail!("wrk says: {}", line.trim());
    }
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    rate.and_then(|rate| rate.trim().parse().ok()).context("wrk's output is not as known")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 4.1.0 prints it.
    const TEXT: &str = "Running 1s test @ http://127.0.0.1:80/\n  1 threads and 64 connections\n  \
        20312 requests in 1.00s, 3.10MB read\nRequests/sec:  20290.51\nTransfer/sec:      3.10MB\n";

    #[test]
    fn the_rate_is_read_unless_something_went_wrong() {
        assert!((parse(TEXT).unwrap() - 20_290.51).abs() < 1e-6);
        let refused = TEXT.to_owned() + "  Non-2xx or 3xx responses: 20312\n";
        assert!(parse(&refused).unwrap_err().to_string().contains("20312"));
        assert!(parse("Usage: wrk").is_err());
    }
}
