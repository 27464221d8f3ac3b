//! The fuzzer: libFuzzer around one target, which an environment variable names. `cargo xtask fuzz` builds and runs it.
#![no_main]

use std::sync::LazyLock;

use autoradio_fuzz::{TARGET_VARIABLE, Target, target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var(TARGET_VARIABLE).unwrap_or_default();
    target(&name).unwrap_or_else(|| panic!("{TARGET_VARIABLE}={name:?} names no target"))
});

fuzz_target!(|data: &[u8]| (TARGET.check)(data));
