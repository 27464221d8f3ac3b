//! Who may listen: the front asks here about listeners of mounts that are not open to all, and so does this node's Icecast.
//!
//! A mount has a list of users, or a URL whose program is asked. The program is asked about every connection, a few at one time; what it
//! says is not remembered, since it may count. It is told of who has left, unless too much waits to be told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use autoradio_common::limits::{
    HTTP_AUTH_ASKING_MAX, HTTP_AUTH_MS_MAX, HTTP_AUTH_TOLD_LATE_MS_MAX, HTTP_AUTH_WAITING_MAX,
    HTTP_HEAD_BYTES_MAX,
};
use bytes::BytesMut;
use subtle::ConstantTimeEq;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::sniff::Sniffed;
use crate::clock;
use crate::cluster::{HttpUrl, MountRecord};
use crate::http::auth::{Credentials, Verifier};
use crate::http::listener_auth::{Visitor, request};
use crate::http::route::{parameters, record_of};
use crate::http::{FrontError, allows_listener};
use crate::icecast::RELAY_USER;
use crate::placement::Placement;

/// Judges listeners, and tells of those who have left.
pub struct ListenerGate {
    /// Name and port that programs know this radio by.
    server: (String, u16),
    relay_password: String,
    placements: watch::Receiver<Arc<Placement>>,
    verifier: Verifier,
    asking: Semaphore,
    next_client: AtomicU64,
    leaving: mpsc::Sender<Departure>,
    departures: Mutex<Option<mpsc::Receiver<Departure>>>,
}

/// Somebody has left whom a program let in.
struct Departure {
    url: Arc<HttpUrl>,
    form: String,
}

/// A listener whom a program let in: when this goes, the program is told.
pub(crate) struct Leave {
    visitor: Visitor,
    begun: Instant,
    url: Arc<HttpUrl>,
    server: (String, u16),
    leaving: mpsc::Sender<Departure>,
}

impl std::fmt::Debug for Leave {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Leave").field("client", &self.visitor.client).finish_non_exhaustive()
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        let seconds = clock::now().saturating_duration_since(self.begun).as_secs();
        let (server, port) = &self.server;
        let form = self.visitor.remove_form(server, *port, seconds);
        send(&self.leaving, Departure { url: self.url.clone(), form });
    }
}

fn send(leaving: &mpsc::Sender<Departure>, departure: Departure) {
    if leaving.try_send(departure).is_err() {
        metrics::counter!("autoradio_http_listener_departures_dropped_total").increment(1);
    }
}

impl ListenerGate {
    /// A gate that calls this radio by name and port `server`; `relay_password` is that between the cluster's Icecasts.
    pub fn new(
        server: (String, u16),
        relay_password: String,
        placements: watch::Receiver<Arc<Placement>>,
    ) -> Self {
        let (leaving, departures) = mpsc::channel(HTTP_AUTH_WAITING_MAX);
        Self {
            server,
            relay_password,
            placements,
            verifier: Verifier::new(),
            asking: Semaphore::new(HTTP_AUTH_ASKING_MAX),
            next_client: AtomicU64::new(1),
            leaving,
            departures: Mutex::new(Some(departures)),
        }
    }

    /// Lets a listener of a mount in, or not. What is returned lives as long as they listen.
    pub(super) async fn admit(
        &self,
        request: &Sniffed,
        record: &MountRecord,
    ) -> Result<Option<Box<Leave>>, FrontError> {
        if !record.asks_listeners() {
            return Ok(None);
        }
        let admitted = self.judge(request, record).await;
        let verdict = match &admitted {
            Ok(_) => "granted",
            Err(FrontError::ListenerUnauthorized) => "denied",
            Err(_) => "not_judged",
        };
        metrics::counter!("autoradio_http_listener_verdicts_total", "verdict" => verdict)
            .increment(1);
        admitted
    }

    async fn judge(
        &self,
        request: &Sniffed,
        record: &MountRecord,
    ) -> Result<Option<Box<Leave>>, FrontError> {
        if record.listener_users.is_some() {
            self.check_user(Credentials::of(&request.head), record).await?;
            return Ok(None);
        }
        let Some(add_url) = &record.listener_add_url else { return Ok(None) };
        let client = self.next_client.fetch_add(1, Ordering::Relaxed);
        let visitor = Visitor::of(&request.head, &record.path, request.from, client);
        let (server, port) = &self.server;
        self.ask(add_url, &visitor.add_form(server, *port)).await?;
        let remove_url = record.listener_remove_url.as_ref().and_then(|url| url.parse().ok());
        Ok(remove_url.map(|url| {
            let (server, leaving) = (self.server.clone(), self.leaving.clone());
            Box::new(Leave { visitor, begun: clock::now(), url: Arc::new(url), server, leaving })
        }))
    }

    async fn check_user(
        &self,
        given: Option<Credentials>,
        record: &MountRecord,
    ) -> Result<(), FrontError> {
        let (Some(given), Some(users)) = (given, &record.listener_users) else {
            return Err(FrontError::ListenerUnauthorized);
        };
        let right = self.verifier.knows_listener(given, &record.path, users).await?;
        right.then_some(()).ok_or(FrontError::ListenerUnauthorized)
    }

    /// Asks the program at `url`.
    async fn ask(&self, url: &str, form: &str) -> Result<(), FrontError> {
        let asking = async {
            let _turn = self.asking.acquire().await.map_err(|error| error.to_string())?;
            let url: HttpUrl = url.parse().map_err(|error| format!("{error}"))?;
            post(&url, form).await.map_err(|error| error.to_string())
        };
        let longest = Duration::from_millis(HTTP_AUTH_MS_MAX);
        let asked = tokio::time::timeout(longest, asking)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {HTTP_AUTH_MS_MAX} ms")));
        match asked {
            Ok(true) => Ok(()),
            Ok(false) => Err(FrontError::ListenerUnauthorized),
            Err(reason) => {
                debug!(%reason, "a listener could not be judged");
                Err(FrontError::ListenersNotJudged { reason })
            }
        }
    }

    /// Judges what this node's Icecast asks, or hears what it tells, about a listener who came straight to it: `form` is as it was posted.
    ///
    /// The cluster's own nodes come with the relays' password; what they carry on, their fronts judge.
    pub async fn judge_direct(&self, form: &str) -> Result<(), FrontError> {
        let told = parameters(form, &["action", "mount", "user", "pass"]);
        let of = |name: &str| {
            let value =
                told.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
            String::from_utf8(value.unwrap_or_default()).unwrap_or_default()
        };
        let record = self.record(&of("mount"))?;
        let given = Credentials::new(&of("user"), &of("pass"));
        let inner: bool = given.password.as_bytes().ct_eq(self.relay_password.as_bytes()).into();
        let relay = inner && given.user == RELAY_USER;
        match (&record.listener_add_url, of("action").as_str()) {
            _ if relay => Ok(()),
            (_, "listener_remove") => {
                let url = record.listener_remove_url.as_ref().and_then(|url| url.parse().ok());
                if let Some(url) = url {
                    self.tell(Arc::new(url), form.to_owned());
                }
                Ok(())
            }
            (Some(url), _) if record.listener_users.is_none() => self.ask(url, form).await,
            _ => self.check_user(Some(given), &record).await,
        }
    }

    /// The mount that Icecast means; it appends the query of a listener's request.
    fn record(&self, mount: &str) -> Result<Arc<MountRecord>, FrontError> {
        let placement = self.placements.borrow();
        let known = |path: &str| record_of(&placement, &path.parse().ok()?).ok();
        let bare = || known(mount.split_once('?')?.0);
        known(mount)
            .or_else(bare)
            .ok_or_else(|| FrontError::MountUnknown { path: mount.to_owned() })
    }

    /// Has a program told that somebody has left.
    fn tell(&self, url: Arc<HttpUrl>, form: String) {
        send(&self.leaving, Departure { url, form });
    }

    /// Tells of who has left until `cancel`, and for a moment longer of those who leave then. Only the first to call it does.
    pub(super) async fn tell_departures(&self, cancel: &CancellationToken) {
        let departures = self.departures.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut departures) = departures else { return };
        let late = async {
            cancel.cancelled().await;
            tokio::time::sleep(Duration::from_millis(HTTP_AUTH_TOLD_LATE_MS_MAX)).await;
        };
        let telling = async {
            let mut tasks = tokio::task::JoinSet::new();
            while let Some(departure) = departures.recv().await {
                while tasks.len() >= HTTP_AUTH_ASKING_MAX {
                    tasks.join_next().await;
                }
                while tasks.try_join_next().is_some() {}
                tasks.spawn(tell(departure));
            }
        };
        tokio::select! {
            () = telling => {}
            () = late => {}
        }
    }
}

async fn tell(departure: Departure) {
    let Departure { url, form } = departure;
    let longest = Duration::from_millis(HTTP_AUTH_MS_MAX);
    let told = tokio::time::timeout(longest, post(&url, &form)).await;
    if !matches!(told, Ok(Ok(_))) {
        metrics::counter!("autoradio_http_listener_departures_dropped_total").increment(1);
        debug!(url = url.authority(), "nobody could be told that a listener has left");
    }
}

/// Posts a form, and whether the answer lets a listener in.
async fn post(url: &HttpUrl, form: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
    stream.write_all(request(url, form).as_bytes()).await?;
    let mut answer = BytesMut::new();
    while answer.len() < HTTP_HEAD_BYTES_MAX {
        let read = stream.read_buf(&mut answer).await?;
        if let Some(allowed) = allows_listener(&answer) {
            return Ok(allowed);
        }
        if read == 0 {
            break;
        }
    }
    Err(std::io::Error::other("the answer is no HTTP"))
}
