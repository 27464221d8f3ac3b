//! What etcd keeps on this host: its data, certificates where its user may read them, and a note of where it is.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::unistd::User;
use tracing::warn;

use super::ManagedEtcd;
use crate::cluster::{ClusterError, TlsFiles};
use crate::supervise::{self, user_of};

impl ManagedEtcd {
    pub(super) fn data_dir(&self) -> PathBuf {
        self.state_dir.join("etcd")
    }

    /// Whether this etcd has been a member before. A log is what it goes by itself: without one it begins anew.
    pub(super) fn has_data(&self) -> bool {
        let Ok(logs) = std::fs::read_dir(self.data_dir().join("member/wal")) else { return false };
        logs.flatten().any(|log| log.path().extension().is_some_and(|extension| extension == "wal"))
    }

    /// Makes room for new data. What was there is kept, for whoever wants to look at it.
    pub(super) fn put_data_aside(&self) -> Result<(), ClusterError> {
        let data = self.data_dir();
        let free = |number: &u32| !aside(&data, *number).exists();
        let number = (1..u32::MAX).find(free).unwrap_or(u32::MAX);
        let kept = aside(&data, number);
        std::fs::rename(&data, &kept).map_err(|source| files(&data, source))?;
        warn!(kept = %kept.display(), "etcd was removed from its cluster: its old data is put aside, it joins again");
        Ok(())
    }

    /// Copies the certificates to where etcd, which runs as a user of its own, can read them.
    ///
    /// Done at every start, so that renewed ones are taken over.
    pub(super) fn install_certificates(&self, from: &TlsFiles) -> Result<TlsFiles, ClusterError> {
        let dir = self.state_dir.join("etcd-tls");
        let user = user_of(Some("etcd"));
        supervise::prepare_dir("etcd", &dir, user.as_ref())?;
        let install = |from: &Path, name: &str| {
            let path = dir.join(name);
            let bytes = std::fs::read(from).map_err(|source| files(from, source))?;
            write_secret(&path, &bytes, user.as_ref()).map_err(|source| files(&path, source))?;
            Ok::<_, ClusterError>(path)
        };
        Ok(TlsFiles {
            ca: install(&from.ca, "ca.pem")?,
            certificate: install(&from.certificate, "cert.pem")?,
            key: install(&from.key, "cert.key")?,
        })
    }
}

/// Where the cluster's etcd was last, one URL a line, for the operator's commands.
const ENDPOINTS_FILE: &str = "etcd-endpoints";

/// Notes in the state directory where the cluster's etcd is reached. Everybody may read it.
pub fn note_endpoints(state_dir: &Path, endpoints: &[String]) {
    let path = state_dir.join(ENDPOINTS_FILE);
    let beside = path.with_extension("new");
    // Beside its place first: it is there whole or not at all.
    let written = std::fs::write(&beside, endpoints.join("\n") + "\n")
        .and_then(|()| std::fs::set_permissions(&beside, Permissions::from_mode(0o644)))
        .and_then(|()| std::fs::rename(&beside, &path));
    if let Err(error) = written {
        warn!(%error, path = %path.display(), "where etcd is could not be noted for radioctl");
    }
}

/// What [`note_endpoints`] noted last; nothing if there is nothing to read.
pub fn known_endpoints(state_dir: &Path) -> Vec<String> {
    let noted = std::fs::read_to_string(state_dir.join(ENDPOINTS_FILE)).unwrap_or_default();
    noted.lines().map(str::to_owned).collect()
}

fn aside(data: &Path, number: u32) -> PathBuf {
    data.with_file_name(format!("etcd.removed-{number}"))
}

/// Writes a new file that nobody but `user` can read, not even for a moment.
fn write_secret(path: &Path, bytes: &[u8], user: Option<&User>) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    match user {
        // By descriptor: the folder is the user's, who could put a link in the file's place.
        Some(user) => fchown(&file, Some(user.uid.as_raw()), Some(user.gid.as_raw())),
        None => Ok(()),
    }
}

fn files(path: &Path, source: io::Error) -> ClusterError {
    ClusterError::Files { path: path.display().to_string(), source }
}
