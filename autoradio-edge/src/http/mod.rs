//! The front: what clients of the radio see on port 80.
//!
//! The head of every request is read here before anything else happens, because sources are no HTTP that a library
//! would carry (no length, no chunks, still a body). Sources, listeners and title updates are served from the sniffed
//! head; pages and playlists go to hyper with the bytes already read.
//!
//! In: connections, a [`Placement`](crate::placement::Placement). Out: tunnels to the masters' Icecasts, answers,
//! listeners for the hub, [`FrontStats`]. Never here: etcd, audio that is kept.

// The language: heads and bodies from bytes, answers to bytes. Pure.
mod dechunk;
mod error;
mod head;
mod proxy_protocol;
mod range;
mod reply;
mod shoutcast;

// The decisions: what is asked for, and by whom.
mod addresses;
mod auth;
mod bucket;
mod forwarded;
mod gate;
mod listener_auth;
mod playlist;
mod route;
mod source_meter;
mod stats;

// The work: the only room here that touches the network.
mod socket;

#[cfg(test)]
mod testing;

pub use dechunk::{Body, Dechunker};
pub use error::FrontError;
pub use forwarded::TrustedProxies;
pub use gate::{Refusal, SourceClaim, SourceGate};
pub use head::{HttpVersion, RequestHead};
pub use listener_auth::allows_listener;
pub use playlist::PlaylistKind;
pub use proxy_protocol::ProxyHeader;
pub use range::StreamRange;
pub use route::{MetadataUpdate, Route, landing, route};
pub use shoutcast::{Login, login_head};
pub use socket::{Front, FrontSettings, ListenerGate};
pub use stats::{FrontStats, FrontView, MountView};
