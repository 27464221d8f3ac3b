//! Settings: what was typed ([`RunArgs`]) and what the host is ([`HostFacts`]) become what it means ([`Config`]).
//!
//! Pure but for `host.rs`. All mistakes are found before a port is opened, and reported together.

mod args;
mod check;
mod choose_etcd;
mod host;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use args::RunArgs;
pub use choose_etcd::EtcdChoice;
pub use host::{FileFact, HostFacts};

use autoradio_common::rate::RateLimit;
use check::Checker;

use crate::cluster::{Capacity, NodeName, TlsFiles};
use crate::dataplane::XdpChoice;
use crate::dns::ZoneSettings;
use crate::http::TrustedProxies;

/// The only port that the kernel program answers on.
const DNS_PORT: u16 = autoradio_common::wire::PORT;
/// Most addresses in one answer: sixteen AAAA records fit 512 bytes.
const DNS_ANSWERS_MAX: usize = 16;

/// One mistake in the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A setting that has no default.
    #[error("{flag} is missing: {remedy}")]
    Missing {
        /// The flag.
        flag: &'static str,
        /// What to give.
        remedy: &'static str,
    },
    /// A value that cannot be used.
    #[error("{flag} {value:?}: {reason}")]
    Invalid {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// Two services on one port.
    #[error("port {port} is given to both {first} and {second}: they need different ports")]
    PortTwice {
        /// The port.
        port: u16,
        /// One flag.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which of a dynamic name's answers a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsSelect {
    /// Any, by weight.
    Random,
    /// The same for all clients of one network, as long as weights allow.
    Sticky,
}

/// Checked settings of one node.
#[derive(Clone, Debug)]
pub struct Config {
    /// The zone, lower case, without a trailing dot.
    pub domain: String,
    /// This node.
    pub name: NodeName,
    /// Interface for XDP, if one is known.
    pub interface: Option<String>,
    /// Addresses that clients reach this node at, at least one.
    pub addresses: Vec<IpAddr>,
    /// Address that peers, and this node itself, reach this node at.
    pub peer_address: IpAddr,
    /// Address that etcd takes its peers' connections at: the same if it is this host's own, else all.
    pub etcd_listen: IpAddr,
    /// Addresses that the kernel answers on, as they stand in packets; none where DNS is not on port 53.
    pub kernel_addresses: Vec<IpAddr>,
    /// Where the kernel program runs.
    pub xdp: XdpChoice,
    /// Sockets of DNS, UDP and TCP each.
    pub dns_listen: Vec<SocketAddr>,
    /// What the zone looks like.
    pub zone: ZoneSettings,
    /// Which answers clients get.
    pub dns_select: DnsSelect,
    /// How fast one network of clients is answered.
    pub dns_rate: RateLimit,
    /// Folder on a BPF file system in which the kernel program is pinned, in a folder of this node's.
    pub bpf_dir: PathBuf,
    /// Ports of the front, at least one; the first is in URLs.
    pub http_ports: Vec<u16>,
    /// Port for SHOUTcast sources, if they may come.
    pub shoutcast_port: Option<u16>,
    /// Proxies that may say whose connection theirs is.
    pub trusted_proxies: TrustedProxies,
    /// Port of Icecast.
    pub icecast_port: u16,
    /// Socket of health, metrics and status.
    pub admin_listen: SocketAddr,
    /// Where state is kept.
    pub state_dir: PathBuf,
    /// Where this node's etcd is.
    pub etcd: EtcdChoice,
    /// Certificates for etcd.
    pub etcd_tls: Option<TlsFiles>,
    /// Port of etcd for clients.
    pub etcd_client_port: u16,
    /// Port of etcd for peers.
    pub etcd_peer_port: u16,
    /// Time to live of the node's lease, in seconds.
    pub lease_ttl_s: u16,
    /// Least time between two reports of this node's load.
    pub heartbeat: Duration,
    /// Connections that the process has descriptors for.
    pub clients_max: u32,
    /// Connections that one address may have, 0: any number.
    pub connections_per_address: u32,
    /// What this node carries before it counts as full.
    pub capacity: Capacity,
    /// What it can carry at most, its reserve included.
    pub capacity_whole: Capacity,
    /// Longest wait for listeners to leave when the node stops.
    pub drain_timeout: Duration,
    /// Whether listeners are served by the front.
    pub icecast_proxy: bool,
    /// Form of the log.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_filter: String,
}

impl Config {
    /// Checks everything. The error holds every mistake, in the order of `--help`.
    pub fn from_args(args: &RunArgs, host: &HostFacts) -> Result<Self, Vec<ConfigError>> {
        let mut checker = Checker { errors: Vec::new() };
        let domain = checker.domain(args, host);
        let interface = args.interface.clone().or_else(|| host.default_interface.clone());
        let xdp = checker.xdp(&args.xdp, interface.as_deref());
        let answers_max = checker.within("--dns-answers", &args.dns_answers, 1, DNS_ANSWERS_MAX);
        let addresses = checker.addresses(args, host, interface.as_deref());
        let dns_listen = checker.dns_listen(args);
        let kernel_addresses =
            kernel_addresses(&addresses, &dns_listen, host, interface.as_deref());
        let etcd_client_port = checker.port("--etcd-client-port", &args.etcd_client_port);
        let etcd_tls = checker.etcd_tls(args, host);
        let peer_address = checker
            .peer_address(args)
            .unwrap_or_else(|| default_peer_address(&addresses, host, interface.as_deref()));
        let icecast_proxy = checker.switch("--enable-icecast-proxy", &args.enable_icecast_proxy);
        let (capacity, capacity_whole) =
            checker.capacity(args, host, interface.as_deref(), icecast_proxy);
        let config = Self {
            zone: checker.zone(&domain, answers_max, &args.nameservers),
            domain,
            name: checker.name(args, host),
            peer_address,
            etcd_listen: listen_address(peer_address, host),
            addresses,
            kernel_addresses,
            xdp,
            dns_listen,
            dns_select: checker.dns_select(&args.dns_select),
            dns_rate: checker.dns_rate(args),
            bpf_dir: checker.bpf_dir(&args.bpf_dir),
            http_ports: checker.ports("--http-port", &args.http_port),
            shoutcast_port: (args.shoutcast_port.as_ref())
                .map(|port| checker.port("--shoutcast-port", port)),
            trusted_proxies: checker.networks("--trusted-proxy", &args.trusted_proxy),
            icecast_port: checker.port("--icecast-port", &args.icecast_port),
            admin_listen: checker.admin(&args.admin_listen),
            state_dir: checker.state_dir(&args.state_dir),
            etcd: checker.etcd(args, etcd_tls.is_some(), etcd_client_port),
            etcd_tls,
            etcd_client_port,
            etcd_peer_port: checker.port("--etcd-peer-port", &args.etcd_peer_port),
            lease_ttl_s: checker.within("--master-election-ttl", &args.master_election_ttl, 2, 60),
            heartbeat: checker.seconds("--heartbeat", &args.heartbeat, 1, 60),
            clients_max: host.clients_max,
            connections_per_address: checker.within(
                "--connections-per-address",
                &args.connections_per_address,
                0,
                u32::MAX,
            ),
            capacity,
            capacity_whole,
            drain_timeout: checker.seconds("--drain-timeout", &args.drain_timeout, 0, 3_600),
            icecast_proxy,
            log_format: checker.log_format(&args.log_format),
            interface,
            log_filter: checker.log_filter(&args.log),
        };
        checker.ports_differ(&config);
        checker.kernel_answers(xdp, &config);
        if checker.errors.is_empty() { Ok(config) } else { Err(checker.errors) }
    }

    /// Files of etcd's certificates as an operator's command may name them, or where they are looked for; none if there
    /// are none. The error is a sentence that names the file.
    pub fn etcd_certificates(named: [Option<&String>; 3]) -> Result<Option<TlsFiles>, String> {
        let files = choose_etcd::files(named);
        choose_etcd::certificates(files.clone(), |path| FileFact::of(path))
            .map_err(|(index, reason)| format!("{}: {reason}", files[index].0.display()))
    }

    /// The front's port in URLs: 80 if it is open, else the first.
    pub fn public_port(&self) -> u16 {
        if self.http_ports.contains(&80) { 80 } else { self.http_ports[0] }
    }
}

/// What the kernel may answer on: this node's public addresses and, since a NAT replaces those, the interface's own.
/// An explicit `--dns-listen` holds for the kernel too.
fn kernel_addresses(
    public: &[IpAddr],
    dns_listen: &[SocketAddr],
    host: &HostFacts,
    interface: Option<&str>,
) -> Vec<IpAddr> {
    let of_interface = host.addresses.iter().filter(|(name, _)| Some(name.as_str()) == interface);
    // The public ones first: there is room for a few only.
    let mut addresses = public.to_vec();
    addresses.extend(of_interface.map(|(_, address)| *address).filter(|it| !public.contains(it)));
    let listens = |socket: &SocketAddr, address: &IpAddr| {
        let everywhere = socket.ip().is_unspecified() && socket.is_ipv4() == address.is_ipv4();
        socket.port() == DNS_PORT && (everywhere || socket.ip() == *address)
    };
    addresses.retain(|address| dns_listen.iter().any(|socket| listens(socket, address)));
    addresses
}

/// The first public address that is this host's own; behind a NAT, where none is, the interface's first.
fn default_peer_address(addresses: &[IpAddr], host: &HostFacts, interface: Option<&str>) -> IpAddr {
    let is_own = |address: &&IpAddr| host.addresses.iter().any(|(_, own)| own == *address);
    let own = addresses.iter().find(is_own).copied();
    let of_interface = || host.addresses.iter().find(|(name, _)| Some(name.as_str()) == interface);
    let fallback = addresses.first().copied().unwrap_or(IpAddr::from([127, 0, 0, 1]));
    own.or_else(|| of_interface().map(|(_, address)| *address)).unwrap_or(fallback)
}

/// An address that is not this host's own cannot be listened on: what is sent to it arrives at another one.
fn listen_address(peer_address: IpAddr, host: &HostFacts) -> IpAddr {
    let own = host.addresses.iter().any(|(_, own)| *own == peer_address);
    match peer_address {
        _ if own || peer_address.is_loopback() => peer_address,
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests;
