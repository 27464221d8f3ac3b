//! The admin pages of the whole cluster: this node answers for itself and asks all others for the rest.
//!
//! A node that does not answer is named in the answer; nobody waits for it longer than for a peer's short answer.

use std::collections::HashSet;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tracing::info;

use super::pages::public_url;
use super::peers;
use super::server::Shared;
use crate::clock;
use crate::cluster::{MountPath, NodeName};
use crate::http::admin::{self, AdminCommand, AdminRefusal, AdminRequest};
use crate::http::reply::Reply;
use crate::http::stats::FrontView;
use crate::http::{FrontError, RequestHead, client_id, streams};
use crate::peer::{self, PeerAsk, PeerListener};
use crate::placement::Placement;

/// Serves one page to who has the cluster's admin password.
pub(super) async fn serve(
    shared: &Shared,
    client: &mut TcpStream,
    head: &RequestHead,
    request: &AdminRequest,
) -> Result<(), FrontError> {
    shared.authorize_admin(head).await?;
    let reply = match answer(shared, request).await {
        Ok(xml) => Reply::page("text/xml; charset=utf-8", xml),
        Err(refusal) => Reply::bad_request_page(refusal.page()),
    };
    let written = client.write_all(&reply.to_bytes(head.version)).await;
    written.map_err(|source| FrontError::Client { source })
}

async fn answer(shared: &Shared, request: &AdminRequest) -> Result<String, AdminRefusal> {
    let placement = shared.placement();
    match request.command {
        AdminCommand::ListMounts => Ok(list_mounts(&placement)),
        AdminCommand::Stats => stats(shared, &placement, request).await,
        AdminCommand::ListClients => list_clients(shared, &named(&placement, request)?).await,
        AdminCommand::KillClient => {
            kill_client(shared, &placement, &named(&placement, request)?, request).await
        }
        AdminCommand::KillSource => kill_source(shared, &named(&placement, request)?).await,
        AdminCommand::MoveClients => {
            move_clients(shared, &placement, &named(&placement, request)?, request).await
        }
    }
}

/// The mount that a request names.
fn named(placement: &Placement, request: &AdminRequest) -> Result<MountPath, AdminRefusal> {
    let asked = request.mount.as_deref().ok_or(AdminRefusal::NoMountNamed)?;
    known(placement, asked).ok_or(AdminRefusal::NoSource)
}

fn known(placement: &Placement, asked: &str) -> Option<MountPath> {
    let mount = asked.parse().ok()?;
    placement.mounts.contains_key(&mount).then_some(mount)
}

fn list_mounts(placement: &Placement) -> String {
    admin::list_mounts(&streams::all(placement), None, clock::unix_s())
}

async fn stats(
    shared: &Shared,
    placement: &Placement,
    request: &AdminRequest,
) -> Result<String, AdminRefusal> {
    let only = match &request.mount {
        Some(asked) => Some(known(placement, asked).ok_or(AdminRefusal::NoSource)?),
        None => None,
    };
    if only.as_ref().is_some_and(|mount| streams::one(placement, mount).is_none()) {
        return Err(AdminRefusal::NoSource);
    }
    let (mut counts, missing) = ask_others::<FrontView>(shared, &PeerAsk::Counts, |_| true).await;
    counts.push((shared.settings.node.clone(), shared.stats.view()));
    let counts: Vec<_> = counts.into_iter().map(|(_, view)| view).collect();
    let nodes = placement.nodes.len() as u64;
    let url = |mount: &MountPath| public_url(&shared.settings, mount);
    let playing = streams::all(placement);
    let told = (nodes, missing.as_slice());
    Ok(admin::stats(&shared.about(), &playing, only.as_ref(), &counts, told, url))
}

async fn list_clients(shared: &Shared, mount: &MountPath) -> Result<String, AdminRefusal> {
    let ask = PeerAsk::Listeners(mount.clone());
    let (mut told, missing) = ask_others::<Vec<PeerListener>>(shared, &ask, |_| true).await;
    told.push((shared.settings.node.clone(), peers::listeners(shared, mount)));
    let mut listeners: Vec<(u64, PeerListener)> = Vec::new();
    for (node, of_node) in told {
        let numbered = of_node.into_iter().map(|it| (client_id::in_cluster(&node, it.id), it));
        listeners.extend(numbered);
    }
    // Who came first stands first, as in Icecast.
    listeners.sort_by_key(|(id, listener)| (std::cmp::Reverse(listener.connected_s), *id));
    Ok(admin::list_clients(mount, &listeners, &missing))
}

async fn kill_client(
    shared: &Shared,
    placement: &Placement,
    mount: &MountPath,
    request: &AdminRequest,
) -> Result<String, AdminRefusal> {
    let asked = request.id.as_deref().ok_or(AdminRefusal::ParameterMissing)?;
    let not_found = |missing: &[NodeName]| {
        Ok(admin::response(&format!("Client {asked} not found"), false, missing))
    };
    let Ok(id) = asked.parse::<u64>() else { return not_found(&[]) };
    if client_id::on_node(&shared.settings.node, id)
        .is_some_and(|own| peers::close(shared, mount, own))
    {
        return Ok(admin::response(&format!("Client {id} removed"), true, &[]));
    }
    let mut missing = Vec::new();
    for node in placement.nodes.keys().filter(|node| **node != shared.settings.node) {
        let Some(own) = client_id::on_node(node, id) else { continue };
        let ask = PeerAsk::Close(mount.clone(), own);
        let (told, silent) = ask_others::<u64>(shared, &ask, |other| other == node).await;
        if told.iter().any(|(_, closed)| *closed > 0) {
            return Ok(admin::response(&format!("Client {id} removed"), true, &[]));
        }
        missing.extend(silent);
    }
    not_found(&missing)
}

async fn kill_source(shared: &Shared, mount: &MountPath) -> Result<String, AdminRefusal> {
    let ask = PeerAsk::KillSource(mount.clone());
    let (told, own) =
        tokio::join!(ask_others::<u64>(shared, &ask, |_| true), peers::kill_source(shared, mount));
    let (told, missing) = told;
    let killed = own + told.iter().map(|(_, killed)| killed).sum::<u64>();
    info!(%mount, killed, missing = missing.len(), "an operator has closed the source");
    match killed {
        0 if missing.is_empty() => Err(AdminRefusal::NoSource),
        0 => Ok(admin::response("No source was found", false, &missing)),
        _ => Ok(admin::response("Source Removed", true, &[])),
    }
}

async fn move_clients(
    shared: &Shared,
    placement: &Placement,
    from: &MountPath,
    request: &AdminRequest,
) -> Result<String, AdminRefusal> {
    let Some(asked) = &request.destination else {
        let playing = streams::all(placement);
        return Ok(admin::list_mounts(&playing, Some(from), clock::unix_s()));
    };
    let to = known(placement, asked).ok_or(AdminRefusal::NoDestination)?;
    if *from == to {
        return Err(AdminRefusal::Identical);
    }
    let there = streams::one(placement, &to).ok_or(AdminRefusal::NoDestination)?;
    // What plays no more has no type: each node knows what its listeners have heard.
    if streams::one(placement, from).is_some_and(|it| it.media_type() != there.media_type()) {
        return Err(AdminRefusal::OtherType);
    }
    let ask = PeerAsk::Move(from.clone(), to.clone());
    let own = peers::move_all(shared, from, &to);
    let (told, missing) = ask_others::<Option<u64>>(shared, &ask, |_| true).await;
    let moved: u64 = told.iter().filter_map(|(_, moved)| *moved).chain(own).sum();
    info!(%from, %to, listeners = moved, "an operator has moved listeners");
    Ok(admin::response(&format!("Clients moved from {from} to {to}"), true, &missing))
}

/// Asks all other nodes that `wanted` names: their answers, and who gave none.
async fn ask_others<Answer: DeserializeOwned + Send + 'static>(
    shared: &Shared,
    ask: &PeerAsk,
    wanted: impl Fn(&NodeName) -> bool,
) -> (Vec<(NodeName, Answer)>, Vec<NodeName>) {
    let placement = shared.placement();
    let own = &shared.settings.node;
    let others = placement.nodes.iter().filter(|(name, _)| *name != own && wanted(name));
    let others = others.map(|(_, node)| Arc::clone(&node.record));
    let password = &shared.settings.secrets.relay_password;
    let asked = peer::tell_each::<Answer>(others, ask, password).await;
    let (mut told, mut missing) = (Vec::new(), Vec::new());
    for (node, answer) in asked {
        match answer {
            Some(answer) => told.push((node, answer)),
            None => missing.push(node),
        }
    }
    (told, missing)
}

/// Counts, from time to time, how many of the listeners here are different ones, until the front stops.
pub(super) async fn count_unique(shared: &Shared) {
    let counting = async {
        loop {
            tokio::time::sleep(super::UNIQUE_EVERY).await;
            let listeners = shared.hub.listeners();
            let mut seen = HashSet::with_capacity(listeners.len());
            let repeated = listeners
                .iter()
                .filter(|it| !seen.insert((&it.mount, it.address, it.agent.as_deref())));
            shared.stats.note_repeated(repeated.map(|it| &it.mount));
        }
    };
    shared.cancel.run_until_cancelled(counting).await;
}
