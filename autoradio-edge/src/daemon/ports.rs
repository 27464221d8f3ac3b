//! Everything a node listens on, opened before anything is started.

use crate::api::{AdminServer, LocalServer};
use crate::config::Config;
use crate::dns::{DnsError, TcpServer, UdpServer};
use crate::http::Front;

use super::DaemonError;

/// The node's open sockets.
pub(super) struct Ports {
    pub(super) dns_udp: Vec<UdpServer>,
    pub(super) dns_tcp: Vec<TcpServer>,
    pub(super) front: Front,
    pub(super) admin: AdminServer,
    pub(super) local: LocalServer,
}

impl Ports {
    /// Opens all of them or says which one could not be opened.
    pub(super) async fn bind(config: &Config) -> Result<Self, DaemonError> {
        Ok(Self {
            dns_udp: bind_each(config, UdpServer::bind)?,
            dns_tcp: bind_each(config, TcpServer::bind)?,
            front: Front::bind(&config.http_ports)?,
            admin: AdminServer::bind(config.admin_listen).await?,
            // After the ports: whoever holds those may hold this too.
            local: LocalServer::bind(&config.state_dir)?,
        })
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
