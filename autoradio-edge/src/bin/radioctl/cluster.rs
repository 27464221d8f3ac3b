//! The commands about the members of etcd.

use std::time::Duration;

use autoradio_edge::cluster::{ClusterError, NodeName, Store, removable};

use crate::output::Output;

/// How often, once a second, etcd is asked again to remove a member.
const REMOVE_TRIES: u32 = 8;

/// Shows the members.
pub(crate) async fn members(store: &Store, output: &Output) -> anyhow::Result<()> {
    output.members(&store.members().await?)
}

/// Removes a node for good: its records first, since they need the quorum that the member may be part of.
pub(crate) async fn remove(
    store: &Store,
    output: &Output,
    which: &str,
    force: bool,
) -> anyhow::Result<()> {
    let members = store.members().await?;
    let member = removable(&members, which, force)?.map(|status| &status.member);
    // One that has not started has no name, and so left no records.
    let had_records = match member.map_or(which, |member| &member.name).parse::<NodeName>() {
        Ok(node) => store.forget_node(&node).await?,
        Err(_) => false,
    };
    match member {
        Some(member) => remove_member(store, member.id).await?,
        None if !had_records => {
            return Err(ClusterError::NodeUnknown { name: which.to_owned() }.into());
        }
        None => {}
    }
    output.done(&format!("Node {which} is removed."))
}

/// Removes the member. etcd does so only once it has seen the others without a break for five seconds.
async fn remove_member(store: &Store, id: u64) -> Result<(), ClusterError> {
    let mut tries_left = REMOVE_TRIES;
    loop {
        match store.remove_member(id).await {
            Err(ClusterError::Refused { .. }) if tries_left > 0 => tries_left -= 1,
            ended => return ended,
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
