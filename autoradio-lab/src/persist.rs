//! The record of a lab on this machine, by which another process finds and removes it.
//!
//! It is written before the first namespace is made and removed after the last one is gone, so a
//! lab that was killed half-way can still be taken down.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{LabError, faults, names, netns, teardown};

const RECORDS: &str = "/run/autoradio-lab";
/// In memory: etcd waits for its disk, and labs must not wear one out.
const FOLDERS: &str = "/dev/shm/autoradio-lab";

/// What is written down about a lab; all else follows from its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The lab's name.
    pub name: String,
    /// The cluster's zone.
    pub domain: String,
    /// How many nodes.
    pub nodes: usize,
    /// How many clients.
    pub clients: usize,
    /// The nodes' `--xdp`.
    pub xdp: String,
    /// Folder of the daemon and radioctl.
    pub binaries: PathBuf,
    /// Whether etcd asks for certificates, all signed by the lab's own authority.
    #[serde(default)]
    pub tls: bool,
    /// Whether every daemon has a wall clock of its own.
    #[serde(default)]
    pub own_wall_clocks: bool,
    /// Whether its one node and its one client share a wire, with no bridge between them.
    #[serde(default)]
    pub direct: bool,
    /// What else every daemon is started with.
    #[serde(default)]
    pub args: Vec<String>,
    /// The process that removes it when it ends; `None` for a lab that was kept.
    pub owner_process: Option<u32>,
}

impl Record {
    /// Whether the process that was to remove it has ended without doing so.
    pub fn is_abandoned(&self) -> bool {
        self.owner_process.is_some_and(|id| !faults::lives(id))
    }
}

/// Where a lab's files are.
pub fn folder(lab: &str) -> PathBuf {
    Path::new(FOLDERS).join(lab)
}

/// Writes a lab's record.
pub fn save(record: &Record) -> Result<(), LabError> {
    let path = record_path(&record.name);
    let text = serde_json::to_vec_pretty(record)
        .map_err(|source| LabError::Answer { what: record.name.clone(), source })?;
    fs::create_dir_all(RECORDS).map_err(LabError::file(Path::new(RECORDS)))?;
    fs::write(&path, text).map_err(LabError::file(&path))
}

/// Reads a lab's record.
pub fn load(lab: &str) -> Result<Record, LabError> {
    names::check(lab)?;
    let path = record_path(lab);
    let unknown = |_| LabError::Unknown { name: lab.to_owned() };
    let text = fs::read(&path).map_err(unknown)?;
    serde_json::from_slice(&text)
        .map_err(|source| LabError::Answer { what: path.display().to_string(), source })
}

/// Names of all labs on this machine: those with a record, and those of which only namespaces or
/// `/etc/netns` folders are left.
pub fn list() -> Vec<String> {
    let files = fs::read_dir(RECORDS).into_iter().flatten().flatten();
    let mut labs: Vec<String> =
        files.filter_map(|file| Some(file.path().file_stem()?.to_str()?.to_owned())).collect();
    let left = netns::list();
    labs.extend(left.iter().filter_map(|name| Some(names::owner(name)?.0.to_owned())));
    labs.sort();
    labs.dedup();
    labs
}

/// Names of the labs that nobody will remove by himself: their processes have ended.
pub fn abandoned() -> Vec<String> {
    let mut labs = list();
    labs.retain(|lab| load(lab).is_ok_and(|record| record.is_abandoned()));
    labs
}

/// Removes a lab from this machine, in whatever state it is.
pub fn down(lab: &str) -> Result<(), LabError> {
    crate::lab::require_root()?;
    names::check(lab)?;
    if !list().iter().any(|known| known == lab) && !folder(lab).exists() {
        let name = lab.to_owned();
        return Err(LabError::Unknown { name });
    }
    teardown::remove(lab)
}

/// Whether anything of a lab of this name is on this machine.
pub(crate) fn exists(lab: &str) -> bool {
    record_path(lab).exists() || !teardown::namespaces_of(lab).is_empty()
}

pub(crate) fn remove_files(lab: &str) -> Result<(), LabError> {
    for path in [folder(lab), record_path(lab)] {
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { remove_if_there(&path) };
        removed.map_err(LabError::file(&path))?;
    }
    // The folders that all labs share stay: another lab may be about to write there.
    Ok(())
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    if path.exists() { fs::remove_file(path) } else { Ok(()) }
}

fn record_path(lab: &str) -> PathBuf {
    Path::new(RECORDS).join(format!("{lab}.json"))
}
