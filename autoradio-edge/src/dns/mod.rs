//! DNS: the compiled zone, the pure responder, and the servers on UDP and TCP.
//!
//! In: [`Placement`](crate::placement::Placement). Out: a [`Zone`] that the kernel's maps and the servers here answer
//! from. Only `socket/` touches the network. Never here: etcd, BPF maps.

mod clients;
mod compile;
mod limiter;
mod name;
pub mod options;
mod policy;
pub mod query;
pub mod record;
mod reply;
mod respond;
mod responder;
pub mod slots;
mod socket;
mod tally;
mod zone;

use std::net::SocketAddr;

pub use clients::TcpClients;
pub use compile::{TTL_DYNAMIC, TTL_STATIC, ZoneSettings, compile, same_zone};
pub use name::WireName;
pub use policy::{Asked, Policy, Select, Transport};
pub use record::rtype;
pub use reply::Replied;
pub use respond::{respond, udp_reply_bytes_max};
pub use responder::Responder;
pub use socket::{TcpServer, UdpServer};
pub use tally::{LIMITED_TOTAL, REPLIES_TOTAL};
pub use zone::{Answer, Lookup, NameSets, RecordSet, Zone, rcode};

/// What an operator can mend about DNS.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// A text that is no domain name.
    #[error("{name:?} is not a domain name: {reason}")]
    Name {
        /// What was given.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A port that cannot be opened.
    #[error(
        "cannot open {protocol} {address} for DNS: {source}; another name server may hold the port (see `ss -lpn sport = :{port}`), \
         or the daemon lacks CAP_NET_BIND_SERVICE; --dns-listen and --dns-port choose another",
        port = address.port()
    )]
    Bind {
        /// `udp` or `tcp`.
        protocol: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}
