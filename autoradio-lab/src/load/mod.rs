//! What `cargo xtask bench stream` puts on a server of this machine: a source, and a crowd of listeners who measure what they
//! hear; and the least that a server could do, as the limit.
//!
//! The crowd and the bare loop are one thread each, in a program of their own ([`program`]), so that each has a core to itself.

mod bare_loop;
mod crowd;
mod listener;
mod source;

pub mod program;

pub use crowd::{Crowd, Heard};
pub use source::Source;

use std::time::Duration;

/// Bytes a second of the stream: 128 kbit/s.
const BYTES_PER_SECOND: u64 = 16_000;

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
