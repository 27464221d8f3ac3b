//! autoradio: one Icecast service made of several machines.
//!
//! Data flows one way. `cluster` reads etcd and folds it into immutable [`cluster::Snapshot`]s; `placement` turns a
//! snapshot into a [`placement::Placement`]; the sinks (`dns`, `dataplane`, `http`, `icecast`) act on placements.
//! `daemon` is the only module that knows them all.
#![forbid(unsafe_code)]

// Settings, checked as a whole before a port is opened.
pub mod clock;
pub mod config;

// State: etcd -> snapshot -> placement.
pub mod cluster;
pub mod peer;
pub mod placement;

// Sinks: what clients see.
pub mod dataplane;
pub mod dns;
pub mod http;
pub mod stream;

// Children: processes that this node runs.
pub mod icecast;
pub mod supervise;

// The operator's side.
pub mod api;

pub mod daemon;
