//! The node's id: random, made once and kept with its state, so that its peers can tell a node that comes back from
//! another of the same name.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::DaemonError;
use crate::cluster::random_password;

const FILE: &str = "node-id";
/// 22 characters of six bits: 132 bits.
const CHARACTERS: usize = 22;

/// The id in `state_dir`, made now if there is none.
pub(super) fn read_or_make(state_dir: &Path) -> Result<String, DaemonError> {
    let path = state_dir.join(FILE);
    let failed = |source| DaemonError::StateDir { path: path.clone(), source };
    match fs::read_to_string(&path) {
        // A file cut short by a full disk or a power cut is made anew.
        Ok(id) if id.trim().len() == CHARACTERS => return Ok(id.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(_) | Err(_) => {}
    }
    let id = random_password(CHARACTERS)?;
    write_whole(&path, &id).map_err(failed)?;
    Ok(id)
}

/// Writes the file beside its place first: it is there whole or not at all.
fn write_whole(path: &Path, id: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_id_is_made_once_for_the_daemon_alone_and_again_when_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let first = read_or_make(dir.path()).unwrap();
        assert_eq!(first.len(), CHARACTERS);
        assert_eq!(read_or_make(dir.path()).unwrap(), first);
        let path = dir.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "cut").unwrap();
        let second = read_or_make(dir.path()).unwrap();
        assert_eq!(second.len(), CHARACTERS);
        assert_ne!(first, second);
    }

    #[test]
    fn a_state_directory_that_cannot_be_used_is_named() {
        let error = read_or_make(Path::new("/dev/null")).expect_err("no directory");
        assert!(error.to_string().contains("/dev/null/node-id"), "{error}");
    }
}
