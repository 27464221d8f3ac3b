//! A server of somebody else's: its files, and how it is started in the foreground.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use autoradio_lab::{Host, Running};

use crate::process;

/// What makes a server run.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) program: &'static str,
    pub(super) args: Vec<String>,
    /// Path below the host's folder, and text.
    pub(super) files: Vec<(&'static str, String)>,
}

impl Peer {
    /// Writes the files and starts the server on this host.
    pub(super) fn start(&self, host: &Host) -> Result<Running> {
        let program = process::find(self.program).with_context(|| {
            format!("{} is missing: `cargo xtask setup` installs it", self.program)
        })?;
        for (name, text) in &self.files {
            write(&host.folder().join(name), text)?;
        }
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        Ok(host.spawn(&program.to_string_lossy(), &args, self.program)?)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_owned);
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
