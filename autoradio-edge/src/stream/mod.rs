//! The hub: one upstream connection per mount and node becomes the audio of all who listen to it here.
//!
//! In: bytes from Icecasts, as they come. Out: whole frames, where among them a listener may join, and what every listener of
//! an Ogg stream gets first; titles. Never here: etcd, passwords, the decision who listens where.

// The language: frames and titles from bytes. Pure.
mod frames;
mod icy;

// What there is to hear, and who is where in it. Pure.
mod cursor;
mod feed;
mod head;
mod ring;

// How it goes on when a source, a master or a node is lost. Pure.
mod continuity;
mod error;
mod terms;

// Who listens to what, and the work: connections, sockets, threads.
mod channel;
mod hub;
mod socket;

pub use channel::{Ended, Guest, ListenerView};
pub use error::StreamError;
pub use head::StreamHead;
pub use hub::{Hub, HubSettings};
pub use socket::{Seat, Tuned};

pub use frames::{Codec, Framed, Framer};
pub use icy::{METAINT, Stripper, Title, block};
