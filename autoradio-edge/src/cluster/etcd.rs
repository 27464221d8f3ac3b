//! Speaks to etcd: keys and transactions here, the rest in `etcd/`. Nothing else knows the client library.
//!
//! `access` says how etcd is reached, `connection` whom of several to ask, `failure` what errors mean; `watching` follows
//! changes, `lease` holds what lives with a node, `title` writes titles, `members` manages the members of the cluster.

mod access;
mod batch;
mod connection;
mod endpoints;
mod failure;
mod lease;
mod members;
mod title;
mod watching;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, Error, GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse, TxnResponse,
};

pub(super) use batch::KeyChange;

use super::{ClusterError, Event, PREFIX};
pub use access::{EtcdAccess, TlsFiles};
use connection::{Answered, Connection};
pub(super) use members::OwnStatus;

/// Records fetched at once while listing.
const PAGE_RECORDS: i64 = 500;
/// Largest answer taken from etcd, in bytes: a page of records of the greatest length fits.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A connection to etcd. Cheap to clone; all clones share it.
#[derive(Clone)]
pub struct Store {
    connection: Arc<Connection>,
    timeout: Duration,
}

/// A key's value and the revision of its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) bytes: Vec<u8>,
    pub(super) mod_revision: i64,
}

/// How far which cluster has come.
struct Newest {
    cluster_id: u64,
    revision: i64,
}

impl Store {
    /// Connects to etcd and asks it one thing, so that a wrong address shows here and not later.
    ///
    /// `timeout` bounds this and every later question, however many endpoints it takes.
    pub async fn connect(access: &EtcdAccess, timeout: Duration) -> Result<Self, ClusterError> {
        let store = Self::unasked(access, timeout).await?;
        let newest = store.newest().await?;
        store.connection.is_cluster(newest.cluster_id);
        Ok(store)
    }

    /// The same without the question, for an etcd that may not be able to answer it yet.
    pub(super) async fn unasked(
        access: &EtcdAccess,
        timeout: Duration,
    ) -> Result<Self, ClusterError> {
        Ok(Self { connection: Connection::new(access, timeout).await?, timeout })
    }

    /// The same connection, with another bound for every question.
    ///
    /// Sharing it matters: what one question learns about an endpoint, the others and the watch know at once.
    pub(super) fn with_timeout(&self, timeout: Duration) -> Self {
        Self { connection: self.connection.clone(), timeout }
    }

    /// Everything under `prefix`, as of one revision.
    pub(super) async fn list(&self, prefix: &str) -> Result<(i64, Vec<Event>), ClusterError> {
        let mut events = Vec::new();
        let mut revision = 0;
        let mut from = prefix.as_bytes().to_owned();
        let end = prefix_end(prefix);
        loop {
            let (at, page, more) = self.page(&from, &end, revision).await?;
            revision = at;
            if let Some(last) = page.last() {
                from = [last.key(), b"\0"].concat();
            }
            events.extend(page.iter().map(put_event));
            if !more {
                return Ok((revision, events));
            }
        }
    }

    async fn page(
        &self,
        from: &[u8],
        end: &[u8],
        revision: i64,
    ) -> Result<(i64, Vec<KeyValue>, bool), ClusterError> {
        let options =
            GetOptions::new().with_range(end).with_limit(PAGE_RECORDS).with_revision(revision);
        let mut answer = self
            .call(|client| {
                let (from, options) = (from.to_owned(), options.clone());
                async move {
                    let mut kv = client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX);
                    kv.get(from, Some(options)).await
                }
            })
            .await?;
        let at = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
        let more = answer.more();
        Ok((if revision == 0 { at } else { revision }, answer.take_kvs(), more))
    }

    /// What the cluster is, and its newest change.
    async fn newest(&self) -> Result<Newest, ClusterError> {
        let options = GetOptions::new().with_count_only();
        let answer = self
            .call(|mut client| {
                let options = options.clone();
                async move { client.get(PREFIX, Some(options)).await }
            })
            .await?;
        let header = answer.header();
        Ok(Newest {
            cluster_id: header.map_or(0, etcd_client::ResponseHeader::cluster_id),
            revision: header.map_or(0, etcd_client::ResponseHeader::revision),
        })
    }

    /// Number of keys under `prefix`.
    pub(super) async fn count(&self, prefix: &str) -> Result<usize, ClusterError> {
        let options = GetOptions::new().with_prefix().with_count_only();
        let answer = self
            .call(|mut client| {
                let options = options.clone();
                async move { client.get(prefix, Some(options)).await }
            })
            .await?;
        Ok(usize::try_from(answer.count()).unwrap_or(0))
    }

    /// The value of one key.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Value>, ClusterError> {
        let mut answer = self.call(|mut client| async move { client.get(key, None).await }).await?;
        Ok(answer
            .take_kvs()
            .pop()
            .map(|kv| Value { mod_revision: kv.mod_revision(), bytes: kv.into_key_value().1 }))
    }

    /// Writes a key that does not exist yet. False if it does.
    pub(super) async fn create(&self, key: &str, value: &[u8]) -> Result<bool, ClusterError> {
        self.put_if(Compare::version(key, CompareOp::Equal, 0), key, value).await
    }

    /// Writes a key that has not changed since `mod_revision`. False if it has.
    pub(super) async fn replace(
        &self,
        key: &str,
        value: &[u8],
        mod_revision: i64,
    ) -> Result<bool, ClusterError> {
        self.put_if(Compare::mod_revision(key, CompareOp::Equal, mod_revision), key, value).await
    }

    /// Writes a key, whatever stood there and under whatever lease.
    pub(super) async fn put(&self, key: &str, value: &[u8]) -> Result<(), ClusterError> {
        self.call(|mut client| async move { client.put(key, value, None).await }).await.map(drop)
    }

    /// Deletes a key. False if it did not exist.
    pub(super) async fn delete(&self, key: &str) -> Result<bool, ClusterError> {
        let asked = self.ask(|mut client| async move { client.delete(key, None).await }).await?;
        // Asked more than once, the key may have been there the first time. It is gone, as it should be.
        Ok(asked.answer.deleted() > 0 || asked.repeated)
    }

    /// Writes a key where the comparison holds. Asked more than once, it meets what it has itself written the first
    /// time: then too it has done what it should.
    async fn put_if(&self, when: Compare, key: &str, value: &[u8]) -> Result<bool, ClusterError> {
        let txn = Txn::new()
            .when([when])
            .and_then([TxnOp::put(key, value, None)])
            .or_else([TxnOp::get(key, None)]);
        let Answered { answer, repeated, .. } = self.commit(txn).await?;
        let stands = |half: &TxnOpResponse| matches!(half, TxnOpResponse::Get(get) if get.kvs().iter().any(|kv| kv.value() == value));
        Ok(answer.succeeded() || (repeated && answer.op_responses().iter().any(stands)))
    }

    async fn commit(&self, txn: Txn) -> Result<Answered<TxnResponse>, ClusterError> {
        self.ask(|mut client| {
            let txn = txn.clone();
            async move { client.txn(txn).await }
        })
        .await
    }

    async fn each(&self, halves: Vec<TxnOp>) -> Result<usize, ClusterError> {
        let answer = self.commit(Txn::new().and_then(halves)).await?.answer;
        let done =
            |half: &TxnOpResponse| matches!(half, TxnOpResponse::Txn(txn) if txn.succeeded());
        Ok(answer.op_responses().iter().filter(|half| done(half)).count())
    }

    /// Asks etcd, within the timeout. What `ask` does must be good to do twice: an answer may get lost.
    async fn call<Answer, Asked>(
        &self,
        ask: impl Fn(Client) -> Asked,
    ) -> Result<Answer, ClusterError>
    where
        Asked: Future<Output = Result<Answer, Error>>,
    {
        self.ask(ask).await.map(|asked| asked.answer)
    }

    /// The same, for questions to which it matters whether they were asked more than once.
    async fn ask<Answer, Asked>(
        &self,
        ask: impl Fn(Client) -> Asked,
    ) -> Result<Answered<Answer>, ClusterError>
    where
        Asked: Future<Output = Result<Answer, Error>>,
    {
        self.connection.ask(self.timeout, ask).await
    }
}

fn put_event(kv: &KeyValue) -> Event {
    Event::Put {
        key: kv.key().to_owned(),
        value: kv.value().to_owned(),
        create_revision: kv.create_revision(),
        mod_revision: kv.mod_revision(),
    }
}

/// First key after all that begin with `prefix`. Our prefixes end with a slash, so the last byte can grow by one.
fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_owned();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
