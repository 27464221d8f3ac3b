//! Icecast on this node: its configuration, rendered from the placement, and its process.
//!
//! In: [`IcecastSettings`], `watch<Arc<Placement>>`, the cluster's Icecast passwords. Out: a running Icecast that knows
//! every mount. `render.rs` is pure; `process.rs` writes the file, runs the child and tells it to read again. `socket.rs` asks
//! an Icecast for its listeners; `stats.rs` reads its answers.

mod process;
mod relay_credentials;
mod render;
mod socket;
mod stats;

pub use process::{Icecast, IcecastError, start};
pub(crate) use relay_credentials::{RELAY_USER, relay_credentials};
pub use render::{IcecastSettings, render};
pub use socket::IcecastDoor;
pub use stats::{RelayCounts, listener_addresses, listeners_by_mount};
