//! What the kernel's refusals mean to an operator.

use std::error::Error;
use std::io;

use aya::maps::MapError;
use aya::programs::ProgramError;

use super::super::{DataplaneError, XdpMode};

/// Error number of the first I/O error among an error and its causes.
fn os_error(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io_error) = error.downcast_ref::<io::Error>() {
            return io_error.raw_os_error();
        }
        cause = error.source();
    }
    None
}

/// An error with all its causes: aya says what matters in the innermost.
fn explained(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        cause = error.source();
    }
    text
}

/// The first kernel that has all the helpers the program calls (`bpf_xdp_load_bytes` and `bpf_xdp_store_bytes` came last).
const KERNEL_MIN: (u32, u32) = (5, 18);
/// Lines of the verifier's log that are shown: the last say what it refuses.
const LOG_LINES_MAX: usize = 8;

pub(super) fn load_error(error: &(dyn Error + 'static)) -> DataplaneError {
    let reason = explained(error);
    match os_error(error) {
        Some(nix::libc::EPERM | nix::libc::EACCES) if !reason.contains("processed") => {
            DataplaneError::Permission { reason }
        }
        _ => match std::fs::read_to_string("/proc/sys/kernel/osrelease") {
            Ok(release) if is_too_old(&release) => {
                DataplaneError::OldKernel { release: release.trim().to_owned() }
            }
            _ => DataplaneError::Load { reason: shortened(&reason) },
        },
    }
}

/// Whether a kernel's release, such as `6.1.0-18-amd64`, is below the least. What cannot be read is not.
fn is_too_old(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.trim().parse::<u32>().ok());
    matches!((numbers.next(), numbers.next()), (Some(major), Some(minor)) if (major, minor) < KERNEL_MIN)
}

/// The first line, which says what failed, and the last ones.
fn shortened(reason: &str) -> String {
    let lines: Vec<&str> = reason.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.len() <= LOG_LINES_MAX {
        return lines.join("; ");
    }
    let last = lines[lines.len() - LOG_LINES_MAX + 1..].join("; ");
    format!("{} … {last}", lines[0])
}

pub(super) fn attach_error(error: &ProgramError, interface: &str, mode: XdpMode) -> DataplaneError {
    let interface = interface.to_owned();
    if let ProgramError::UnknownInterface { .. } = error {
        return DataplaneError::NoInterface { interface };
    }
    let reason = explained(error);
    match os_error(error) {
        Some(nix::libc::EPERM) => DataplaneError::Permission { reason },
        Some(nix::libc::EBUSY | nix::libc::EEXIST) => DataplaneError::Busy { interface },
        _ => DataplaneError::Attach { interface, mode, reason },
    }
}

pub(super) fn map_error(map: &'static str, error: &MapError) -> DataplaneError {
    DataplaneError::Map { map, reason: explained(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_without_the_programs_helpers_are_told_from_others() {
        for (release, want) in [
            ("5.15.0-91-generic\n", true),
            ("4.19.0", true),
            ("5.18.0", false),
            ("6.1.0-18-amd64", false),
            ("6.18", false),
            ("unknown", false),
        ] {
            assert_eq!(is_too_old(release), want, "{release}");
        }
    }

    #[test]
    fn of_a_long_log_the_first_line_and_the_last_are_told() {
        let log: Vec<String> = (0..500).map(|line| format!("line {line}")).collect();
        let short = shortened(&log.join("\n"));
        assert!(short.starts_with("line 0 … line 493; ") && short.ends_with("line 499"), "{short}");
        assert_eq!(shortened("one\n\ntwo\n"), "one; two");
    }
}
