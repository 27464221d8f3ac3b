//! Peers that ask for this node's state: answered even when the node is full, since a peer that hears nothing would have to
//! think that nobody is there.

use std::net::IpAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::server::{Shared, refuse};
use super::sniff::{Manner, Opening, sniff};
use crate::http::reply::Reply;
use crate::http::route::{Route, route};
use crate::http::{FrontError, HttpVersion, RequestHead, TrustedProxies};
use crate::peer;

/// Longest time that a place for peers is held: longer than a peer waits.
const ASKED_MAX: Duration = Duration::from_millis(1_500);

/// The answer to a peer, and to nobody else.
pub(super) fn state(shared: &Shared, head: &RequestHead) -> Result<Reply, FrontError> {
    let settings = &shared.settings;
    if !peer::is_peer(head.field_text("Authorization"), &settings.secrets.relay_password) {
        return Err(FrontError::Unauthorized);
    }
    Ok(Reply::json(&settings.own_state.now()))
}

/// Whether a node of the cluster has this address.
pub(super) fn is_node(shared: &Shared, address: IpAddr) -> bool {
    let address = address.to_canonical();
    let placement = shared.placement();
    let mut records = placement.nodes.values().map(|node| &node.record);
    records.any(|it| it.peer_address == address || it.addresses.contains(&address))
}

/// Serves a connection from a node's address while there is no place for clients: a question for the state, nothing else.
pub(super) async fn serve_full(shared: &Shared, mut client: TcpStream, connections_max: usize) {
    let answered = tokio::time::timeout(ASKED_MAX, answer(shared, &mut client)).await;
    if answered != Ok(true) {
        metrics::counter!("autoradio_http_connections_refused_total").increment(1);
        refuse(client, HttpVersion::Http10, &FrontError::NodeFull { connections_max }).await;
    }
}

/// Whether it was a peer, and has its answer.
async fn answer(shared: &Shared, client: &mut TcpStream) -> bool {
    let Ok(peer) = client.peer_addr().map(|address| address.ip()) else { return false };
    let manner =
        Manner { peer, proxies: &TrustedProxies::default(), logins: false, longest: ASKED_MAX };
    let Ok(Opening::Http(request)) = sniff(client, manner).await else { return false };
    let head = &request.head;
    if route(&head.method, &head.target, &shared.placement()) != Route::PeerState {
        return false;
    }
    let Ok(reply) = state(shared, head) else { return false };
    client.write_all(&reply.to_bytes(head.version)).await.is_ok()
}
