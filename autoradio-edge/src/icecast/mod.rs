//! Icecast on this node: its configuration, rendered from the placement, and its process.
//!
//! In: [`IcecastSettings`], `watch<Arc<Placement>>`, the cluster's Icecast passwords. Out: a running Icecast that knows
//! every mount. `render.rs` is pure; `process.rs` writes the file, runs the child and tells it to read again.

mod process;
mod render;

pub use process::{Icecast, IcecastError, start};
pub use render::{IcecastSettings, render};
