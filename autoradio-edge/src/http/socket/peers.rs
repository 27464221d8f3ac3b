//! Peers that ask this node what it alone knows, or tell it what it alone can do. They are answered even when the node is full, since
//! a peer that hears nothing would have to think that nobody is there.

use std::net::IpAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tracing::{debug, info};

use super::icecast;
use super::server::{Shared, refuse};
use super::sniff::{Manner, Opening, sniff};
use crate::cluster::MountPath;
use crate::http::reply::Reply;
use crate::http::route::{Route, route};
use crate::http::{FrontError, HttpVersion, RequestHead, TrustedProxies};
use crate::peer::{self, PeerAsk, PeerListener, Told};

/// Longest time that a place for peers is held: longer than a peer waits.
const ASKED_MAX: Duration = Duration::from_millis(1_500);
/// Longest time that this node's own Icecast is given to close a source: shorter than a peer waits.
const KILL_MAX: Duration = Duration::from_secs(1);

/// The answer to a peer, and to nobody else.
pub(super) async fn answer(
    shared: &Shared,
    head: &RequestHead,
    ask: &PeerAsk,
) -> Result<Reply, FrontError> {
    let settings = &shared.settings;
    if !peer::is_peer(head.field_text("Authorization"), &settings.secrets.relay_password) {
        return Err(FrontError::Unauthorized);
    }
    Ok(match ask {
        PeerAsk::State => Reply::json(&settings.own_state.now()),
        PeerAsk::Counts => told(shared, shared.stats.view()),
        PeerAsk::Listeners(mount) => told(shared, listeners(shared, mount)),
        PeerAsk::Close(mount, id) => told(shared, u64::from(close(shared, mount, *id))),
        PeerAsk::Move(from, to) => told(shared, move_all(shared, from, to)),
        PeerAsk::KillSource(mount) => told(shared, kill_source(shared, mount).await),
    })
}

fn told(shared: &Shared, answer: impl serde::Serialize) -> Reply {
    Reply::json(&Told { node: shared.settings.node.clone(), answer })
}

/// Who listens to the mount on this node.
pub(super) fn listeners(shared: &Shared, mount: &MountPath) -> Vec<PeerListener> {
    let listeners = shared.hub.listeners().into_iter().filter(|view| view.mount == *mount);
    let told = listeners.map(|view| PeerListener {
        id: view.id,
        address: view.address.to_canonical(),
        agent: view.agent,
        connected_s: view.connected_s,
    });
    told.collect()
}

/// Closes one who listens to the mount on this node, by its number here. False if there is none.
pub(super) fn close(shared: &Shared, mount: &MountPath, id: u64) -> bool {
    let listens = shared.hub.listeners().iter().any(|it| it.id == id && it.mount == *mount);
    let closed = listens && shared.hub.close(id);
    if closed {
        info!(%mount, id, "an operator has closed a listener");
    }
    closed
}

/// Has those who listen to one mount on this node hear another: how many, `None` if they cannot or are none.
pub(super) fn move_all(shared: &Shared, from: &MountPath, to: &MountPath) -> Option<u64> {
    shared.hub.move_all(from, to).map(|listeners| listeners as u64)
}

/// Closes the mount's source: the tunnel of this node's front, and what this node's Icecast has, if it is master. How many there were;
/// a tunnel from this node to its own Icecast counts as one or two.
pub(super) async fn kill_source(shared: &Shared, mount: &MountPath) -> u64 {
    let tunnel = u64::from(shared.desk.close(mount));
    if !shared.placement().is_master(&shared.settings.node, mount) {
        return tunnel;
    }
    let password = &shared.settings.secrets.admin_password;
    let killing = icecast::kill_source(shared.settings.icecast, mount, password);
    match tokio::time::timeout(KILL_MAX, killing).await {
        Ok(Ok(killed)) => tunnel + u64::from(killed),
        Ok(Err(error)) => {
            debug!(%mount, %error, "this node's Icecast did not close a source");
            tunnel
        }
        Err(_) => tunnel,
    }
}

/// Whether a node of the cluster has this address.
pub(super) fn is_node(shared: &Shared, address: IpAddr) -> bool {
    let address = address.to_canonical();
    let placement = shared.placement();
    let mut records = placement.nodes.values().map(|node| &node.record);
    records.any(|it| it.peer_address == address || it.addresses.contains(&address))
}

/// Serves a connection from a node's address while there is no place for clients: a peer's question, nothing else.
pub(super) async fn serve_full(shared: &Shared, mut client: TcpStream, connections_max: usize) {
    let answered = tokio::time::timeout(ASKED_MAX, answer_peer(shared, &mut client)).await;
    if answered != Ok(true) {
        metrics::counter!("autoradio_http_connections_refused_total").increment(1);
        refuse(client, HttpVersion::Http10, &FrontError::NodeFull { connections_max }).await;
    }
}

/// Whether it was a peer, and has its answer.
async fn answer_peer(shared: &Shared, client: &mut TcpStream) -> bool {
    let Ok(peer) = client.peer_addr().map(|address| address.ip()) else { return false };
    let manner =
        Manner { peer, proxies: &TrustedProxies::default(), logins: false, longest: ASKED_MAX };
    let Ok(Opening::Http(request)) = sniff(client, manner).await else { return false };
    let head = &request.head;
    let Route::Peer(ask) = route(&head.method, &head.target, &shared.placement()) else {
        return false;
    };
    let Ok(reply) = answer(shared, head, &ask).await else { return false };
    client.write_all(&reply.to_bytes(head.version)).await.is_ok()
}
