//! The front's sockets: listens, reads heads, hands every request to the file that serves it, and stops cleanly.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use autoradio_common::limits::{
    HTTP_HEAD_MS_MAX, HTTP_KEPT_MS_MAX, HTTP_LINGER_MS_MAX, HTTP_STALL_MS_MAX, HTTP_STOP_MS_MAX,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::desk::SourceDesk;
use super::door::{Place, Room, accept, listen};
use super::listener_auth::ListenerGate;
use super::sniff::{Manner, Opening, Sniffed, sniff};
use super::{admin, evict, listener, metadata, pages, peers, shoutcast, source, tcp};
use crate::clock;
use crate::cluster::{Capacity, IcecastSecrets, MountPath, NodeName, StandingReader, TitleWriter};
use crate::http::auth::Verifier;
use crate::http::reply::Reply;
use crate::http::route::{Route, master_of, route};
use crate::http::status_json::About;
use crate::http::{FrontError, FrontStats, HttpVersion, SourceGate, TrustedProxies};
use crate::peer::OwnState;
use crate::placement::{Ledger, Placement};
use crate::stream::{Ended, Hub, HubSettings};

/// What the front has to know of its node and cluster.
#[derive(Clone)]
pub struct FrontSettings {
    /// The zone, which is the name in playlists.
    pub domain: String,
    /// This node.
    pub node: NodeName,
    /// Ports as clients see them; playlists name the first unless 80 is among them.
    pub ports: Vec<u16>,
    /// Passwords towards the cluster's Icecasts.
    pub secrets: IcecastSecrets,
    /// Clients at one time that the process has descriptors for. [`HTTP_CONNECTIONS_MAX`] holds above it.
    pub connections_max: usize,
    /// Connections that one address may have, 0: any number.
    pub connections_per_address: u32,
    /// Whether this node may go on as master of what it holds.
    pub standing: StandingReader,
    /// What peers are answered.
    pub own_state: OwnState,
    /// Whether listeners are served here; else they are sent to an Icecast.
    pub icecast_proxy: bool,
    /// What this node can carry at most, the reserve of its record included.
    pub capacity_whole: Capacity,
    /// What this node has assigned to whom.
    pub ledger: Arc<Mutex<Ledger>>,
    /// This node's own Icecast.
    pub icecast: SocketAddr,
    /// What that Icecast asks about its sources.
    pub gate: Arc<SourceGate>,
    /// Keeps the titles that sources set.
    pub titles: TitleWriter,
    /// Where listeners that have gone are told.
    pub ended: Option<mpsc::Sender<Ended>>,
    /// Who may listen to mounts that are not open to all.
    pub listener_gate: Arc<ListenerGate>,
    /// Proxies that may say whose connection theirs is.
    pub trusted_proxies: TrustedProxies,
}

/// The front's listening sockets, open and not served yet.
#[derive(Debug)]
pub struct Front {
    listeners: Vec<TcpListener>,
    /// Where `SHOUTcast` sources may come, too.
    shoutcast: Option<TcpListener>,
}

/// What every connection shares.
pub(super) struct Shared {
    pub(super) settings: FrontSettings,
    pub(super) placements: watch::Receiver<Arc<Placement>>,
    pub(super) stats: Arc<FrontStats>,
    pub(super) desk: Arc<SourceDesk>,
    pub(super) hub: Arc<Hub>,
    pub(super) room: Room,
    pub(super) cancel: CancellationToken,
    pub(super) verifier: Verifier,
    pub(super) admin_verifier: Verifier,
    /// The status that was made last, and of which placement.
    pub(super) status_made: Mutex<Option<(Arc<Placement>, String)>>,
    /// When this front began, in seconds of Unix time.
    since_unix_s: u64,
}

impl Front {
    /// Opens all ports, on IPv6 and IPv4. Call it inside a tokio runtime; port 0 takes any free port.
    pub fn bind(ports: &[u16]) -> Result<Self, FrontError> {
        let open = |&port: &u16| listen(port).map_err(|source| FrontError::Port { port, source });
        let listeners = ports.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { listeners, shoutcast: None })
    }

    /// Opens a port for `SHOUTcast` sources as well; it takes everything else, too.
    pub fn with_shoutcast(mut self, port: u16) -> Result<Self, FrontError> {
        let opened = listen(port).map_err(|source| FrontError::ShoutcastPort { port, source })?;
        self.shoutcast = Some(opened);
        Ok(self)
    }

    /// The port for `SHOUTcast` sources.
    pub fn shoutcast_port(&self) -> Option<u16> {
        Some(self.shoutcast.as_ref()?.local_addr().ok()?.port())
    }

    /// The ports that are open, in the order they were asked for.
    pub fn local_ports(&self) -> Vec<u16> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .map(|address| address.port())
            .collect()
    }

    /// Serves until `cancel`: then accepts nothing more, ends streams at once and lets short answers finish.
    pub async fn run(
        self,
        settings: FrontSettings,
        placement: watch::Receiver<Arc<Placement>>,
        stats: Arc<FrontStats>,
        cancel: CancellationToken,
    ) {
        info!(ports = ?self.local_ports(), "front open");
        let hub_settings = HubSettings {
            node: settings.node.clone(),
            icecast: settings.icecast,
            secrets: settings.secrets.clone(),
            ended: settings.ended.clone(),
        };
        let shared = Arc::new(Shared {
            hub: Hub::start(hub_settings, placement.clone()),
            room: Room::of(&settings),
            settings,
            placements: placement,
            stats,
            desk: Arc::default(),
            cancel,
            verifier: Verifier::new(),
            // Sources and the operator do not wait for each other's wrong passwords.
            admin_verifier: Verifier::scarce(),
            status_made: Mutex::default(),
            since_unix_s: clock::unix_s(),
        });
        let connections = TaskTracker::new();
        let accepting = TaskTracker::new();
        let http = self.listeners.into_iter().map(|listener| (listener, false));
        for (listener, logins) in http.chain(self.shoutcast.map(|listener| (listener, true))) {
            let (shared, connections) = (shared.clone(), connections.clone());
            accepting.spawn(accept((listener, logins), shared, connections));
        }
        let told = shared.clone();
        accepting.spawn(async move {
            told.settings.listener_gate.tell_departures(&told.cancel).await;
        });
        accepting.spawn(forget_deleted_mounts(shared.clone()));
        let counting = shared.clone();
        accepting.spawn(async move { admin::count_unique(&counting).await });
        let evicting = shared.clone();
        accepting.spawn(async move {
            tokio::join!(evict::run(&evicting), evict::make_room(&evicting));
        });
        accepting.close();
        accepting.wait().await;
        shared.hub.stop().await;
        connections.close();
        let stop_max = Duration::from_millis(HTTP_STOP_MS_MAX);
        if tokio::time::timeout(stop_max, connections.wait()).await.is_err() {
            warn!(connections = connections.len(), "front closed over open connections");
        }
        info!("front closed");
    }
}

impl Shared {
    /// The placement in force.
    pub(super) fn placement(&self) -> Arc<Placement> {
        self.placements.borrow().clone()
    }

    /// Where this node reaches the Icecast of a mount's master.
    pub(super) fn master_of(
        &self,
        placement: &Placement,
        mount: &MountPath,
    ) -> Result<SocketAddr, FrontError> {
        let FrontSettings { node, icecast, .. } = &self.settings;
        master_of(placement, mount, (node, *icecast))
    }

    /// What this node says of itself on its pages.
    pub(super) fn about(&self) -> About<'_> {
        About { host: &self.settings.domain, since_unix_s: self.since_unix_s }
    }

    /// How the connection of `client` is read, whose head may take so long.
    fn manner(&self, client: &TcpStream, logins: bool, head_ms_max: u64) -> io::Result<Manner<'_>> {
        let (peer, proxies) = (client.peer_addr()?.ip(), &self.settings.trusted_proxies);
        Ok(Manner { peer, proxies, logins, longest: Duration::from_millis(head_ms_max) })
    }
}

async fn forget_deleted_mounts(shared: Arc<Shared>) {
    let mut placements = shared.placements.clone();
    loop {
        tokio::select! {
            () = shared.cancel.cancelled() => return,
            Ok(()) = placements.changed() => shared.stats.keep(&shared.placement()),
            else => return,
        }
    }
}

/// A client's connection, and the place that it has.
pub(super) type Connection = (TcpStream, Place);

/// Serves what is asked for, and what is asked after that if the connection is kept.
pub(super) async fn serve(shared: &Shared, client: TcpStream, logins: bool, place: Place) {
    let mut connection = (client, place);
    let mut head_ms_max = HTTP_HEAD_MS_MAX;
    while let Some(kept) = serve_next(shared, connection, logins, head_ms_max).await {
        connection = kept;
        head_ms_max = HTTP_KEPT_MS_MAX;
    }
}

/// Reads a head, within `head_ms_max`, and serves what is asked for. What is done then has memory of its own, so that those who
/// connect and say nothing hold little. Returns the connection if there may be another request on it.
async fn serve_next(
    shared: &Shared,
    (mut client, mut place): Connection,
    logins: bool,
    head_ms_max: u64,
) -> Option<Connection> {
    let manner = shared.manner(&client, logins, head_ms_max).ok()?;
    let opening = tokio::select! {
        opening = sniff(&mut client, manner) => opening,
        () = shared.cancel.cancelled() => return None,
    };
    let opening = opening.and_then(|opening| {
        let from = opening.from();
        // Whom a proxy names is counted instead of the proxy.
        if from != manner.peer.to_canonical() {
            place.count_as(shared, from)?;
        }
        Ok(opening)
    });
    match opening {
        Ok(Opening::Http(request)) => {
            return Box::pin(serve_request(shared, client, request, place)).await;
        }
        Ok(Opening::Login { login, rest, from }) => {
            metrics::counter!("autoradio_http_requests_total", "route" => "shoutcast").increment(1);
            tcp::tune(&client).ok()?;
            Box::pin(shoutcast::serve(shared, client, &login.text, rest, from)).await;
        }
        // One that was kept, and has not been used again.
        Err(FrontError::ClientGone | FrontError::ClientMute | FrontError::HeadTooSlow)
            if head_ms_max == HTTP_KEPT_MS_MAX => {}
        Err(error) => {
            metrics::counter!("autoradio_http_requests_total", "route" => "no_head").increment(1);
            Box::pin(refuse(client, HttpVersion::Http10, &error)).await;
        }
    }
    None
}

async fn serve_request(
    shared: &Shared,
    mut client: TcpStream,
    request: Sniffed,
    place: Place,
) -> Option<Connection> {
    let head = &request.head;
    let route = route(&head.method, &head.target, &shared.placement());
    metrics::counter!("autoradio_http_requests_total", "route" => route.label()).increment(1);
    match &route {
        Route::Listener(mount) => {
            return listener::serve(shared, client, &request, (mount, false), place).await;
        }
        Route::Landed(mount) => {
            return listener::serve(shared, client, &request, (mount, true), place).await;
        }
        // A listener is tuned when it stays: most who are sent elsewhere have gone before that would matter.
        _ if tcp::tune(&client).is_err() => {}
        Route::Status
        | Route::StatusJson(_)
        | Route::Playlist(..)
        | Route::NotFound
        | Route::MethodNotAllowed => {
            Box::pin(pages::serve(shared, client, &request)).await;
        }
        other => {
            let served = Box::pin(serve_sniffed(shared, &mut client, &request, other)).await;
            if let Err(error) = served {
                Box::pin(refuse(client, head.version, &error)).await;
            }
        }
    }
    None
}

async fn serve_sniffed(
    shared: &Shared,
    client: &mut TcpStream,
    request: &Sniffed,
    route: &Route,
) -> Result<(), FrontError> {
    let reply = match route {
        Route::Source(mount) => return source::serve(shared, client, request, mount).await,
        Route::Metadata(update) => {
            return metadata::serve(shared, client, &request.head, update).await;
        }
        Route::Admin(asked) => return admin::serve(shared, client, &request.head, asked).await,
        Route::ShoutcastTitle(query) => return shoutcast::set_title(shared, client, query).await,
        Route::SourceUnknown(path) => {
            return source::serve_unknown(shared, client, request, path).await;
        }
        Route::ListenerHead(mount) => listener::head(shared, mount).await?,
        Route::Peer(ask) => peers::answer(shared, &request.head, ask).await?,
        Route::Options => preflight(),
        Route::OptionsServer => Reply::empty(),
        _ => Reply::text(400, "there is no such command"),
    };
    let bytes = reply.to_bytes(request.head.version);
    let written = client.write_all(&bytes).await;
    written.map_err(|source| FrontError::Client { source })
}

/// The answer to a browser that asks whether a player on another site may listen.
fn preflight() -> Reply {
    let fields = [
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS"),
        ("Access-Control-Allow-Headers", "Icy-MetaData, Range"),
        ("Access-Control-Expose-Headers", "*"),
        ("Access-Control-Max-Age", "86400"),
    ];
    Reply::bare(204, fields.map(|(name, value)| (name, value.to_owned())).to_vec())
}

/// Tells the client why, then reads for a while what it is still sending: a close over unread bytes is a reset, which
/// would take the answer away from it.
pub(super) async fn refuse(mut client: TcpStream, version: HttpVersion, error: &FrontError) {
    debug!(%error, "request refused");
    let Some(reply) = error.reply() else {
        return;
    };
    let bytes = reply.to_bytes(version);
    let writing =
        tokio::time::timeout(Duration::from_millis(HTTP_STALL_MS_MAX), client.write_all(&bytes));
    if matches!(writing.await, Ok(Ok(()))) {
        linger(&mut client).await;
    }
}

/// Ends a refused connection: reads for a while what the client is still sending.
pub(super) async fn linger(client: &mut TcpStream) {
    if client.shutdown().await.is_err() {
        return;
    }
    let mut dropped = [0; 4 * 1024];
    let lingering = async { while matches!(client.read(&mut dropped).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(Duration::from_millis(HTTP_LINGER_MS_MAX), lingering).await;
}
