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

pub(super) fn load_error(error: &(dyn Error + 'static)) -> DataplaneError {
    let reason = explained(error);
    match os_error(error) {
        Some(nix::libc::EPERM | nix::libc::EACCES) if !reason.contains("processed") => {
            DataplaneError::Permission { reason }
        }
        _ => DataplaneError::Load { reason },
    }
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
