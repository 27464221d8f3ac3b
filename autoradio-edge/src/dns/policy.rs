//! What the operator and the cluster decide about replies, and what is known about one query besides its bytes.

use std::net::IpAddr;

use autoradio_common::cookie::{CookieClient, CookieKeys};
use autoradio_common::prefix;
use autoradio_common::rate::RateLimit;

/// How the variant of a dynamic name is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Select {
    /// By chance, for every query anew.
    #[default]
    Random,
    /// By the client's prefix: whoever asks again gets the same answer while the weights stay as they are.
    Sticky,
}

/// What holds for every reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Name of this server, told to clients that ask for it (NSID), at most 63 bytes.
    pub node: String,
    /// How variants are drawn.
    pub select: Select,
    /// Secrets of the cookies; none: the option is ignored.
    pub cookies: CookieKeys,
    /// How fast one client prefix is answered over UDP; none: without limit.
    pub rate: RateLimit,
}

impl Policy {
    /// Random draws, no cookies, no limit.
    pub fn named(node: String) -> Self {
        Self { node, ..Self::default() }
    }
}

/// How the message came, which says how large the reply may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram each way.
    Udp,
    /// A stream: no limit but the length field's.
    Tcp,
}

/// Who asked, when, and by which rules the reply is made.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The rules.
    pub policy: &'a Policy,
    /// The client's address.
    pub client: IpAddr,
    /// A random byte: the slot, unless draws are sticky.
    pub draw: u8,
    /// Unix time in seconds, modulo 2³² (RFC 9018 §4.3), for cookies.
    pub unix_s: u32,
    /// How it came.
    pub via: Transport,
}

impl Asked<'_> {
    /// The slot that the reply is taken from.
    pub(super) fn slot(&self) -> u8 {
        match self.policy.select {
            Select::Random => self.draw,
            Select::Sticky => prefix::sticky_draw(client_prefix(self.client)),
        }
    }
}

/// The network that a client counts as.
pub(super) fn client_prefix(client: IpAddr) -> u64 {
    match client {
        IpAddr::V4(address) => prefix::of_v4(address.octets()),
        IpAddr::V6(address) => {
            let high = (address.to_bits() >> 64) as u64;
            prefix::of_v6(high.to_be_bytes())
        }
    }
}

/// The client as the cookies' hash takes it.
pub(super) fn cookie_client(client: IpAddr) -> CookieClient {
    match client {
        IpAddr::V4(address) => CookieClient::V4(u32::from_le_bytes(address.octets())),
        IpAddr::V6(address) => {
            let whole = u128::from_le_bytes(address.octets());
            CookieClient::V6([whole as u64, (whole >> 64) as u64])
        }
    }
}
