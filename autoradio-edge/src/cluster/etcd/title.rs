//! Titles in etcd: written while their mount stands, deleted with it.

use etcd_client::{Compare, CompareOp, Txn, TxnOp};

use super::Store;
use crate::cluster::{ClusterError, Key, MountPath};

impl Store {
    /// Writes a mount's title, unless the mount is gone or somebody holds it in a newer epoch than the title's.
    pub(in crate::cluster) async fn put_title(
        &self,
        mount: &MountPath,
        epoch: i64,
        value: &[u8],
    ) -> Result<(), ClusterError> {
        let exists = Compare::version(Key::Mount(mount.clone()).to_string(), CompareOp::Greater, 0);
        // A key that is not there has revision 0: between two masters the last title still counts.
        let master = Key::Master(mount.clone()).to_string();
        let newest = Compare::create_revision(master, CompareOp::Less, epoch.saturating_add(1));
        let put = TxnOp::put(Key::Title(mount.clone()).to_string(), value, None);
        self.commit(Txn::new().when([exists, newest]).and_then([put])).await.map(drop)
    }

    /// Deletes a mount and its title. False if there was no such mount.
    pub(in crate::cluster) async fn delete_with_title(
        &self,
        mount: &MountPath,
    ) -> Result<bool, ClusterError> {
        let key = Key::Mount(mount.clone()).to_string();
        let exists = Compare::version(key.as_str(), CompareOp::Greater, 0);
        let title = Key::Title(mount.clone()).to_string();
        let deletes = [TxnOp::delete(key, None), TxnOp::delete(title, None)];
        let asked = self.commit(Txn::new().when([exists]).and_then(deletes)).await?;
        // Asked more than once, the mount may have been there the first time. It is gone, as it should be.
        Ok(asked.answer.succeeded() || asked.repeated)
    }
}
