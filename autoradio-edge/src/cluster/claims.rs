//! Which masterships this node asks for, and which of its own it gives back. Pure.

use super::{MountPath, NodeName, Snapshot};

/// What a node should change about its masterships.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claims {
    /// Mounts without a master, to be claimed now.
    pub(super) claim: Vec<MountPath>,
    /// Claims of ours on mounts that were deleted.
    pub(super) give_back: Vec<MountPath>,
}

impl Claims {
    /// Nothing to change.
    pub(super) fn is_empty(&self) -> bool {
        self.claim.is_empty() && self.give_back.is_empty()
    }
}

/// The mounts whose master is `own`.
pub(super) fn held_by<'a>(
    snapshot: &'a Snapshot,
    own: &'a NodeName,
) -> impl Iterator<Item = &'a MountPath> {
    snapshot.masters.iter().filter(move |(_, master)| master.node == *own).map(|(path, _)| path)
}

/// Plans the claims of node `own`. It asks for every mount that nobody holds; etcd lets one claimant have it.
///
/// A claim stays while its node lives, so a mount that has a master is left alone whoever that is.
pub(super) fn plan(snapshot: &Snapshot, own: &NodeName) -> Claims {
    let held = |path: &&MountPath| snapshot.masters.contains_key(*path);
    let orphaned = |path: &&MountPath| !snapshot.mounts.contains_key(*path);
    let mine = held_by(snapshot, own);
    Claims {
        claim: snapshot.mounts.keys().filter(|path| !held(path)).cloned().collect(),
        give_back: mine.filter(orphaned).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Master, MountRecord};
    use std::sync::Arc;

    fn snapshot(mounts: &[&str], masters: &[(&str, &str)]) -> Snapshot {
        let record = |path: &str| {
            let json = serde_json::json!({
                "schema": 1, "path": path, "source_username": "source", "source_password_hash": "x",
            });
            let record: MountRecord = serde_json::from_value(json).unwrap();
            (path.parse().unwrap(), Arc::new(record))
        };
        let master = |(path, node): &(&str, &str)| {
            let master = Master { node: node.parse().unwrap(), epoch: 1 };
            (path.parse().unwrap(), master)
        };
        Snapshot {
            mounts: mounts.iter().map(|path| record(path)).collect(),
            masters: masters.iter().map(master).collect(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn only_mounts_without_a_master_are_claimed() {
        let own: NodeName = "a".parse().unwrap();
        for (why, mounts, masters, claim, give_back) in [
            ("an empty cluster", &[][..], &[][..], &[][..], &[][..]),
            ("a new mount", &["/m"], &[], &["/m"], &[]),
            ("mine already", &["/m"], &[("/m", "a")], &[], &[]),
            ("a peer's", &["/m"], &[("/m", "b")], &[], &[]),
            ("deleted while mine", &[], &[("/m", "a")], &[], &["/m"]),
            ("deleted while a peer's", &[], &[("/m", "b")], &[], &[]),
        ] {
            let claims = plan(&snapshot(mounts, masters), &own);
            let paths =
                |paths: &[MountPath]| paths.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!(paths(&claims.claim), claim, "{why}");
            assert_eq!(paths(&claims.give_back), give_back, "{why}");
            assert_eq!(claims.is_empty(), claim.is_empty() && give_back.is_empty(), "{why}");
        }
    }
}
