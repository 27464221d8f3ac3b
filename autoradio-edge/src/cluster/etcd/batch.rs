//! Many independent changes in one transaction.

use etcd_client::{Compare, CompareOp, KeyValue, Txn, TxnOp, TxnOpResponse};

use super::Store;
use crate::cluster::ClusterError;

/// Changes in one transaction; etcd takes 128 operations by default.
const CHANGES_PER_TRANSACTION: usize = 64;

/// One key, the revision it must still have (0: it must not exist), and its new value (`None`: it is deleted, and what
/// hangs on it with it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct KeyChange {
    pub(in crate::cluster) key: String,
    pub(in crate::cluster) mod_revision: i64,
    pub(in crate::cluster) value: Option<Vec<u8>>,
    pub(in crate::cluster) deleted_with_it: Option<String>,
}

impl KeyChange {
    fn operations(&self) -> Vec<TxnOp> {
        let key = self.key.as_str();
        if let Some(value) = &self.value {
            return vec![TxnOp::put(key, value.as_slice(), None)];
        }
        let keys = std::iter::once(key).chain(self.deleted_with_it.as_deref());
        keys.map(|key| TxnOp::delete(key, None)).collect()
    }

    /// Whether an answer to the question what stands at the key shows the change made: by us, if we asked before.
    fn is_made(&self, half: &TxnOpResponse) -> bool {
        let TxnOpResponse::Get(found) = half else { return false };
        let stands = found.kvs().first().map(KeyValue::value);
        stands == self.value.as_deref()
    }
}

impl Store {
    /// Makes those of `changes` whose keys are as they were read; the answer is how many.
    pub(in crate::cluster) async fn change_each(
        &self,
        changes: &[KeyChange],
    ) -> Result<usize, ClusterError> {
        let half = |change: &KeyChange| {
            let key = change.key.as_str();
            let as_read = Compare::mod_revision(key, CompareOp::Equal, change.mod_revision);
            let look = TxnOp::get(key, None);
            TxnOp::txn(Txn::new().when([as_read]).and_then(change.operations()).or_else([look]))
        };
        let mut made = 0;
        for some in changes.chunks(CHANGES_PER_TRANSACTION) {
            let halves: Vec<TxnOp> = some.iter().map(half).collect();
            let asked = self.commit(Txn::new().and_then(halves)).await?;
            let halves = asked.answer.op_responses();
            let is_made = |(change, half): &(&KeyChange, &TxnOpResponse)| {
                let TxnOpResponse::Txn(txn) = half else { return false };
                let looks = txn.op_responses();
                txn.succeeded() || asked.repeated && looks.iter().any(|look| change.is_made(look))
            };
            made += some.iter().zip(&halves).filter(is_made).count();
        }
        Ok(made)
    }
}
