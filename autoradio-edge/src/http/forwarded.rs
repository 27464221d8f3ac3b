//! Whose request it is when it came through proxies. Pure.
//!
//! Only proxies in networks that the operator named are believed. Everybody else is whom its connection comes from, whatever it says.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::RequestHead;

/// Networks whose proxies are believed. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl FromIterator<IpNet> for TrustedProxies {
    fn from_iter<T: IntoIterator<Item = IpNet>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl TrustedProxies {
    /// Whether the address is that of a proxy which is believed.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whose request this is, that came from `peer`: the rightmost hop of `X-Forwarded-For` that is not believed itself.
    ///
    /// Each proxy appends whom it was asked by, so what stands left of that hop is what a stranger says. A hop that is no address ends
    /// the search at the proxy that wrote it.
    pub fn client(&self, head: &RequestHead, peer: IpAddr) -> IpAddr {
        let mut client = peer.to_canonical();
        let fields: Vec<&str> = head
            .fields()
            .filter(|(name, _)| name.eq_ignore_ascii_case("X-Forwarded-For"))
            .map(|(_, value)| std::str::from_utf8(value).unwrap_or_default())
            .collect();
        for hop in fields.iter().rev().flat_map(|field| field.rsplit(',')) {
            if !self.contains(client) {
                break;
            }
            match address_of(hop.trim()) {
                Some(address) => client = address.to_canonical(),
                None => break,
            }
        }
        client
    }
}

/// An address with or without a port: `192.0.2.7`, `192.0.2.7:1234`, `2001:db8::7`, `[2001:db8::7]`, `[2001:db8::7]:1234`.
fn address_of(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::super::testing::head_of;
    use super::*;

    #[test]
    fn only_what_a_trusted_proxy_has_appended_counts() {
        let networks =
            ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network"));
        let proxies: TrustedProxies = networks.into_iter().collect();
        for (why, peer, fields, want) in [
            ("a stranger is whom it comes from", "192.0.2.9", &["203.0.113.7"][..], "192.0.2.9"),
            ("a proxy's client", "10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("a proxy on a dual socket", "::ffff:10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("what the client made up", "10.0.0.1", &["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
            (
                "made up, in a field of its own",
                "10.0.0.1",
                &["1.1.1.1", "203.0.113.7"],
                "203.0.113.7",
            ),
            ("two proxies", "10.0.0.1", &["203.0.113.7, fd00::5"], "203.0.113.7"),
            ("two proxies in two fields", "10.0.0.1", &["203.0.113.7", "10.2.0.1"], "203.0.113.7"),
            ("only proxies", "10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3"),
            ("no field", "10.0.0.1", &[], "10.0.0.1"),
            ("no address", "10.0.0.1", &["203.0.113.7, unknown"], "10.0.0.1"),
            ("empty", "10.0.0.1", &[""], "10.0.0.1"),
            ("with a port", "10.0.0.1", &["203.0.113.7:81"], "203.0.113.7"),
            ("IPv6 with a port", "fd00::1", &["[2001:db8::7]:81"], "2001:db8::7"),
            ("IPv6 in brackets", "fd00::1", &["[2001:db8::7]"], "2001:db8::7"),
        ] {
            let mut text = "GET / HTTP/1.1\r\n".to_owned();
            for value in fields {
                text.extend(["x-forwarded-for: ", value, "\r\n"]);
            }
            let head = head_of(&format!("{text}\r\n"));
            let client = proxies.client(&head, peer.parse().expect("an address"));
            assert_eq!(client, want.parse::<IpAddr>().expect("an address"), "{why}");
        }
    }
}
