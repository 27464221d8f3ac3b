//! The members of etcd, real ones on loopback: joining, leaving, dying, certificates.
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

#[path = "../support/mod.rs"]
mod support;

mod certificates;
mod daemon;
mod failover;
mod history;
mod join;
mod rig;
