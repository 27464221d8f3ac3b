//! What this host is: its name, its addresses, its default route. The only file of `config` that looks at the system.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};

use super::RunArgs;

/// Descriptors that a daemon needs beside those of its clients.
const OWN_DESCRIPTORS: u64 = 128;

/// Facts that defaults are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Host name, as the kernel has it.
    pub hostname: String,
    /// Interface of the default route.
    pub default_interface: Option<String>,
    /// Every address of every interface, link-local ones left out.
    pub addresses: Vec<(String, IpAddr)>,
    /// `$DOMAIN`, as the original daemon read it from /etc/default/autoradio.
    pub domain_variable: Option<String>,
    /// Clients that this process may have descriptors for.
    pub clients_max: u32,
    /// Speeds of interfaces that tell one, in Mbit/s.
    pub speeds_mbits: Vec<(String, u64)>,
    /// Files that settings name, or that are looked for.
    pub files: Vec<(PathBuf, FileFact)>,
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFact {
    /// It is not there.
    Missing,
    /// We can read it.
    Readable,
    /// It is there, and we cannot.
    Unreadable(String),
}

impl FileFact {
    /// Looks at a file.
    pub fn of(path: &Path) -> Self {
        match fs::read(path) {
            Ok(_) => Self::Readable,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }
}

impl HostFacts {
    /// Reads the facts. What cannot be read is left empty: it only serves as default.
    pub fn read(args: &RunArgs) -> Self {
        let hostname = nix::unistd::gethostname().unwrap_or_default();
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let route_v4 = fs::read_to_string("/proc/net/route").unwrap_or_default();
        let route_v6 = fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
        Self {
            hostname: hostname.to_string_lossy().into_owned(),
            default_interface: default_route_v4(&route_v4).or_else(|| default_route_v6(&route_v6)),
            addresses: interfaces
                .into_iter()
                .filter(|interface| !is_link_local(interface.ip()))
                .map(|interface| (interface.name.clone(), interface.ip()))
                .collect(),
            domain_variable: std::env::var("DOMAIN").ok(),
            clients_max: clients_max(),
            speeds_mbits: speeds_mbits(),
            files: args.etcd_files().map(|(path, _)| (path.clone(), FileFact::of(&path))).into(),
        }
    }

    pub(super) fn file(&self, path: &Path) -> FileFact {
        let known = self.files.iter().find(|(known, _)| known == path);
        known.map_or(FileFact::Missing, |(_, fact)| fact.clone())
    }

    /// Speed of the interface, a gigabit where the system does not tell it, in Mbit/s.
    pub(super) fn speed_mbits(&self, interface: Option<&str>) -> u64 {
        let known = self.speeds_mbits.iter().find(|(name, _)| Some(name.as_str()) == interface);
        known.map_or(1_000, |(_, speed)| *speed)
    }
}

/// Descriptors that may be opened, once those that the daemon needs itself are put aside, and an eighth for second ones: a source is
/// a connection to its Icecast too, and so is a mount that somebody listens to.
fn clients_max() -> u32 {
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(_, hard)| hard);
    let clients = descriptors.saturating_sub(OWN_DESCRIPTORS) / 8 * 7;
    u32::try_from(clients).unwrap_or(u32::MAX).max(1)
}

/// Source: sysfs-class-net. Interfaces that are down or virtual give an error or -1.
fn speeds_mbits() -> Vec<(String, u64)> {
    let Ok(interfaces) = fs::read_dir("/sys/class/net") else { return Vec::new() };
    let speed = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path().join("speed")).ok()?;
        let speed = text.trim().parse().ok().filter(|speed| *speed > 0)?;
        Some((entry.file_name().into_string().ok()?, speed))
    };
    interfaces.flatten().filter_map(speed).collect()
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Interface of the default route with the least metric (proc(5), /proc/net/route).
fn default_route_v4(table: &str) -> Option<String> {
    let routes = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let default =
        routes.filter(|route| route.len() > 7 && route[1] == "00000000" && route[7] == "00000000");
    let best = default.min_by_key(|route| route[6].parse::<u32>().unwrap_or(u32::MAX))?;
    Some(best[0].to_owned())
}

/// The same for IPv6 (`/proc/net/ipv6_route`); `lo` holds the reject route.
fn default_route_v6(table: &str) -> Option<String> {
    let routes = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut default = routes.filter(|route| {
        route.len() > 9
            && route[0].bytes().all(|b| b == b'0')
            && route[1] == "00"
            && route[9] != "lo"
    });
    default.next().map(|route| route[9].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_with_the_least_metric_names_the_interface() {
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
            wlan0\t00000000\t0100A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
            eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            eth1\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(default_route_v4(table).as_deref(), Some("eth0"));
        assert_eq!(default_route_v4("Iface\n"), None);
    }

    #[test]
    fn the_ipv6_reject_route_on_lo_is_no_default() {
        let zeros = "0".repeat(32);
        let line = |interface: &str| {
            format!(
                "{zeros} 00 {zeros} 00 {zeros} 00000400 00000001 00000000 00000003 {interface}\n"
            )
        };
        assert_eq!(default_route_v6(&line("lo")), None);
        assert_eq!(default_route_v6(&(line("lo") + &line("eth0"))).as_deref(), Some("eth0"));
    }
}
