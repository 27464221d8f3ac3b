//! Mounts as the operator changes them: each change is one transaction that fails rather than overwrite.

use autoradio_common::limits::{MOUNTS_MAX, RECORD_BYTES_MAX};

use std::collections::BTreeMap;

use super::etcd::KeyChange;
use super::fold::parse_mount;
use super::{
    ClusterError, CurrentMount, Damaged, Event, Key, MountChange, MountPath, MountRecord, PREFIX,
    Snapshot, State, Store,
};

/// A record as it was read, and the revision that a change of it must find unchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<Record> {
    /// The record.
    pub record: Record,
    /// Revision of its last change.
    pub mod_revision: i64,
}

impl Store {
    /// The whole cluster as of now, and what is damaged in it.
    pub async fn snapshot(&self) -> Result<(Snapshot, Vec<Damaged>), ClusterError> {
        let (revision, events) = self.list(PREFIX).await?;
        let (state, damaged) = fold_listing(revision, &events);
        Ok((state.snapshot(), damaged))
    }

    /// One mount. `MountUnknown` if there is none, `Damaged` if its record cannot be read.
    pub async fn mount(&self, path: &MountPath) -> Result<Stored<MountRecord>, ClusterError> {
        let key = Key::Mount(path.clone()).to_string();
        let value = self.get(&key).await?.ok_or_else(|| unknown(path))?;
        let record = parse_mount(path, &value.bytes)
            .map_err(|reason| ClusterError::Damaged { key, reason })?;
        Ok(Stored { record, mod_revision: value.mod_revision })
    }

    /// Every mount as it stands, damaged ones too, with what a change of it must find unchanged.
    pub async fn current_mounts(&self) -> Result<BTreeMap<MountPath, CurrentMount>, ClusterError> {
        let (_, events) = self.list(&format!("{PREFIX}mounts/")).await?;
        let current = |event: Event| {
            let Event::Put { key, value, mod_revision, .. } = event else { return None };
            // A key that is no mount's has no mount to show.
            let Ok(Key::Mount(path)) = Key::parse(&key) else { return None };
            let record = parse_mount(&path, &value);
            Some((path, CurrentMount { mod_revision, record }))
        };
        Ok(events.into_iter().filter_map(current).collect())
    }

    /// Makes those of `changes` whose mounts are as they were read; the answer is how many.
    ///
    /// Nothing is changed if one of the records is too long.
    pub async fn change_mounts(&self, changes: &[MountChange]) -> Result<usize, ClusterError> {
        let changes = changes.iter().map(key_change).collect::<Result<Vec<_>, _>>()?;
        self.change_each(&changes).await
    }

    /// Makes a mount that does not exist yet.
    pub async fn create_mount(&self, record: &MountRecord) -> Result<(), ClusterError> {
        let (key, value) = encode(record)?;
        if self.count(&format!("{PREFIX}mounts/")).await? >= MOUNTS_MAX {
            return Err(ClusterError::MountsFull);
        }
        if self.create(&key, &value).await? {
            return Ok(());
        }
        Err(ClusterError::MountExists { path: record.path.clone() })
    }

    /// Replaces a mount's record if it is still the one that was read.
    pub async fn update_mount(&self, changed: &Stored<MountRecord>) -> Result<(), ClusterError> {
        let (key, value) = encode(&changed.record)?;
        if self.replace(&key, &value, changed.mod_revision).await? {
            return Ok(());
        }
        Err(ClusterError::MountChanged { path: changed.record.path.clone() })
    }

    /// Deletes a mount, damaged or not, and its title.
    pub async fn delete_mount(&self, path: &MountPath) -> Result<(), ClusterError> {
        if self.delete_with_title(path).await? { Ok(()) } else { Err(unknown(path)) }
    }
}

/// The state that a listing amounts to, and everything that is damaged or beyond a limit in it.
pub(super) fn fold_listing(revision: i64, events: &[Event]) -> (State, Vec<Damaged>) {
    let mut state = State::default();
    let mut damaged: Vec<Damaged> = events.iter().filter_map(|event| state.apply(event)).collect();
    state.advance(revision);
    damaged.extend(state.beyond_limits());
    (state, damaged)
}

fn key_change(change: &MountChange) -> Result<KeyChange, ClusterError> {
    Ok(match change {
        MountChange::Create(record) => {
            let (key, value) = encode(record)?;
            KeyChange { key, mod_revision: 0, value: Some(value) }
        }
        MountChange::Replace { record, mod_revision, .. } => {
            let (key, value) = encode(record)?;
            KeyChange { key, mod_revision: *mod_revision, value: Some(value) }
        }
        MountChange::Delete { path, mod_revision } => {
            let key = Key::Mount(path.clone()).to_string();
            KeyChange { key, mod_revision: *mod_revision, value: None }
        }
    })
}

fn unknown(path: &MountPath) -> ClusterError {
    ClusterError::MountUnknown { path: path.clone() }
}

fn encode(record: &MountRecord) -> Result<(String, Vec<u8>), ClusterError> {
    let key = Key::Mount(record.path.clone()).to_string();
    let value = to_json(&key, record)?;
    if value.len() > RECORD_BYTES_MAX {
        let bytes = value.len();
        return Err(ClusterError::TooLong { key, bytes });
    }
    Ok((key, value))
}

/// A record as JSON bytes. Only a record whose unknown fields clash with its own could fail.
pub(super) fn to_json(key: &str, record: &impl serde::Serialize) -> Result<Vec<u8>, ClusterError> {
    serde_json::to_vec(record)
        .map_err(|error| ClusterError::Damaged { key: key.to_owned(), reason: error.to_string() })
}
