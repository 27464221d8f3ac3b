//! `HAProxy` with one thread.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;
use nix::sys::resource::{Resource, getrlimit};

use super::{Server, connects};

/// Descriptors that are not of connections.
const OWN_DESCRIPTORS: u64 = 200;

/// Passes streams on from Icecast, each by a connection of its own.
pub(super) fn proxy(server: &mut Server, backend: SocketAddr) -> Result<()> {
    start(server, &format!("server icecast {backend}"))
}

/// Answers everything with 302.
pub(super) fn redirect(server: &mut Server, to: &str) -> Result<()> {
    start(server, &format!("http-request redirect location {to} code 302"))
}

fn start(server: &mut Server, rule: &str) -> Result<()> {
    let (_, descriptors) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // A client's and a server's for each.
    let connections = descriptors.saturating_sub(OWN_DESCRIPTORS) / 2;
    let text = settings(server.address, connections, rule);
    let config = server.write("haproxy.cfg", &text)?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(config);
    server.spawn("haproxy", command)?;
    server.wait_until("HAProxy listens", |it| connects(it.address))
}

fn settings(address: SocketAddr, connections: u64, rule: &str) -> String {
    format!(
        "global\n  maxconn {connections}\n  nbthread 1\n\
         defaults\n  mode http\n  maxconn {connections}\n  timeout connect 5s\n  \
         timeout client 60s\n  timeout server 60s\n\
         listen bench\n  bind {address} backlog 4096\n  {rule}\n"
    )
}
