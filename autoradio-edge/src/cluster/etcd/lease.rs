//! What stands in etcd only as long as a lease: records of nodes, and claims.

use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};

use super::Store;
use crate::cluster::ClusterError;

impl Store {
    /// Writes a key that goes when the lease ends.
    pub(in crate::cluster) async fn put_leased(
        &self,
        key: &str,
        value: &[u8],
        lease: i64,
    ) -> Result<(), ClusterError> {
        let options = PutOptions::new().with_lease(lease);
        self.call(|mut client| {
            let options = options.clone();
            async move { client.put(key, value, Some(options)).await }
        })
        .await
        .map(drop)
    }

    /// For each (`guard`, `key`): writes `value` under the lease if `guard` exists and `key` does not.
    ///
    /// One transaction of independent halves; the answer is how many were written.
    pub(in crate::cluster) async fn claim(
        &self,
        keys: &[(String, String)],
        value: &[u8],
        lease: i64,
    ) -> Result<usize, ClusterError> {
        let claim = |(guard, key): &(String, String)| {
            let unclaimed = Compare::version(key.as_str(), CompareOp::Equal, 0);
            let wanted = Compare::version(guard.as_str(), CompareOp::Greater, 0);
            let put = TxnOp::put(key.as_str(), value, Some(PutOptions::new().with_lease(lease)));
            TxnOp::txn(Txn::new().when([unclaimed, wanted]).and_then([put]))
        };
        self.each(keys.iter().map(claim).collect()).await
    }

    /// Brings those of `keys` that hold `value` under the lease. They keep their create revisions.
    pub(in crate::cluster) async fn adopt(
        &self,
        keys: &[String],
        value: &[u8],
        lease: i64,
    ) -> Result<usize, ClusterError> {
        let adopt = |key: &String| {
            let ours = Compare::value(key.as_str(), CompareOp::Equal, value);
            let put = TxnOp::put(key.as_str(), value, Some(PutOptions::new().with_lease(lease)));
            TxnOp::txn(Txn::new().when([ours]).and_then([put]))
        };
        self.each(keys.iter().map(adopt).collect()).await
    }

    /// For each (`guard`, `key`): deletes `key` if `guard` does not exist and `key` is written under the lease.
    pub(in crate::cluster) async fn give_back(
        &self,
        keys: &[(String, String)],
        lease: i64,
    ) -> Result<usize, ClusterError> {
        let give_back = |(guard, key): &(String, String)| {
            let unwanted = Compare::version(guard.as_str(), CompareOp::Equal, 0);
            let mine = Compare::lease(key.as_str(), CompareOp::Equal, lease);
            let delete = TxnOp::delete(key.as_str(), None);
            TxnOp::txn(Txn::new().when([unwanted, mine]).and_then([delete]))
        };
        self.each(keys.iter().map(give_back).collect()).await
    }

    /// A new lease of `ttl_s` seconds.
    pub(in crate::cluster) async fn grant(&self, ttl_s: i64) -> Result<i64, ClusterError> {
        let answer =
            self.call(|mut client| async move { client.lease_grant(ttl_s, None).await }).await?;
        Ok(answer.id())
    }

    /// Extends a lease by its full time; [`ClusterError::LeaseLost`] if it is over.
    pub(in crate::cluster) async fn keep_alive(&self, lease: i64) -> Result<(), ClusterError> {
        // A stream of its own for each time: nothing to mend when one breaks, and it is once a second.
        self.call(|mut client| async move { client.lease_keep_alive(lease).await }).await.map(drop)
    }

    /// Ends a lease, and with it every key under it.
    pub(in crate::cluster) async fn revoke(&self, lease: i64) -> Result<(), ClusterError> {
        let ended = self.call(|mut client| async move { client.lease_revoke(lease).await }).await;
        match ended {
            // Over already: by itself, or by the same question when its answer got lost.
            Err(ClusterError::LeaseLost) => Ok(()),
            ended => ended.map(drop),
        }
    }
}
