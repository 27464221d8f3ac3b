//! The hub: one upstream connection per mount and node becomes the audio of all who listen to it here.
//!
//! In: bytes from Icecasts, as they come. Out: whole frames, where among them a listener may join, and what every listener of
//! an Ogg stream gets first; titles. Never here: etcd, passwords, the decision who listens where.

// The language: frames and titles from bytes. Pure.
mod frames;
mod icy;

pub use frames::{Codec, Framed, Framer};
pub use icy::{METAINT, Stripper, Title, block};
