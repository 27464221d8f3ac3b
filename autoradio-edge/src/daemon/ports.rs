//! Everything a node listens on, opened before anything is started.

use std::path::Path;

use tracing::warn;

use crate::api::{AdminServer, ApiError, LocalServer};
use crate::config::Config;
use crate::dns::{DnsError, TcpServer, UdpServer};
use crate::http::{Front, FrontError};

use super::DaemonError;

/// The node's open sockets.
pub(super) struct Ports {
    pub(super) dns_udp: Vec<UdpServer>,
    pub(super) dns_tcp: Vec<TcpServer>,
    pub(super) front: Front,
    pub(super) admin: AdminServer,
    /// None where its path would be too long.
    pub(super) local: Option<LocalServer>,
}

impl Ports {
    /// Opens all of them or says which one could not be opened.
    pub(super) async fn bind(config: &Config) -> Result<Self, DaemonError> {
        Ok(Self {
            dns_udp: bind_each(config, UdpServer::bind)?,
            dns_tcp: bind_each(config, TcpServer::bind)?,
            front: bind_front(config)?,
            admin: AdminServer::bind(config.admin_listen).await?,
            // After the ports: whoever holds those may hold this too.
            local: bind_local(&config.state_dir)?,
        })
    }
}

fn bind_front(config: &Config) -> Result<Front, FrontError> {
    let front = Front::bind(&config.http_ports)?;
    match config.shoutcast_port {
        Some(port) => front.with_shoutcast(port),
        None => Ok(front),
    }
}

/// Binds the socket for `radioctl dns`. A node whose folder's path is too long for it serves all the same.
fn bind_local(state_dir: &Path) -> Result<Option<LocalServer>, ApiError> {
    match LocalServer::bind(state_dir) {
        Err(error @ ApiError::LocalTooLong { .. }) => {
            warn!("{error}");
            Ok(None)
        }
        bound => bound.map(Some),
    }
}

/// Binds every DNS address. A host without IPv6 does without: its wildcard is a default, not a wish.
fn bind_each<T>(
    config: &Config,
    bind: impl Fn(std::net::SocketAddr) -> Result<T, DnsError>,
) -> Result<Vec<T>, DnsError> {
    let mut servers = Vec::new();
    for address in &config.dns_listen {
        match bind(*address) {
            Ok(server) => servers.push(server),
            Err(DnsError::Bind { source, .. })
                if address.ip().is_unspecified() && lacks_family(&source) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(servers)
}

fn lacks_family(error: &std::io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(nix::libc::EAFNOSUPPORT) || code == Some(nix::libc::EADDRNOTAVAIL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_serves_without_the_socket_for_which_its_folder_is_too_long() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(bind_local(dir.path()).expect("bound").is_some());
        let long = dir.path().join("x".repeat(100));
        std::fs::create_dir(&long).expect("a folder");
        assert!(bind_local(&long).expect("does without").is_none());
        assert!(bind_local(&dir.path().join("none")).is_err(), "another fault stops the start");
    }
}
