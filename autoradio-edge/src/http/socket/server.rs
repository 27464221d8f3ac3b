//! The front's sockets: listens, reads heads, hands every request to the file that serves it, and stops cleanly.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use autoradio_common::limits::{
    HTTP_CONNECTIONS_MAX, HTTP_HEAD_MS_MAX, HTTP_KEPT_MS_MAX, HTTP_LINGER_MS_MAX, HTTP_PEERS_MAX,
    HTTP_REFUSALS_MAX, HTTP_STALL_MS_MAX, HTTP_STOP_MS_MAX,
};
use metrics::Gauge;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::desk::SourceDesk;
use super::sniff::{Sniffed, sniff};
use super::{evict, listener, metadata, pages, peers, source, tcp};
use crate::cluster::{
    Capacity, IcecastSecrets, MountPath, MountRecord, NodeName, StandingReader, TitleWriter,
};
use crate::http::addresses::{Addresses, Counted};
use crate::http::auth::Verifier;
use crate::http::reply::Reply;
use crate::http::route::{Route, master_of, route};
use crate::http::{FrontError, FrontStats, HttpVersion, RequestHead, SourceGate};
use crate::peer::OwnState;
use crate::placement::{Ledger, Placement};
use crate::stream::{Ended, Hub, HubSettings};

/// Connections the kernel holds until they are accepted.
const BACKLOG: i32 = 4_096;
/// Pause after a failed accept: usually the process has no file descriptor left, and one may come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
}

/// The front's listening sockets, open and not served yet.
#[derive(Debug)]
pub struct Front {
    listeners: Vec<TcpListener>,
}

/// Places for connections, counted over all ports.
#[derive(Clone)]
struct Room {
    connections_max: usize,
    /// Looked up once: a look-up by name for each connection costs more than the count.
    connections: Gauge,
    places: Arc<Semaphore>,
    /// Places for telling clients that there is none of the others.
    refusals: Arc<Semaphore>,
    /// Places for peers that ask while there is none of the others.
    peers: Arc<Semaphore>,
    addresses: Arc<Addresses>,
}

impl Room {
    fn new(connections_max: usize, connections_per_address: u32) -> Self {
        Self {
            connections_max,
            connections: metrics::gauge!("autoradio_http_connections"),
            places: Arc::new(Semaphore::new(connections_max)),
            refusals: Arc::new(Semaphore::new(HTTP_REFUSALS_MAX)),
            peers: Arc::new(Semaphore::new(HTTP_PEERS_MAX)),
            addresses: Addresses::new(connections_per_address),
        }
    }

    /// A place for a connection from this address. Nodes of the cluster may have any number.
    fn place(&self, shared: &Shared, from: IpAddr) -> Result<Place, FrontError> {
        let permit = self.places.clone().try_acquire_owned();
        let full = FrontError::NodeFull { connections_max: self.connections_max };
        let permit = permit.map_err(|_| full)?;
        let counted = match self.addresses.count(from) {
            Ok(counted) => counted,
            Err(_) if peers::is_node(shared, from) => None,
            Err(_) => return Err(FrontError::AddressFull),
        };
        Ok(Place::new(permit, counted, self.connections.clone()))
    }
}

/// A connection's place, counted while it lives.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _counted: Option<Counted>,
    connections: Gauge,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, counted: Option<Counted>, connections: Gauge) -> Self {
        connections.increment(1.0);
        Self { _permit: permit, _counted: counted, connections }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.decrement(1.0);
    }
}

/// What every connection shares.
pub(super) struct Shared {
    pub(super) settings: FrontSettings,
    pub(super) placements: watch::Receiver<Arc<Placement>>,
    pub(super) stats: Arc<FrontStats>,
    pub(super) desk: Arc<SourceDesk>,
    pub(super) hub: Arc<Hub>,
    pub(super) cancel: CancellationToken,
    verifier: Verifier,
}

impl Front {
    /// Opens all ports, on IPv6 and IPv4. Call it inside a tokio runtime; port 0 takes any free port.
    pub fn bind(ports: &[u16]) -> Result<Self, FrontError> {
        let open = |&port: &u16| listen(port).map_err(|source| FrontError::Port { port, source });
        let listeners = ports.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { listeners })
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
            ended: settings.ended.clone(),
        };
        let shared = Arc::new(Shared {
            hub: Hub::start(hub_settings, placement.clone()),
            settings,
            placements: placement,
            stats,
            desk: Arc::default(),
            cancel,
            verifier: Verifier::new(),
        });
        let connections = TaskTracker::new();
        let room = Room::new(
            shared.settings.connections_max.min(HTTP_CONNECTIONS_MAX),
            shared.settings.connections_per_address,
        );
        let accepting = TaskTracker::new();
        for listener in self.listeners {
            accepting.spawn(accept(listener, shared.clone(), connections.clone(), room.clone()));
        }
        accepting.spawn(forget_deleted_mounts(shared.clone()));
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

    /// Whether the head carries the mount's source credentials.
    pub(super) async fn authorize(
        &self,
        head: &RequestHead,
        record: &MountRecord,
    ) -> Result<(), FrontError> {
        let allowed = self.verifier.allows(head, record).await;
        let verdict = match allowed {
            Ok(true) => "granted",
            Ok(false) => "denied",
            Err(_) => "busy",
        };
        metrics::counter!("autoradio_http_logins_total", "verdict" => verdict).increment(1);
        allowed?.then_some(()).ok_or(FrontError::Unauthorized)
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let dual = listen_on(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    match dual {
        // A kernel without IPv6 says one of these two.
        Err(error)
            if error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT)
                || error.kind() == io::ErrorKind::AddrNotAvailable =>
        {
            listen_on(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        }
        other => other,
    }
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, connections: TaskTracker, room: Room) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.cancel.cancelled() => return,
        };
        let (client, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                metrics::counter!("autoradio_http_accept_errors_total").increment(1);
                debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let place = match room.place(&shared, from.ip()) {
            Ok(place) => place,
            Err(error) => {
                turn_away(client, from.ip(), error, &shared, &connections, &room);
                continue;
            }
        };
        let shared = shared.clone();
        connections.spawn(async move { serve(&shared, client, place).await });
    }
}

/// Tells a client for whom there is no place why, if there is room for that; a node that asks for our state has its answer.
fn turn_away(
    client: TcpStream,
    from: IpAddr,
    error: FrontError,
    shared: &Arc<Shared>,
    connections: &TaskTracker,
    room: &Room,
) {
    if peers::is_node(shared, from)
        && let Ok(asking) = room.peers.clone().try_acquire_owned()
    {
        let (shared, connections_max) = (shared.clone(), room.connections_max);
        connections.spawn(async move {
            peers::serve_full(&shared, client, connections_max).await;
            drop(asking);
        });
        return;
    }
    metrics::counter!("autoradio_http_connections_refused_total").increment(1);
    if let Ok(telling) = room.refusals.clone().try_acquire_owned() {
        connections.spawn(async move {
            refuse(client, HttpVersion::Http10, &error).await;
            drop(telling);
        });
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

async fn serve(shared: &Shared, client: TcpStream, place: Place) {
    let mut kept = serve_next(shared, client, place, HTTP_HEAD_MS_MAX).await;
    while let Some((client, place)) = kept {
        kept = serve_next(shared, client, place, HTTP_KEPT_MS_MAX).await;
    }
}

/// Serves one request whose head comes within `head_ms_max`. Returns the connection if there may be another one on it.
async fn serve_next(
    shared: &Shared,
    mut client: TcpStream,
    place: Place,
    head_ms_max: u64,
) -> Option<(TcpStream, Place)> {
    let sniffed = tokio::select! {
        sniffed = sniff(&mut client, Duration::from_millis(head_ms_max)) => sniffed,
        () = shared.cancel.cancelled() => return None,
    };
    let request = match sniffed {
        Ok(request) => request,
        // One that was kept, and has not been used again.
        Err(FrontError::ClientGone | FrontError::HeadTooSlow)
            if head_ms_max == HTTP_KEPT_MS_MAX =>
        {
            return None;
        }
        Err(error) => {
            metrics::counter!("autoradio_http_requests_total", "route" => "no_head").increment(1);
            refuse(client, HttpVersion::Http10, &error).await;
            return None;
        }
    };
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
        Route::Status | Route::Playlist(..) | Route::NotFound | Route::MethodNotAllowed => {
            pages::serve(shared, client, &request).await;
        }
        other => {
            if let Err(error) = serve_sniffed(shared, &mut client, &request, other).await {
                refuse(client, head.version, &error).await;
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
        Route::SourceUnknown(path) => {
            return Err(FrontError::MountUnknown { path: path.clone() });
        }
        Route::ListenerHead(mount) => listener::head(shared, mount).await?,
        Route::PeerState => peers::state(shared, &request.head)?,
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
    if !matches!(writing.await, Ok(Ok(()))) || client.shutdown().await.is_err() {
        return;
    }
    let mut dropped = [0; 4 * 1024];
    let lingering = async { while matches!(client.read(&mut dropped).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(Duration::from_millis(HTTP_LINGER_MS_MAX), lingering).await;
}
