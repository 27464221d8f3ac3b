//! DNS: the compiled zone, the pure responder, and the servers on UDP and TCP.
//!
//! In: [`Placement`](crate::placement::Placement). Out: a [`Zone`] that the kernel's maps and the servers here answer
//! from. Only `socket/` touches the network. Never here: etcd, BPF maps.

mod compile;
mod name;
pub mod options;
mod policy;
pub mod query;
pub mod record;
mod reply;
mod respond;
pub mod slots;
mod socket;
mod zone;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

pub use compile::{TTL_DYNAMIC, TTL_STATIC, ZoneSettings, compile, same_zone};
pub use name::WireName;
pub use policy::{Asked, Policy, Select, Transport};
pub use record::rtype;
pub use reply::Replied;
pub use respond::{respond, udp_reply_bytes_max};
pub use socket::{TcpServer, UdpServer};
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

/// What the servers answer with: a zone and a policy, each swapped whole when it changes.
#[derive(Debug)]
pub struct Responder {
    zone: ArcSwap<Zone>,
    policy: ArcSwap<Policy>,
    replies: AtomicU64,
}

impl Responder {
    /// A responder that answers from `zone` as `policy` says.
    pub fn new(zone: Arc<Zone>, policy: Policy) -> Arc<Self> {
        let (zone, policy) = (ArcSwap::new(zone), ArcSwap::from_pointee(policy));
        Arc::new(Self { zone, policy, replies: AtomicU64::new(0) })
    }

    /// Puts a new zone in force for every message from now on.
    pub fn publish(&self, zone: Arc<Zone>) {
        self.zone.store(zone);
    }

    /// Puts a new policy in force for every message from now on.
    pub fn set_policy(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
    }

    /// Replies given since the start.
    pub fn replies(&self) -> u64 {
        self.replies.load(Ordering::Relaxed)
    }

    fn answer(
        &self,
        message: &[u8],
        client: IpAddr,
        unix_s: u64,
        via: Transport,
    ) -> Option<Vec<u8>> {
        let (policy, mut out) = (self.policy.load(), Vec::new());
        let (draw, unix_s) = (rand::random(), unix_s as u32);
        let asked = Asked { policy: &policy, client, draw, unix_s, via };
        let replied = respond(message, &self.zone.load(), &asked, &mut out)?;
        self.replies.fetch_add(1, Ordering::Relaxed);
        count_reply(&replied, via);
        Some(out)
    }
}

/// The metric that counts replies of userspace.
pub const REPLIES_TOTAL: &str = "autoradio_dns_replies_total";

fn count_reply(reply: &Replied, via: Transport) {
    let transport = match via {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
    };
    let rcode = match reply.rcode {
        rcode::NO_ERROR => "NoError",
        rcode::FORM_ERR => "FormErr",
        rcode::NX_DOMAIN => "NXDomain",
        rcode::NOT_IMP => "NotImp",
        rcode::REFUSED => "Refused",
        rcode::BAD_COOKIE => "BadCookie",
        _ => "BadVers",
    };
    metrics::counter!(REPLIES_TOTAL, "rcode" => rcode, "transport" => transport).increment(1);
}
