//! Clusters of real autoradio nodes on one Linux machine.
//!
//! Each host is a network namespace with one interface `eth0`; a bridge in a namespace of its own
//! joins them, so that several labs with the same addresses live side by side and nothing of a lab
//! is ever seen in the machine's own network. The daemon, etcd, Icecast and every client program
//! are the real ones.
//!
//! [`Lab::builder`] makes a lab, dropping it removes everything; [`Lab::keep`] leaves it for
//! [`Lab::open`] and [`persist::down`] in another process.

mod bpffs;
mod clock;
mod etcd;
mod teardown;

// What a lab is made of: names and addresses are pure, the rest talks to `ip`.
pub mod command;
pub mod names;
pub mod netns;
pub mod topology;

// The hosts and what can be done to them.
pub mod client;
pub mod faults;
pub mod host;
pub mod load;
pub mod media;
pub mod node;
pub mod prober;
pub mod status;
pub mod tls;
pub mod wall_clock;

// The lab as a whole.
pub mod cluster;
pub mod error;
pub mod failover;
pub mod history;
pub mod interrupt;
pub mod lab;
pub mod persist;
pub mod probe;

pub use client::Client;
pub use error::LabError;
pub use host::{Host, Running};
pub use lab::{Builder, Lab};
pub use node::Node;
