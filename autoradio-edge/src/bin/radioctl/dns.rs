//! The commands about DNS on this host: what becomes of queries, and how fast.

use std::future::pending;
use std::time::Duration;

use anyhow::bail;
use autoradio_edge::api::{
    DNS_COUNTERS_PATH, DNS_LATENCY_PATH, DNS_TRACE_PATH, DnsCounters, DnsLatency, TraceLine,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::args::DnsCommand;
use crate::dns_view;
use crate::local_socket::LocalDaemon;
use crate::output::Output;

/// Does it.
pub(crate) async fn run(
    command: &DnsCommand,
    daemon: &LocalDaemon,
    output: &Output,
) -> anyhow::Result<()> {
    match command {
        DnsCommand::Stats { interval } => stats(daemon, output, *interval).await,
        DnsCommand::Trace { name, count, timeout } => {
            let within = async {
                match timeout {
                    Some(seconds) => tokio::time::sleep(Duration::from_secs(*seconds)).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                traced = trace(daemon, output, name.as_deref(), *count) => traced,
                () = within => Ok(()),
            }
        }
        DnsCommand::Latency { seconds } => {
            let path = format!("{DNS_LATENCY_PATH}?seconds={seconds}");
            let takes = Duration::from_secs(*seconds);
            let timed: DnsLatency = daemon.ask(&path, takes).await?;
            output.dns_latency(&dns_view::latency(timed))
        }
    }
}

async fn stats(daemon: &LocalDaemon, output: &Output, seconds: u64) -> anyhow::Result<()> {
    let before: DnsCounters = daemon.ask(DNS_COUNTERS_PATH, Duration::ZERO).await?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let after = daemon.ask(DNS_COUNTERS_PATH, Duration::ZERO).await?;
    output.dns_rates(&dns_view::rates(&before, &after))
}

async fn trace(
    daemon: &LocalDaemon,
    output: &Output,
    name: Option<&str>,
    count: Option<u64>,
) -> anyhow::Result<()> {
    let name = name.map(|name| format!("?name={}", utf8_percent_encode(name, NON_ALPHANUMERIC)));
    let path = format!("{DNS_TRACE_PATH}{}", name.unwrap_or_default());
    let mut lines = daemon.lines(&path).await?;
    output.dns_trace_head()?;
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        match lines.next().await? {
            Some(TraceLine::Query(query)) => {
                output.dns_query(&query)?;
                left -= 1;
            }
            Some(TraceLine::Lost(queries)) => {
                output.warning(&format!("{queries} queries came too fast to be shown"));
            }
            None => bail!("the daemon has stopped"),
        }
    }
    Ok(())
}
