//! Children: starts a process, takes its log, starts it again when it ends, and stops it.
//!
//! In: a [`ChildSpec`]. Out: a running [`Child`] whose [`ChildState`] can be watched, or a [`SuperviseError`].
//! Only `process.rs`, `log.rs` and `pid_file.rs` touch the world; `backoff.rs` is the rule by which they do.

mod backoff;
mod log;
mod pid_file;
mod process;
mod program;
mod spec;

pub use backoff::Backoff;
pub use process::{Child, ChildState, end_stale, port_is_free, start};
pub use spec::{ChildSpec, SuperviseError, prepare_dir, user_of};
