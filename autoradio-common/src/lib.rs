#![no_std]
//! What the kernel program and userspace share: limits, the zone's map types, wire numbers, verdicts.

pub mod limits;
pub mod verdict;
pub mod wire;
pub mod zone;
