//! All mounts as one document, and what restoring it would change. Pure.

use std::collections::{BTreeMap, BTreeSet};

use autoradio_common::limits::MOUNTS_MAX;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{MountPath, MountRecord, SCHEMA_VERSION};

/// What a backup calls itself.
const FORMAT: &str = "autoradio-mounts";

/// All mounts of a cluster, hashes of their passwords included: to be kept as safe as a password file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    format: String,
    schema: u32,
    /// The mounts, in the order of their paths.
    pub mounts: Vec<MountRecord>,
}

/// Why a document is no backup that this version can restore.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// No JSON, or a JSON of another form.
    #[error("this is no backup of mounts: {reason}; `radioctl backup` makes one")]
    Form {
        /// What the reader said.
        reason: String,
    },
    /// A backup of another schema.
    #[error(
        "the backup has schema {schema}, this version reads {SCHEMA_VERSION}; use the radioctl that made it"
    )]
    Schema {
        /// Its schema.
        schema: u64,
    },
    /// Two records of one mount.
    #[error("the backup holds mount {path} twice: remove one of the two")]
    Twice {
        /// The mount.
        path: MountPath,
    },
    /// More mounts than a cluster can have.
    #[error("the backup holds {count} mounts, a cluster takes {MOUNTS_MAX}")]
    TooMany {
        /// How many.
        count: usize,
    },
}

/// A mount as it stands in etcd, readable or not.
#[derive(Clone, Debug, PartialEq)]
pub struct CurrentMount {
    /// Revision of its last change.
    pub mod_revision: i64,
    /// Its record, or why it cannot be read.
    pub record: Result<MountRecord, String>,
}

/// What restoring does to one mount.
#[derive(Clone, Debug, PartialEq)]
pub enum MountChange {
    /// It is made.
    Create(MountRecord),
    /// It is written over.
    Replace {
        /// The record it gets.
        record: MountRecord,
        /// Revision that its record must still have.
        mod_revision: i64,
        /// Names of the fields that change; empty if the record that stands there cannot be read.
        fields: Vec<String>,
    },
    /// It is deleted.
    Delete {
        /// The mount.
        path: MountPath,
        /// Revision that its record must still have.
        mod_revision: i64,
    },
}

impl MountChange {
    /// The mount.
    pub fn path(&self) -> &MountPath {
        match self {
            Self::Create(record) | Self::Replace { record, .. } => &record.path,
            Self::Delete { path, .. } => path,
        }
    }
}

impl Backup {
    /// A backup of these mounts.
    pub fn new(mounts: Vec<MountRecord>) -> Self {
        Self { format: FORMAT.to_owned(), schema: SCHEMA_VERSION, mounts }
    }

    /// Reads a backup. The schema is judged before the records: another one may hold anything.
    pub fn parse(text: &[u8]) -> Result<Self, BackupError> {
        let form = |reason: String| BackupError::Form { reason };
        let value: Value = serde_json::from_slice(text).map_err(|error| form(error.to_string()))?;
        if value["format"] != FORMAT {
            return Err(form(format!("its \"format\" is not {FORMAT:?}")));
        }
        match value["schema"].as_u64() {
            Some(schema) if schema != u64::from(SCHEMA_VERSION) => {
                return Err(BackupError::Schema { schema });
            }
            _ => {}
        }
        let backup: Self = serde_json::from_value(value).map_err(|e| form(e.to_string()))?;
        backup.check()?;
        Ok(backup)
    }

    fn check(&self) -> Result<(), BackupError> {
        if self.mounts.len() > MOUNTS_MAX {
            return Err(BackupError::TooMany { count: self.mounts.len() });
        }
        let mut seen = BTreeSet::new();
        for mount in &self.mounts {
            if mount.schema != SCHEMA_VERSION {
                return Err(BackupError::Schema { schema: mount.schema.into() });
            }
            if !seen.insert(&mount.path) {
                return Err(BackupError::Twice { path: mount.path.clone() });
            }
        }
        Ok(())
    }

    /// What has to change for the cluster to hold these mounts. Mounts that are not in the backup are deleted only if
    /// `delete_others`.
    pub fn changes(
        &self,
        current: &BTreeMap<MountPath, CurrentMount>,
        delete_others: bool,
    ) -> Vec<MountChange> {
        let wanted: BTreeSet<&MountPath> = self.mounts.iter().map(|mount| &mount.path).collect();
        let others = current.iter().filter(|(path, _)| delete_others && !wanted.contains(path));
        let deletions = others.map(|(path, stands)| MountChange::Delete {
            path: path.clone(),
            mod_revision: stands.mod_revision,
        });
        let writes = self.mounts.iter().filter_map(|mount| match current.get(&mount.path) {
            None => Some(MountChange::Create(mount.clone())),
            Some(stands) => replace(stands, mount),
        });
        writes.chain(deletions).collect()
    }
}

fn replace(stands: &CurrentMount, wanted: &MountRecord) -> Option<MountChange> {
    let fields = match &stands.record {
        Ok(record) if record == wanted => return None,
        Ok(record) => differing_fields(record, wanted),
        Err(_) => Vec::new(),
    };
    let (record, mod_revision) = (wanted.clone(), stands.mod_revision);
    Some(MountChange::Replace { record, mod_revision, fields })
}

/// Names of the JSON fields in which two records differ.
fn differing_fields(one: &MountRecord, other: &MountRecord) -> Vec<String> {
    // A record that came from JSON goes back to it.
    let fields = |record: &MountRecord| match serde_json::to_value(record) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (one, other) = (fields(one), fields(other));
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names.into_iter().filter(|name| one.get(*name) != other.get(*name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(path: &str, name: &str) -> MountRecord {
        let mut record = MountRecord::new(path.parse().unwrap(), "source", "$argon2id$x".into());
        record.name = Some(name.to_owned());
        record.unknown.insert("jingle".into(), 3.into());
        record
    }

    fn stands(mod_revision: i64, record: Result<MountRecord, String>) -> CurrentMount {
        CurrentMount { mod_revision, record }
    }

    #[test]
    fn a_backup_reads_back_with_everything_in_it() {
        let backup = Backup::new(vec![mount("/a", "A"), mount("/ü b", "B")]);
        let text = serde_json::to_vec(&backup).unwrap();
        assert_eq!(Backup::parse(&text).unwrap(), backup);
        assert_eq!(backup.mounts[0].unknown["jingle"], 3);
    }

    #[test]
    fn what_is_no_backup_is_told_apart() {
        let with = |mounts: &str, schema: u32| {
            format!(r#"{{"format":"autoradio-mounts","schema":{schema},"mounts":[{mounts}]}}"#)
        };
        let a = serde_json::to_string(&mount("/a", "A")).unwrap();
        for (why, text, want) in [
            ("not JSON", "x".to_owned(), "no backup"),
            ("another document", r#"{"mounts":[]}"#.to_owned(), "format"),
            ("a newer schema, which may hold anything", with("7", 2), "schema 2"),
            ("a newer record", with(&a.replace("\"schema\":1", "\"schema\":3"), 1), "schema 3"),
            ("a field is missing", with(r#"{"schema":1,"path":"/a"}"#, 1), "source_username"),
            ("a path that is none", with(&a.replace("\"/a\"", "\"/a/../b\""), 1), "segments"),
            ("a mount twice", with(&format!("{a},{a}"), 1), "/a twice"),
        ] {
            let error = Backup::parse(text.as_bytes()).expect_err(why).to_string();
            assert!(error.contains(want), "{why}: {error}");
        }
    }

    #[test]
    fn restoring_changes_what_differs_and_deletes_only_when_asked() {
        let backup = Backup::new(vec![
            mount("/same", "S"),
            mount("/new", "N"),
            mount("/other", "O"),
            mount("/bad", "B"),
        ]);
        let path = |path: &str| path.parse::<MountPath>().unwrap();
        let current = BTreeMap::from([
            (path("/same"), stands(4, Ok(mount("/same", "S")))),
            (path("/other"), stands(5, Ok(mount("/other", "before")))),
            (path("/bad"), stands(6, Err("damaged".into()))),
            (path("/kept"), stands(7, Ok(mount("/kept", "K")))),
        ]);
        let replace =
            |path: &str, name: &str, mod_revision, fields: &[&str]| MountChange::Replace {
                record: mount(path, name),
                mod_revision,
                fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            };
        let mut want = vec![
            MountChange::Create(mount("/new", "N")),
            replace("/other", "O", 5, &["name"]),
            replace("/bad", "B", 6, &[]),
        ];
        assert_eq!(backup.changes(&current, false), want);
        want.push(MountChange::Delete { path: path("/kept"), mod_revision: 7 });
        assert_eq!(backup.changes(&current, true), want);
    }
}
