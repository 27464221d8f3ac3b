//! Speaks to etcd: keys, transactions, watches; leases in `etcd/lease.rs`. Nothing else knows the client library.

mod batch;
mod lease;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, Error, EventType, GetOptions, KeyValue, Txn, TxnOp,
    TxnOpResponse, WatchOptions, WatchStream,
};

pub(super) use batch::KeyChange;

use super::{ClusterError, Event, PREFIX};

/// Records fetched at once while listing.
const PAGE_RECORDS: i64 = 500;
/// Largest answer taken from etcd, in bytes: a page of records of the greatest length fits.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Pause before an endpoint that could not be dialled is tried again, or the next one.
const DIAL_PAUSE: Duration = Duration::from_millis(50);
/// Silence on a connection after which it is tested, and time for the answer. etcd forbids tests below 5 s.
const CONNECTION_TEST: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(3));
/// gRPC status codes (grpc.io, "Status codes and their use in gRPC").
const CODE_NOT_FOUND: i32 = 5;
const CODE_OUT_OF_RANGE: i32 = 11;
const CODES_OF_SILENCE: [i32; 4] = [1, 2, 4, 14];

/// A connection to etcd. Cheap to clone; all clones share it.
#[derive(Clone)]
pub struct Store {
    client: Client,
    endpoints: Arc<[String]>,
    timeout: Duration,
}

/// A key's value and the revision of its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) bytes: Vec<u8>,
    pub(super) mod_revision: i64,
}

/// Changes of all our keys from a revision on.
pub(super) struct Watch {
    store: Store,
    stream: WatchStream,
}

impl Store {
    /// Connects to etcd and asks it one thing, so that a wrong address shows here and not later.
    ///
    /// `endpoints` are URLs of members of one cluster; `timeout` bounds this and every later question.
    pub async fn connect(endpoints: &[String], timeout: Duration) -> Result<Self, ClusterError> {
        let refused = |endpoint: &str, reason: String| ClusterError::Endpoint {
            endpoint: endpoint.to_owned(),
            reason,
        };
        if endpoints.is_empty() {
            return Err(refused("", "no endpoint given".to_owned()));
        }
        if let Some(wrong) = endpoints.iter().find(|url| !url.starts_with("http://")) {
            return Err(refused(wrong, "not an http:// URL".to_owned()));
        }
        let (interval, answer) = CONNECTION_TEST;
        let options = ConnectOptions::new()
            .with_connect_timeout(timeout)
            .with_keep_alive(interval, answer)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        let client = Client::connect(endpoints, Some(options)).await;
        let store = Self {
            client: client.map_err(|error| refused(&endpoints.join(","), error.to_string()))?,
            endpoints: endpoints.into(),
            timeout,
        };
        store.count(PREFIX).await?;
        Ok(store)
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
        let txn = Txn::new()
            .when([Compare::version(key, CompareOp::Equal, 0)])
            .and_then([TxnOp::put(key, value, None)]);
        self.commit(txn).await
    }

    /// Writes a key that has not changed since `mod_revision`. False if it has.
    pub(super) async fn replace(
        &self,
        key: &str,
        value: &[u8],
        mod_revision: i64,
    ) -> Result<bool, ClusterError> {
        let txn = Txn::new()
            .when([Compare::mod_revision(key, CompareOp::Equal, mod_revision)])
            .and_then([TxnOp::put(key, value, None)]);
        self.commit(txn).await
    }

    /// Writes a key, whatever stood there and under whatever lease.
    pub(super) async fn put(&self, key: &str, value: &[u8]) -> Result<(), ClusterError> {
        self.call(|mut client| async move { client.put(key, value, None).await }).await.map(drop)
    }

    /// Deletes a key. False if it did not exist.
    pub(super) async fn delete(&self, key: &str) -> Result<bool, ClusterError> {
        let answer = self.call(|mut client| async move { client.delete(key, None).await }).await?;
        Ok(answer.deleted() > 0)
    }

    /// Follows every change of our keys from `revision` on.
    pub(super) async fn watch(&self, revision: i64) -> Result<Watch, ClusterError> {
        let options = WatchOptions::new().with_prefix().with_start_revision(revision);
        let stream = self
            .call(|client| {
                let options = options.clone();
                async move {
                    let watch = client.watch_client();
                    watch
                        .max_decoding_message_size(ANSWER_BYTES_MAX)
                        .watch(PREFIX, Some(options))
                        .await
                }
            })
            .await?;
        let store = self.clone();
        Ok(Watch { store, stream })
    }

    async fn commit(&self, txn: Txn) -> Result<bool, ClusterError> {
        let answer = self
            .call(|mut client| {
                let txn = txn.clone();
                async move { client.txn(txn).await }
            })
            .await?;
        Ok(answer.succeeded())
    }

    async fn each(&self, halves: Vec<TxnOp>) -> Result<usize, ClusterError> {
        let txn = Txn::new().and_then(halves);
        let answer = self
            .call(|mut client| {
                let txn = txn.clone();
                async move { client.txn(txn).await }
            })
            .await?;
        let done =
            |half: &TxnOpResponse| matches!(half, TxnOpResponse::Txn(txn) if txn.succeeded());
        Ok(answer.op_responses().iter().filter(|half| done(half)).count())
    }

    /// Asks etcd, within the timeout. What never left this machine is asked again: of several endpoints one may be
    /// down, and the client library picks them in turn.
    async fn call<Answer, Asked>(
        &self,
        ask: impl Fn(Client) -> Asked,
    ) -> Result<Answer, ClusterError>
    where
        Asked: Future<Output = Result<Answer, Error>>,
    {
        // On the heap: the client library's futures are large, and this is part of every other one.
        let asking = Box::pin(async {
            let mut dials_left = 4 * self.endpoints.len();
            loop {
                match ask(self.client.clone()).await {
                    Err(error) if dials_left > 0 && never_sent(&error) => dials_left -= 1,
                    answer => return answer,
                }
                tokio::time::sleep(DIAL_PAUSE).await;
            }
        });
        match tokio::time::timeout(self.timeout, asking).await {
            Ok(answer) => answer.map_err(|error| self.explain(&error)),
            Err(_) => {
                Err(self.unreachable(format!("no answer in {} ms", self.timeout.as_millis())))
            }
        }
    }

    fn unreachable(&self, reason: String) -> ClusterError {
        ClusterError::Unreachable { endpoints: self.endpoints.join(","), reason }
    }

    fn explain(&self, error: &Error) -> ClusterError {
        let (code, reason) = match error {
            Error::GRpcStatus(status) => (status.code() as i32, root_cause(status)),
            Error::LeaseKeepAliveError(reason) if reason.contains("not found") => {
                return ClusterError::LeaseLost;
            }
            other => return self.unreachable(root_cause(other)),
        };
        match code {
            CODE_NOT_FOUND if reason.contains("lease") => ClusterError::LeaseLost,
            CODE_OUT_OF_RANGE if reason.contains("compacted") => ClusterError::Compacted,
            code if CODES_OF_SILENCE.contains(&code) => self.unreachable(reason),
            _ => ClusterError::Refused { endpoints: self.endpoints.join(","), reason },
        }
    }
}

impl Watch {
    /// The next changes, in order; all changes of one revision come together. May be empty.
    pub(super) async fn next(&mut self) -> Result<Vec<Event>, ClusterError> {
        let message = self.stream.message().await;
        let answer = message
            .map_err(|error| self.store.explain(&error))?
            .ok_or_else(|| self.store.unreachable("the watch ended".to_owned()))?;
        if answer.compact_revision() > 0 {
            return Err(ClusterError::Compacted);
        }
        if answer.canceled() {
            return Err(self.store.unreachable(answer.cancel_reason().to_owned()));
        }
        let events = answer.events().iter();
        Ok(events
            .filter_map(|event| {
                let kv = event.kv()?;
                Some(match event.event_type() {
                    EventType::Put => put_event(kv),
                    EventType::Delete => {
                        Event::Delete { key: kv.key().to_owned(), mod_revision: kv.mod_revision() }
                    }
                })
            })
            .collect())
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

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// The innermost cause: "Connection refused" instead of "transport error".
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let innermost = causes(error).last().unwrap_or(error);
    // A status prints its code, message and metadata; its quoted message alone is for people.
    let text = innermost.to_string();
    let message = text.split_once("message: \"").and_then(|(_, rest)| rest.split_once('"'));
    message.map_or_else(|| text.clone(), |(message, _)| message.to_owned())
}

/// Whether dialling failed, so that etcd cannot have seen the question.
fn never_sent(error: &Error) -> bool {
    let Error::GRpcStatus(status) = error else {
        return false;
    };
    causes(status).filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|cause| {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
        matches!(cause.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
    })
}
