//! The only place where the lab reads time.
#![expect(clippy::disallowed_methods, reason = "this is where time enters")]

use std::time::{Duration, Instant};

use crate::LabError;
use crate::interrupt;

/// Pause between two looks at a condition.
const POLL: Duration = Duration::from_millis(50);

/// Now, on a clock that never jumps.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Looks at `condition` until it holds; an error once `limit` has passed or Ctrl-C was pressed.
pub(crate) fn wait_until(
    what: &str,
    limit: Duration,
    condition: impl FnMut() -> bool,
) -> Result<(), LabError> {
    wait(what, limit, interrupt::requested, condition)
}

/// The same, but Ctrl-C does not end it: for cleaning up after one.
pub(crate) fn wait_uninterrupted(
    what: &str,
    limit: Duration,
    condition: impl FnMut() -> bool,
) -> Result<(), LabError> {
    wait(what, limit, || false, condition)
}

fn wait(
    what: &str,
    limit: Duration,
    interrupted: impl Fn() -> bool,
    mut condition: impl FnMut() -> bool,
) -> Result<(), LabError> {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return Ok(());
        }
        if interrupted() {
            return Err(LabError::Interrupted);
        }
        if Instant::now() >= end {
            let what = what.to_owned();
            return Err(LabError::Deadline { what, limit });
        }
        std::thread::sleep(POLL);
    }
}
