//! The work of the front: everything that holds a connection, to a client or to an Icecast.

// From the accepted connection to the decision.
mod door;
mod server;
mod sniff;
mod tcp;

// What is done for each kind of client.
mod listener;
mod listener_auth;
mod login;
mod metadata;
mod pages;
mod peers;
mod redirect;
mod shoutcast;
mod source;
mod title;
mod tunnel;

// Towards the masters, and towards this node's own Icecast.
mod binding;
mod desk;
mod evict;
mod icecast;
mod master;

pub(super) use listener_auth::Leave;
pub use listener_auth::ListenerGate;
pub use server::{Front, FrontSettings};
