#![no_std]
//! What the kernel program and userspace share: limits, map keys and values, verdicts.

pub mod limits;
