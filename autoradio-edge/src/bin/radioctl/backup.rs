//! All mounts to a file, and back from it.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use autoradio_edge::cluster::{Backup, MountChange, Store};

use crate::input::{self, Restore};
use crate::output::Output;

/// What stands for standard input and standard output.
const DASH: &str = "-";
/// Longest backup that is read, in bytes: ten thousand records of the greatest length are 655 MB, real ones a thousandth.
const BACKUP_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Writes all mounts to `file`, or to standard output.
pub(crate) async fn save(store: &Store, output: &Output, file: &Path) -> anyhow::Result<()> {
    let mut mounts = Vec::new();
    for (path, current) in store.current_mounts().await.context("reading the mounts")? {
        match current.record {
            Ok(record) => mounts.push(record),
            Err(reason) => output.warning(&format!("{path} is damaged and left out: {reason}")),
        }
    }
    let text = format!("{}\n", serde_json::to_string_pretty(&Backup::new(mounts.clone()))?);
    if file == Path::new(DASH) {
        return Output::text(&text);
    }
    write(file, &text).with_context(|| format!("writing {}", file.display()))?;
    let count = mounts.len();
    output.done(&format!(
        "{count} mounts are in {}. It holds their password hashes: keep it safe.",
        file.display()
    ))
}

/// A whole new file that only its owner reads takes the place of an older one, or nothing does.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let fresh = Path::new(&name);
    let mut open =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(fresh)?;
    open.write_all(text.as_bytes())?;
    open.sync_all()?;
    fs::rename(fresh, file)
}

/// Makes the cluster's mounts those of a backup, after showing what that changes.
pub(crate) async fn restore(
    store: &Store,
    output: &Output,
    wanted: &Restore,
) -> anyhow::Result<()> {
    let backup = Backup::parse(&read(&wanted.file)?)?;
    let current = store.current_mounts().await.context("reading the mounts")?;
    let changes = backup.changes(&current, wanted.delete_others);
    let untouched =
        backup.mounts.len() - changes.iter().filter(|change| !is_deletion(change)).count();
    if !changes.is_empty() && !wanted.yes {
        Output::diff(&changes);
        input::confirm_restore(&wanted.file, changes.len())?;
    }
    let made = store.change_mounts(&changes).await?;
    if made < changes.len() {
        bail!(
            "{made} of {} changes are made; the other mounts were changed by somebody else meanwhile: run restore again",
            changes.len()
        );
    }
    output.restored(&changes, untouched)
}

fn is_deletion(change: &MountChange) -> bool {
    matches!(change, MountChange::Delete { .. })
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    let reading = || format!("reading {}", file.display());
    if file == Path::new(DASH) {
        std::io::stdin().lock().take(BACKUP_BYTES_MAX + 1).read_to_end(&mut text)?;
    } else {
        let open = fs::File::open(file).with_context(reading)?;
        open.take(BACKUP_BYTES_MAX + 1).read_to_end(&mut text).with_context(reading)?;
    }
    if text.len() as u64 > BACKUP_BYTES_MAX {
        bail!("{} is longer than {BACKUP_BYTES_MAX} bytes: no backup is", file.display());
    }
    Ok(text)
}
