//! autoradio: one Icecast service made of several machines.
//!
//! Data flows one way. `cluster` reads etcd and folds it into immutable [`cluster::Snapshot`]s; `placement` turns a
//! snapshot into a [`placement::Placement`]; the sinks (`dns`, `dataplane`, `http`, `icecast`) act on placements.
//! `daemon` is the only module that knows them all.

pub mod clock;

// State: etcd -> snapshot -> placement.
pub mod cluster;
pub mod placement;

// Sinks: what clients see.
pub mod http;
