//! What stands in etcd only as long as a lease: records of nodes, and claims.

use std::time::Duration;

use etcd_client::{Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp};

use super::Store;
use crate::cluster::{ClusterError, PREFIX};

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

    /// For each of `keys`: deletes it if it is written under the lease.
    pub(in crate::cluster) async fn release(
        &self,
        keys: &[String],
        lease: i64,
    ) -> Result<usize, ClusterError> {
        let release = |key: &String| {
            let mine = Compare::lease(key.as_str(), CompareOp::Equal, lease);
            let delete = TxnOp::delete(key.as_str(), None);
            TxnOp::txn(Txn::new().when([mine]).and_then([delete]))
        };
        self.each(keys.iter().map(release).collect()).await
    }

    /// Writes a key under the lease if its last change is still the one at `mod_revision`; 0: if it does not exist.
    /// The revision of the change, `None` if somebody else was there first.
    pub(in crate::cluster) async fn put_leased_if(
        &self,
        key: &str,
        value: &[u8],
        lease: i64,
        mod_revision: i64,
    ) -> Result<Option<i64>, ClusterError> {
        let put = TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease)));
        let unchanged = Compare::mod_revision(key, CompareOp::Equal, mod_revision);
        let txn = Txn::new().when([unchanged]).and_then([put]);
        let answer = self
            .call(|mut client| {
                let txn = txn.clone();
                async move { client.txn(txn).await }
            })
            .await?;
        let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
        Ok(answer.succeeded().then_some(revision))
    }

    /// A key's value and the lease it is written under, 0 without one.
    pub(in crate::cluster) async fn leased(
        &self,
        key: &str,
    ) -> Result<Option<(Vec<u8>, i64)>, ClusterError> {
        let mut answer = self.call(|mut client| async move { client.get(key, None).await }).await?;
        let found = answer.take_kvs().pop();
        Ok(found.map(|kv| {
            let lease = kv.lease();
            (kv.into_key_value().1, lease)
        }))
    }

    /// How long a lease lives on if nobody extends it; nothing if it is over.
    pub(in crate::cluster) async fn lease_left(
        &self,
        lease: i64,
    ) -> Result<Duration, ClusterError> {
        let answer = self
            .call(|mut client| async move { client.lease_time_to_live(lease, None).await })
            .await;
        match answer {
            // etcd says -1 of one that is over.
            Ok(answer) => Ok(Duration::from_secs(u64::try_from(answer.ttl()).unwrap_or(0))),
            Err(ClusterError::LeaseLost) => Ok(Duration::ZERO),
            Err(error) => Err(error),
        }
    }

    /// A new lease of `ttl_s` seconds, and the time to live that etcd gave it.
    pub(in crate::cluster) async fn grant(
        &self,
        ttl_s: i64,
    ) -> Result<(i64, Duration), ClusterError> {
        let answer =
            self.call(|mut client| async move { client.lease_grant(ttl_s, None).await }).await?;
        let granted_s = u64::try_from(answer.ttl()).unwrap_or(0);
        Ok((answer.id(), Duration::from_secs(granted_s)))
    }

    /// Extends a lease by its full time; [`ClusterError::LeaseLost`] if it is over. Success proves a quorum.
    ///
    /// A leader that has lost its peers goes on extending leases for up to an election's time, which other nodes must not
    /// take for a quorum; a read that is ordered with all writes is answered by a quorum only.
    pub(in crate::cluster) async fn keep_alive(&self, lease: i64) -> Result<(), ClusterError> {
        // A stream of its own for each time: nothing to mend when one breaks, and it is once a second.
        self.call(|mut client| async move {
            client.lease_keep_alive(lease).await?;
            client.get(PREFIX, Some(GetOptions::new().with_count_only())).await
        })
        .await
        .map(drop)
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
