//! One connection to each endpoint, and the turn in which they are asked.
//!
//! A question goes to the first endpoint that is not known to fail. One that is silent, unreachable or without a leader
//! is marked, and the question goes on to the next within the same time. What is marked is asked in the background
//! until it answers; then questions come back to it, since the first endpoint is the one on this host.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use etcd_client::{Client, Error, GetOptions};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use super::access::{Dialer, EtcdAccess};
use super::endpoints::Endpoints;
use super::failure::Failure;
use super::{ClusterError, PREFIX};
use crate::clock;

/// Pause before all endpoints are asked once more.
const ROUND_PAUSE: Duration = Duration::from_millis(50);
/// Rounds after which endpoints that refuse to be dialled are given up: one that restarts has come by then.
const DIAL_ROUNDS: u32 = 4;
/// How often endpoints that fail are asked whether they are well again, and the longest wait for their answer.
const PROBE_PACE: Duration = Duration::from_secs(1);
/// How often the cluster is asked for its members: while all is well, and while an endpoint fails.
const MEMBERS_PACE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(5));

/// Connections to all endpoints.
pub(super) struct Connection {
    dialer: Dialer,
    given: usize,
    find_members: Option<String>,
    endpoints: Mutex<Endpoints<Client>>,
    /// Who answered when it was asked for last; 0 if never.
    cluster_id: AtomicU64,
    /// Counts what was learnt about endpoints.
    news: watch::Sender<u64>,
}

/// An answer, and what its reader should know.
pub(super) struct Answered<Answer> {
    pub(super) answer: Answer,
    /// Who gave it.
    pub(super) url: String,
    /// The question was sent before, and nobody knows whether it was carried out: a write may meet its own traces.
    pub(super) repeated: bool,
}

impl Connection {
    /// Prepares the connections. Nothing is dialled before the first question.
    pub(super) async fn new(
        access: &EtcdAccess,
        dial_max: Duration,
    ) -> Result<Arc<Self>, ClusterError> {
        if access.endpoints.is_empty() {
            let reason = "no endpoint given".to_owned();
            return Err(ClusterError::Endpoint { endpoint: String::new(), reason });
        }
        let dialer = Dialer::new(access, dial_max)?;
        let mut endpoints = Vec::new();
        for url in &access.endpoints {
            endpoints.push((url.clone(), dialer.connect(url).await?));
        }
        let tended = endpoints.len() > 1 || access.find_members.is_some();
        let connection = Arc::new(Self {
            dialer,
            // Members come and go; only the first endpoint is this host's own, or a way in.
            given: if access.find_members.is_some() { 1 } else { endpoints.len() },
            find_members: access.find_members.clone(),
            endpoints: Mutex::new(Endpoints::new(endpoints)),
            cluster_id: AtomicU64::new(0),
            news: watch::Sender::new(0),
        });
        if tended {
            tokio::spawn(tend(Arc::downgrade(&connection)));
        }
        Ok(connection)
    }

    /// Asks until one endpoint answers, within `within`.
    pub(super) async fn ask<Answer, Asked>(
        &self,
        within: Duration,
        ask: impl Fn(Client) -> Asked,
    ) -> Result<Answered<Answer>, ClusterError>
    where
        Asked: Future<Output = Result<Answer, Error>>,
    {
        let until = clock::now() + within;
        let mut repeated = false;
        let mut rounds = 0;
        let mut failure: Option<Failure> = None;
        loop {
            let turn = self.endpoints().in_turn();
            let mut dialled = false;
            for (index, (url, client)) in turn.iter().enumerate() {
                let left = until.saturating_duration_since(clock::now());
                if let Some(failure) = failure.take_if(|_| left < ROUND_PAUSE) {
                    // What was said before tells more than a silence that had no time.
                    return Err(failure.explain(&self.urls()));
                }
                // Half of what is left for all but the last: somebody answers in time, however many are silent.
                let share = if index + 1 == turn.len() { left } else { left / 2 };
                // On the heap: the client library's futures are large, and this is part of every other one.
                let error = match timeout(share, Box::pin(ask(client.clone()))).await {
                    Ok(Ok(answer)) => {
                        self.note_answer(url);
                        return Ok(Answered { answer, url: url.clone(), repeated });
                    }
                    Ok(Err(error)) => Failure::of(&error),
                    Err(_) => Failure::silence(share),
                };
                if error.is_answer() {
                    self.note_answer(url);
                    return Err(error.explain(url));
                }
                self.note_failure(url, &error);
                dialled |= !error.never_sent();
                repeated |= !error.never_sent();
                failure = Some(error);
            }
            rounds += 1;
            let over = clock::now() + ROUND_PAUSE >= until || (!dialled && rounds >= DIAL_ROUNDS);
            if let Some(failure) = failure.take_if(|_| over) {
                return Err(failure.explain(&self.urls()));
            }
            tokio::time::sleep(ROUND_PAUSE).await;
        }
    }

    /// Remembers the cluster. False if it is another one than before: a restored backup makes a new cluster.
    pub(super) fn is_cluster(&self, id: u64) -> bool {
        let before = self.cluster_id.swap(id, Ordering::AcqRel);
        before == 0 || before == id
    }

    /// All endpoints, for messages.
    pub(super) fn urls(&self) -> String {
        self.endpoints().urls()
    }

    /// Returns when what goes on at `url` should better go on elsewhere.
    pub(super) async fn outdone(&self, url: &str) {
        let mut news = self.news.subscribe();
        while !self.endpoints().is_outdone(url) {
            if news.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// A connection of its own to an endpoint, to ask this one and no other.
    pub(super) async fn client_of(&self, url: &str) -> Result<Client, ClusterError> {
        self.dialer.connect(url).await
    }

    fn endpoints(&self) -> MutexGuard<'_, Endpoints<Client>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_answer(&self, url: &str) {
        if self.endpoints().answered(url) {
            self.news.send_modify(|news| *news += 1);
            info!(endpoint = url, "etcd answers again");
        }
    }

    fn note_failure(&self, url: &str, failure: &Failure) {
        if self.endpoints().failed(url) {
            self.news.send_modify(|news| *news += 1);
            warn!(endpoint = url, reason = failure.reason(), "etcd does not answer");
        }
    }

    /// Asks those that fail whether they are well again: whether they can do what needs a leader. True if any fails.
    async fn probe(self: &Arc<Self>) -> bool {
        let failing = self.endpoints().failing();
        let mut asking = JoinSet::new();
        for (url, mut client) in failing {
            let connection = self.clone();
            asking.spawn(async move {
                let options = GetOptions::new().with_count_only();
                if let Ok(Ok(_)) = timeout(PROBE_PACE, client.get(PREFIX, Some(options))).await {
                    connection.note_answer(&url);
                }
            });
        }
        let any = !asking.is_empty();
        asking.join_all().await;
        any
    }

    /// Makes the cluster's members endpoints, but for our own, which is one already.
    async fn find_members(&self, own: &str) -> Result<(), ClusterError> {
        let list = |mut client: Client| async move { client.member_list().await };
        let members = self.ask(PROBE_PACE, list).await?.answer;
        let others = members.members().iter().filter(|member| member.name() != own);
        let found: Vec<String> =
            others.flat_map(|member| member.client_urls().iter().cloned()).collect();
        let missing = self.endpoints().missing(&found);
        let mut made = Vec::new();
        for url in missing {
            let client = self.dialer.connect(&url).await?;
            made.push((url, client));
        }
        self.endpoints().replace_found(self.given, &found, made);
        Ok(())
    }
}

/// Keeps what is known of the endpoints true, as long as somebody uses them.
async fn tend(connection: Weak<Connection>) {
    let mut ticks = tokio::time::interval(PROBE_PACE);
    let mut listed = None;
    let mut complained = false;
    loop {
        ticks.tick().await;
        let Some(connection) = connection.upgrade() else { return };
        let failing = connection.probe().await;
        let pace = if failing { MEMBERS_PACE.1 } else { MEMBERS_PACE.0 };
        let due = listed.is_none_or(|at| clock::now() >= at + pace);
        let Some(own) = connection.find_members.as_deref().filter(|_| due) else { continue };
        match connection.find_members(own).await {
            Ok(()) => {
                listed = Some(clock::now());
                complained = false;
            }
            Err(error) if !complained => {
                warn!(%error, "the members of the cluster are not known");
                complained = true;
            }
            Err(_) => {}
        }
    }
}
