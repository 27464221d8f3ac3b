//! Embeds the kernel program that `cargo xtask build-ebpf` built.
//!
//! Without it an empty object is embedded, so that the crate builds on machines without the BPF toolchain; the daemon
//! then says that it has no kernel program. `AUTORADIO_EBPF_OBJECT` names another object.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=AUTORADIO_EBPF_OBJECT");
    let object = match env::var_os("AUTORADIO_EBPF_OBJECT") {
        Some(path) => PathBuf::from(path),
        None => default_object()?,
    };
    println!("cargo::rerun-if-changed={}", object.display());
    let embedded = PathBuf::from(env::var("OUT_DIR")?).join("autoradio.bpf");
    fs::copy(&object, &embedded)
        .map_err(|error| format!("cannot read the kernel program {}: {error}", object.display()))?;
    Ok(())
}

/// Where `cargo xtask build-ebpf` leaves the object. An empty one is made where there is none: cargo would otherwise
/// build this crate again at every call, waiting for the file to appear.
fn default_object() -> Result<PathBuf, Box<dyn Error>> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../target/bpf");
    let object = folder.join("autoradio");
    if !object.exists() {
        fs::create_dir_all(&folder)?;
        fs::write(&object, [])?;
    }
    Ok(object)
}
