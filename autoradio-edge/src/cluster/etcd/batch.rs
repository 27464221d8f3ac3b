//! Many independent changes in one transaction.

use etcd_client::{Compare, CompareOp, Txn, TxnOp};

use super::Store;
use crate::cluster::ClusterError;

/// Changes in one transaction; etcd takes 128 operations by default.
const CHANGES_PER_TRANSACTION: usize = 64;

/// One key, the revision it must still have (0: it must not exist), and its new value (`None`: it is deleted).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct KeyChange {
    pub(in crate::cluster) key: String,
    pub(in crate::cluster) mod_revision: i64,
    pub(in crate::cluster) value: Option<Vec<u8>>,
}

impl Store {
    /// Makes those of `changes` whose keys are as they were read; the answer is how many.
    pub(in crate::cluster) async fn change_each(
        &self,
        changes: &[KeyChange],
    ) -> Result<usize, ClusterError> {
        let change = |change: &KeyChange| {
            let KeyChange { key, mod_revision, value } = change;
            let as_read = Compare::mod_revision(key.as_str(), CompareOp::Equal, *mod_revision);
            let operation = match value {
                Some(value) => TxnOp::put(key.as_str(), value.as_slice(), None),
                None => TxnOp::delete(key.as_str(), None),
            };
            TxnOp::txn(Txn::new().when([as_read]).and_then([operation]))
        };
        let mut made = 0;
        for some in changes.chunks(CHANGES_PER_TRANSACTION) {
            made += self.each(some.iter().map(change).collect()).await?;
        }
        Ok(made)
    }
}
