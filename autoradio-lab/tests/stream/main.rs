//! The hub before real clients and crowds: who listens notices no loss.
#![expect(
    clippy::unwrap_used,
    reason = "a lab's errors say what and where; the line is the test's"
)]

mod browser;
mod crowd;
mod players;
mod rig;
mod sockets;
mod sources;
