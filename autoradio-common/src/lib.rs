#![no_std]
//! What the kernel program and userspace share: limits, map types, wire numbers, verdicts, and the rules that both follow.
//!
//! Rules that both sides apply to one query (cookies, rates, draws) stand here once, so that both answer the same bytes.
#![expect(
    clippy::inline_always,
    reason = "the kernel program must be one function: its helpers are not worth a call"
)]

pub mod cookie;
pub mod limits;
pub mod names;
pub mod prefix;
pub mod rate;
pub mod settings;
pub mod trace;
pub mod verdict;
pub mod wire;
pub mod zone;
