//! Names and addresses of a lab's parts. Pure: everything follows from the lab's name and a number.
//!
//! A namespace is called `ar-<lab>-<host>`. Host names have no hyphen, so the lab's name can be read
//! back from a namespace's even when the lab's own record is lost.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::LabError;

/// Longest lab name, in bytes.
pub const LAB_NAME_BYTES_MAX: usize = 24;
/// Most nodes, and most clients, of one lab.
pub const HOSTS_MAX: usize = 1000;
/// Prefix length of the lab's IPv4 network, 198.18.0.0/15 (RFC 2544: for testing networks).
pub const V4_PREFIX_BITS: u8 = 15;
/// Prefix length of the lab's IPv6 network, a unique local one whose bytes read "radio".
pub const V6_PREFIX_BITS: u8 = 64;
/// The bridge's place among the host names.
pub const BRIDGE: &str = "bridge";

const PREFIX: &str = "ar-";
const FIRST_NUMBER: u16 = 10;

/// What a host is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs the daemon.
    Node,
    /// Runs sources and listeners.
    Client,
}

/// A lab name that no other living lab has: from this process's id and a counter.
pub fn unique(process_id: u32) -> String {
    static COUNTER: AtomicUsize = AtomicUsize::new(0);
    format!("t{process_id}-{}", COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Checks a name that a person chose.
pub fn check(lab: &str) -> Result<(), LabError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let valid = (1..=LAB_NAME_BYTES_MAX).contains(&lab.len())
        && lab.bytes().all(plain)
        && !lab.starts_with('-')
        && !lab.ends_with('-');
    if valid {
        Ok(())
    } else {
        let name = lab.to_owned();
        Err(LabError::Name { name })
    }
}

/// Name of host number `index` (from 1): `node1`, `client1`. It also names the host's interface on
/// the bridge, and is at most 10 bytes long; the kernel takes 15.
pub fn host(role: Role, index: usize) -> String {
    match role {
        Role::Node => format!("node{index}"),
        Role::Client => format!("client{index}"),
    }
}

/// Name of a host's namespace.
pub fn namespace(lab: &str, host: &str) -> String {
    format!("{PREFIX}{lab}-{host}")
}

/// The lab and host that a namespace belongs to; `None` if it is nothing of ours.
pub fn owner(namespace: &str) -> Option<(&str, &str)> {
    namespace.strip_prefix(PREFIX)?.rsplit_once('-')
}

/// IPv4 address of host number `index` (from 1): `node1` has 198.18.0.11, `client1` 198.19.0.11.
pub fn v4(role: Role, index: usize) -> Ipv4Addr {
    let base = match role {
        Role::Node => Ipv4Addr::new(198, 18, 0, 0),
        Role::Client => Ipv4Addr::new(198, 19, 0, 0),
    };
    Ipv4Addr::from_bits(base.to_bits() + u32::from(number(index)))
}

/// IPv6 address of host number `index` (from 1): `node1` has `fd72:6164:696f::1:b`.
pub fn v6(role: Role, index: usize) -> Ipv6Addr {
    let kind = match role {
        Role::Node => 1,
        Role::Client => 2,
    };
    Ipv6Addr::new(0xfd72, 0x6164, 0x696f, 0, 0, 0, kind, number(index))
}

fn number(index: usize) -> u16 {
    FIRST_NUMBER + u16::try_from(index.min(HOSTS_MAX)).unwrap_or(u16::MAX - FIRST_NUMBER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_names_differ_and_are_valid() {
        let (first, second) = (unique(u32::MAX), unique(u32::MAX));
        assert_ne!(first, second);
        check(&first).unwrap();
    }

    #[test]
    fn chosen_names_are_checked() {
        for (why, name, valid) in [
            ("default", "lab", true),
            ("inner hyphen", "a-b", true),
            ("empty", "", false),
            ("would leave the state folder", "../x", false),
            ("upper case", "Lab", false),
            ("leading hyphen", "-lab", false),
            ("too long", "aaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(check(name).is_ok(), valid, "{why}");
        }
    }

    #[test]
    fn a_namespace_tells_its_lab_and_host() {
        for lab in ["lab", "a-b", "t1-0"] {
            assert_eq!(owner(&namespace(lab, "node12")), Some((lab, "node12")));
        }
        assert_eq!(owner("cni-1234"), None);
    }

    #[test]
    fn interface_names_fit_the_kernel() {
        for role in [Role::Node, Role::Client] {
            assert!(host(role, HOSTS_MAX).len() <= 15);
        }
    }

    #[test]
    fn addresses_are_distinct_and_inside_the_test_networks() {
        assert_eq!(v4(Role::Node, 1).to_string(), "198.18.0.11");
        assert_eq!(v4(Role::Client, 1).to_string(), "198.19.0.11");
        assert_eq!(v4(Role::Node, HOSTS_MAX).to_string(), "198.18.3.242");
        assert_eq!(v6(Role::Node, 1).to_string(), "fd72:6164:696f::1:b");
        assert_ne!(v6(Role::Node, 1), v6(Role::Client, 1));
    }
}
