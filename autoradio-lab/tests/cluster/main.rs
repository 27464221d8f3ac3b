//! Clusters of real nodes, and what must hold when parts of them are lost.
#![expect(
    clippy::unwrap_used,
    reason = "a lab's errors say what and where; the line is the test's"
)]

mod certificates;
mod clocks;
mod cut_off;
mod drain;
mod history;
mod losses;
mod names;
mod quorum;
mod rig;
mod titles;
mod voters;
