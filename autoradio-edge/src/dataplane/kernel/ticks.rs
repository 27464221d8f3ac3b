//! The clock that the program reads: the kernel's ticks since it started, which userspace can learn from the kernel only.
//!
//! A second program of the object tells them, run on a frame of our own. It is asked anew for each lease, so that nothing is
//! to be known of how the kernel counts, only that a tick is as long as it says.

use aya::Ebpf;
use aya::programs::{TestRun, TestRunOptions};

use super::super::DataplaneError;
use super::error::load_error;
use super::program_named;

const PROGRAM: &str = "ticks";
/// The kernel runs no program on less than an Ethernet header.
const FRAME: [u8; 64] = [0; 64];

/// Loads the program that tells them.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<(), DataplaneError> {
    program_named(ebpf, PROGRAM)?.load().map_err(|error| load_error(&error))
}

/// The ticks by now.
pub(super) fn ticks(ebpf: &mut Ebpf) -> Result<u64, DataplaneError> {
    let mut out = FRAME;
    let options =
        TestRunOptions { data_in: Some(&FRAME), data_out: Some(&mut out), ..TestRunOptions::new() };
    program_named(ebpf, PROGRAM)?.test_run(options).map_err(|error| load_error(&error))?;
    let (ticks, _) = out.split_first_chunk().unwrap_or((&[0; 8], &[]));
    Ok(u64::from_ne_bytes(*ticks))
}
