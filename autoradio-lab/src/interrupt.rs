//! Ctrl-C: a flag that every wait of the lab looks at.
//!
//! A flag and not an exit, so that the waiting code returns an error and its [`Lab`](crate::Lab) is
//! dropped, which removes it.

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Makes every running and coming wait of this process end with an error.
///
/// Returns whether it had been asked before.
pub fn request() -> bool {
    REQUESTED.swap(true, Ordering::SeqCst)
}

/// Whether [`request`] was called.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}
