//! Checks the settings one by one and collects every mistake.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use autoradio_common::limits::HTTP_CONNECTIONS_MAX;
use autoradio_common::rate::RateLimit;
use ipnet::IpNet;

use super::{Config, ConfigError, DnsSelect, HostFacts, LogFormat, RunArgs};
use crate::cluster::{Capacity, NodeName};
use crate::dataplane::XdpChoice;
use crate::dns::{WireName, ZoneSettings};
use crate::http::TrustedProxies;

/// Longest zone name on the wire, in bytes: the longest name below it, `<63>.source.<zone>`, stays within 255.
const DOMAIN_BYTES_MAX: usize = 255 - 64 - 7;

/// Largest bandwidth that can be given, in Mbit/s: ten Tbit/s.
const BWLIMIT_MBITS_MAX: u64 = 10_000_000;

/// Most answers a second that a client network can be limited to: more than one machine gives.
const DNS_RRL_MAX: u32 = 1_000_000;
/// Rarest truncated answer of those over the limit. A real client waits for it through so many time-outs.
const DNS_RRL_SLIP_MAX: u32 = 10;

/// Places of the front that listeners leave to sources, players' other requests, and peers; of few places, an eighth.
const PLACES_SPARED_MAX: u32 = 256;

/// Collects mistakes; each method gives a value that only counts when there was none.
pub(super) struct Checker {
    pub(super) errors: Vec<ConfigError>,
}

impl Checker {
    pub(super) fn invalid(&mut self, flag: &'static str, value: &str, reason: impl Display) {
        let (value, reason) = (value.to_owned(), reason.to_string());
        self.errors.push(ConfigError::Invalid { flag, value, reason });
    }

    pub(super) fn domain(&mut self, args: &RunArgs, host: &HostFacts) -> String {
        let Some(text) = args.domain.as_ref().or(host.domain_variable.as_ref()) else {
            let remedy = "name the zone this cluster answers for, like radio.example.com";
            self.errors.push(ConfigError::Missing { flag: "--domain", remedy });
            return String::new();
        };
        let domain = text.trim_end_matches('.').to_ascii_lowercase();
        match WireName::parse(&domain) {
            Err(error) => self.invalid("--domain", text, error),
            Ok(name) if name.as_bytes().len() > DOMAIN_BYTES_MAX || domain.is_empty() => {
                let most = DOMAIN_BYTES_MAX - 2;
                self.invalid("--domain", text, format!("a zone's name has 1 to {most} characters"));
            }
            Ok(_) => {}
        }
        domain
    }

    pub(super) fn zone(
        &mut self,
        domain: &str,
        answers_max: usize,
        servers: &[String],
    ) -> ZoneSettings {
        for server in servers {
            if let Err(error) = WireName::parse(server) {
                self.invalid("--nameservers", server, error);
            }
        }
        let servers: Vec<_> =
            servers.iter().filter(|s| WireName::parse(s).is_ok()).cloned().collect();
        let domain = if WireName::parse(domain).is_ok() { domain } else { "invalid" };
        ZoneSettings::new(domain, answers_max, &servers).expect("every name was checked above")
    }

    pub(super) fn name(&mut self, args: &RunArgs, host: &HostFacts) -> NodeName {
        let label = host.hostname.split('.').next().unwrap_or_default().to_ascii_lowercase();
        let text = args.name.clone().unwrap_or(label);
        text.parse().unwrap_or_else(|error| {
            self.invalid("--name", &text, error);
            "invalid".parse().expect("a valid name")
        })
    }

    pub(super) fn xdp(&mut self, text: &str, interface: Option<&str>) -> XdpChoice {
        let choice = <XdpChoice as clap::ValueEnum>::from_str(text, true).unwrap_or_else(|_| {
            self.invalid("--xdp", text, "must be one of auto, native, generic, off");
            XdpChoice::Off
        });
        if interface.is_none() && matches!(choice, XdpChoice::Native | XdpChoice::Generic) {
            let remedy = "this host has no default route to tell it from, and --xdp asks for one";
            self.errors.push(ConfigError::Missing { flag: "--interface", remedy });
        }
        choice
    }

    /// A kernel program that was asked for by name must have something to answer.
    pub(super) fn kernel_answers(&mut self, xdp: XdpChoice, config: &Config) {
        let asked_for = matches!(xdp, XdpChoice::Native | XdpChoice::Generic);
        let known = !config.addresses.is_empty() && !config.dns_listen.is_empty();
        if asked_for && known && config.kernel_addresses.is_empty() {
            let reason = "the kernel answers on port 53 only, on this node's addresses that --dns-listen \
                includes, and none is left; change --dns-port or --dns-listen, or choose --xdp off";
            self.invalid("--xdp", &xdp_name(xdp), reason);
        }
    }

    pub(super) fn state_dir(&mut self, text: &str) -> PathBuf {
        // Children run in folders of their own, where a relative path would lead elsewhere.
        std::path::absolute(text).unwrap_or_else(|_| {
            self.invalid("--state-dir", text, "must be a folder, like /var/lib/autoradio");
            PathBuf::new()
        })
    }

    pub(super) fn addresses(
        &mut self,
        args: &RunArgs,
        host: &HostFacts,
        interface: Option<&str>,
    ) -> Vec<IpAddr> {
        if args.address.is_empty() {
            let own = host.addresses.iter().filter(|(name, _)| Some(name.as_str()) == interface);
            let own: Vec<IpAddr> = own.map(|(_, address)| *address).collect();
            // A missing interface is reported by its own name when the daemon starts.
            if own.is_empty() && args.interface.is_none() {
                let remedy =
                    "the interface of the default route has none; name this node's public address";
                self.errors.push(ConfigError::Missing { flag: "--address", remedy });
            }
            return own;
        }
        args.address.iter().filter_map(|text| self.host_address("--address", text)).collect()
    }

    pub(super) fn peer_address(&mut self, args: &RunArgs) -> Option<IpAddr> {
        self.host_address("--peer-address", args.peer_address.as_ref()?)
    }

    fn host_address(&mut self, flag: &'static str, text: &str) -> Option<IpAddr> {
        let address = self.ip(flag, text)?;
        if address.is_unspecified() || address.is_multicast() {
            self.invalid(flag, text, "this is no host's address");
        }
        Some(address)
    }

    fn ip(&mut self, flag: &'static str, text: &str) -> Option<IpAddr> {
        let parsed = text.parse();
        if parsed.is_err() {
            self.invalid(flag, text, "must be an IPv4 or IPv6 address, like 192.0.2.1");
        }
        parsed.ok()
    }

    pub(super) fn dns_listen(&mut self, args: &RunArgs) -> Vec<SocketAddr> {
        let port = self.port("--dns-port", &args.dns_port);
        let everywhere = [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)];
        let mut addresses: Vec<IpAddr> = Vec::new();
        for text in &args.dns_listen {
            addresses.extend(self.ip("--dns-listen", text));
        }
        if args.dns_listen.is_empty() {
            addresses = everywhere.into();
        }
        addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect()
    }

    pub(super) fn dns_select(&mut self, text: &str) -> DnsSelect {
        match text {
            "random" => DnsSelect::Random,
            "sticky" => DnsSelect::Sticky,
            _ => {
                self.invalid("--dns-select", text, "must be random or sticky");
                DnsSelect::Random
            }
        }
    }

    pub(super) fn dns_rate(&mut self, args: &RunArgs) -> RateLimit {
        let slip = self.within("--dns-rrl-slip", &args.dns_rrl_slip, 0, DNS_RRL_SLIP_MAX);
        let text = args.dns_rrl.trim();
        let answers = match text.parse() {
            _ if text == "off" => 0,
            Ok(answers) if (1..=DNS_RRL_MAX).contains(&answers) => answers,
            _ => {
                let reason = format!(
                    "must be a whole number of answers a second from 1 to {DNS_RRL_MAX}, or off"
                );
                self.invalid("--dns-rrl", &args.dns_rrl, reason);
                0
            }
        };
        RateLimit::per_second(answers, slip)
    }

    pub(super) fn bpf_dir(&mut self, text: &str) -> PathBuf {
        let path = PathBuf::from(text);
        if !path.is_absolute() {
            let reason = "must be a whole path on a BPF file system, like /sys/fs/bpf/autoradio";
            self.invalid("--bpf-dir", text, reason);
        }
        path
    }

    pub(super) fn port(&mut self, flag: &'static str, text: &str) -> u16 {
        self.within(flag, text, 1, u16::MAX)
    }

    pub(super) fn ports(&mut self, flag: &'static str, texts: &[String]) -> Vec<u16> {
        let ports: Vec<u16> = texts.iter().map(|text| self.port(flag, text)).collect();
        if ports.is_empty() {
            self.errors.push(ConfigError::Missing { flag, remedy: "give at least one port" });
        }
        ports
    }

    pub(super) fn networks(&mut self, flag: &'static str, texts: &[String]) -> TrustedProxies {
        let mut network = |text: &String| {
            let text = text.trim();
            let parsed = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            if parsed.is_err() {
                self.invalid(
                    flag,
                    text,
                    "must be a network or an address, like 10.0.0.0/8 or 2001:db8::1",
                );
            }
            parsed.ok()
        };
        texts.iter().filter_map(&mut network).collect()
    }

    pub(super) fn within<T>(&mut self, flag: &'static str, text: &str, least: T, most: T) -> T
    where
        T: FromStr + PartialOrd + Copy + Display,
    {
        match text.trim().parse::<T>() {
            Ok(value) if (least..=most).contains(&value) => value,
            _ => {
                self.invalid(flag, text, format!("must be a whole number from {least} to {most}"));
                least
            }
        }
    }

    pub(super) fn seconds(
        &mut self,
        flag: &'static str,
        text: &str,
        least: u64,
        most: u64,
    ) -> Duration {
        Duration::from_secs(self.within(flag, text, least, most))
    }

    pub(super) fn switch(&mut self, flag: &'static str, text: &str) -> bool {
        text.parse().unwrap_or_else(|_| {
            self.invalid(flag, text, "must be true or false");
            true
        })
    }

    /// What the node may carry before it counts as full, and all that it can: what was given, or else what the host has,
    /// without and with the reserve.
    pub(super) fn capacity(
        &mut self,
        args: &RunArgs,
        host: &HostFacts,
        interface: Option<&str>,
        icecast_proxy: bool,
    ) -> (Capacity, Capacity) {
        let full_at = self.within("--full-at", &args.full_at, 1, 100_u64);
        let listeners_max = listeners_max(host.clients_max, icecast_proxy);
        let listeners = match &args.max_clients {
            Some(text) => self.within("--max-clients", text, 1, u32::MAX).min(listeners_max),
            None => listeners_max,
        };
        let megabits = match &args.bwlimit {
            Some(text) => self.within("--bwlimit", text, 1, BWLIMIT_MBITS_MAX),
            None => host.speed_mbits(interface),
        };
        let share = |percent: u64| {
            let part = |whole: u64| (whole * percent / 100).max(1);
            Capacity {
                listeners: u32::try_from(part(listeners.into())).unwrap_or(u32::MAX),
                bits_per_second: part(megabits * 1_000_000),
            }
        };
        (share(full_at), share(100))
    }

    pub(super) fn admin(&mut self, text: &str) -> SocketAddr {
        text.parse().unwrap_or_else(|_| {
            self.invalid(
                "--admin-listen",
                text,
                "must be an address and a port, like 127.0.0.1:8080",
            );
            SocketAddr::from((Ipv4Addr::LOCALHOST, 1))
        })
    }

    pub(super) fn log_format(&mut self, text: &str) -> LogFormat {
        match text {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => {
                self.invalid("--log-format", text, "must be text or json");
                LogFormat::Text
            }
        }
    }

    pub(super) fn log_filter(&mut self, text: &str) -> String {
        if let Err(error) = text.parse::<tracing_subscriber::EnvFilter>() {
            self.invalid("--log", text, error);
        }
        text.to_owned()
    }

    pub(super) fn ports_differ(&mut self, config: &Config) {
        let dns = config.dns_listen.first().map(|address| ("--dns-port", address.port()));
        let mut ports: Vec<(&'static str, u16)> = dns.into_iter().collect();
        ports.extend(config.http_ports.iter().map(|port| ("--http-port", *port)));
        ports.extend(config.shoutcast_port.map(|port| ("--shoutcast-port", port)));
        ports.push(("--icecast-port", config.icecast_port));
        ports.push(("--admin-listen", config.admin_listen.port()));
        ports.push(("--etcd-client-port", config.etcd_client_port));
        ports.push(("--etcd-peer-port", config.etcd_peer_port));
        // A port that was wrong already stands in as 1; one mistake is one message.
        for (index, (first, port)) in ports.iter().enumerate().filter(|(_, (_, port))| *port != 1) {
            if let Some((second, _)) = ports[index + 1..].iter().find(|other| other.1 == *port) {
                self.errors.push(ConfigError::PortTwice { port: *port, first, second });
            }
        }
    }
}

fn xdp_name(choice: XdpChoice) -> String {
    let value = <XdpChoice as clap::ValueEnum>::to_possible_value(&choice);
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Listeners that a host can serve whose descriptors are enough for `clients_max` of them. Where the front carries them, they
/// cannot be more than its places, and must not take all: a node that claims more never redirects, and refuses sources.
fn listeners_max(clients_max: u32, icecast_proxy: bool) -> u32 {
    if !icecast_proxy {
        return clients_max;
    }
    let places = clients_max.min(u32::try_from(HTTP_CONNECTIONS_MAX).unwrap_or(u32::MAX));
    (places - PLACES_SPARED_MAX.min(places / 8)).max(1)
}
