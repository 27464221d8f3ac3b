//! The door: listening sockets, a place for every connection that comes in, and words for who has none.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use autoradio_common::limits::{HTTP_CONNECTIONS_MAX, HTTP_PEERS_MAX, HTTP_REFUSALS_MAX};
use metrics::Gauge;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::MissedTickBehavior;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::peers;
use super::server::{FrontSettings, Shared, refuse, serve};
use crate::http::addresses::{Addresses, Counted};
use crate::http::{FrontError, HttpVersion};

/// Connections the kernel holds until they are accepted.
const BACKLOG: i32 = 4_096;
/// Pause after a failed accept: usually the process has no file descriptor left, and one may come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that one port accepts within [`ACCEPT_TURN`]: a crowd that comes all at once waits in the kernel, and whoever
/// listens already is written to meanwhile.
const ACCEPTS_PER_TURN: u32 = 400;
/// See [`ACCEPTS_PER_TURN`].
const ACCEPT_TURN: Duration = Duration::from_millis(25);

/// Places for connections, counted over all ports.
pub(super) struct Room {
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
    pub(super) fn of(settings: &FrontSettings) -> Self {
        let connections_max = settings.connections_max.min(HTTP_CONNECTIONS_MAX);
        Self {
            connections_max,
            connections: metrics::gauge!("autoradio_http_connections"),
            places: Arc::new(Semaphore::new(connections_max)),
            refusals: Arc::new(Semaphore::new(HTTP_REFUSALS_MAX)),
            peers: Arc::new(Semaphore::new(HTTP_PEERS_MAX)),
            addresses: Addresses::new(settings.connections_per_address),
        }
    }

    /// A place for a connection from this address. Nodes of the cluster and trusted proxies may have any number.
    fn place(&self, shared: &Shared, from: IpAddr) -> Result<Place, FrontError> {
        let permit = self.places.clone().try_acquire_owned();
        let full = FrontError::NodeFull { connections_max: self.connections_max };
        let permit = permit.map_err(|_| full)?;
        let counted = self.count(shared, from)?;
        let connections = self.connections.clone();
        connections.increment(1.0);
        Ok(Place { _permit: permit, counted, connections })
    }

    fn count(&self, shared: &Shared, from: IpAddr) -> Result<Option<Counted>, FrontError> {
        let known =
            || shared.settings.trusted_proxies.contains(from) || peers::is_node(shared, from);
        match self.addresses.count(from) {
            Ok(counted) => Ok(counted),
            Err(_) if known() => Ok(None),
            Err(_) => Err(FrontError::AddressFull),
        }
    }
}

/// A connection's place, counted while it lives.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    counted: Option<Counted>,
    connections: Gauge,
}

impl Place {
    /// Counts the connection as that of the client whom a proxy has named.
    pub(super) fn count_as(&mut self, shared: &Shared, client: IpAddr) -> Result<(), FrontError> {
        self.counted = shared.room.count(shared, client)?;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.decrement(1.0);
    }
}

/// Accepts until the front is cancelled. `SHOUTcast` sources may come to a port that takes `logins`.
pub(super) async fn accept(
    (listener, logins): (TcpListener, bool),
    shared: Arc<Shared>,
    connections: TaskTracker,
) {
    let mut turns = tokio::time::interval(ACCEPT_TURN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut accepted_in_turn = 0;
    loop {
        accepted_in_turn += 1;
        if accepted_in_turn > ACCEPTS_PER_TURN {
            turns.tick().await;
            accepted_in_turn = 1;
        }
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
        let place = match shared.room.place(&shared, from.ip()) {
            Ok(place) => place,
            Err(error) => {
                turn_away(client, from.ip(), error, &shared, &connections);
                continue;
            }
        };
        let shared = shared.clone();
        shared.stats.connected();
        connections.spawn(async move { serve(&shared, client, logins, place).await });
    }
}

/// Tells a client for whom there is no place why, if there is room for that; a node that asks for our state has its answer.
fn turn_away(
    client: TcpStream,
    from: IpAddr,
    error: FrontError,
    shared: &Arc<Shared>,
    connections: &TaskTracker,
) {
    let room = &shared.room;
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

/// Opens a port, on IPv6 and IPv4.
pub(super) fn listen(port: u16) -> io::Result<TcpListener> {
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
