//! The cluster's members: who they are, how they are, and changing them.

use std::time::Duration;

use etcd_client::{Client, MemberAddOptions};
use tokio::time::timeout;

use super::Store;
use crate::cluster::{ClusterError, EtcdMember, Key, MemberStatus, NodeName};

/// Longest wait for one member to say how it is.
const STATUS_MAX: Duration = Duration::from_secs(1);

/// What one etcd says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct OwnStatus {
    pub(in crate::cluster) id: u64,
    pub(in crate::cluster) learner: bool,
    pub(in crate::cluster) leader: u64,
}

impl Store {
    /// The members, as the endpoint that answers first knows them.
    pub(in crate::cluster) async fn member_list(&self) -> Result<Vec<EtcdMember>, ClusterError> {
        let list = |mut client: Client| async move { client.member_list().await };
        Ok(self.call(list).await?.members().iter().map(member).collect())
    }

    /// The members and how they are; every one is asked itself.
    pub async fn members(&self) -> Result<Vec<MemberStatus>, ClusterError> {
        let mut asking = tokio::task::JoinSet::new();
        for (index, member) in self.member_list().await?.into_iter().enumerate() {
            let store = self.clone();
            asking.spawn(async move {
                let status = store.status_of(&member.client_urls).await;
                let leads = |id: u64| id == member.id;
                let (healthy, leader) = (
                    status.is_some_and(|status| status.leader != 0),
                    status.is_some_and(|status| leads(status.leader)),
                );
                (index, MemberStatus { member, healthy, leader })
            });
        }
        let mut members = asking.join_all().await;
        members.sort_by_key(|(index, _)| *index);
        Ok(members.into_iter().map(|(_, status)| status).collect())
    }

    /// What the etcd at one of `urls` says of itself, if it answers.
    pub(in crate::cluster) async fn status_of(&self, urls: &[String]) -> Option<OwnStatus> {
        for url in urls {
            let Ok(mut client) = self.connection.client_of(url).await else { continue };
            if let Ok(Ok(status)) = timeout(STATUS_MAX, Box::pin(client.status())).await {
                let id = status.header().map_or(0, etcd_client::ResponseHeader::member_id);
                let (learner, leader) = (status.is_learner(), status.leader());
                return Some(OwnStatus { id, learner, leader });
            }
        }
        None
    }

    /// Adds a member without a vote. The answer is all members.
    pub(in crate::cluster) async fn add_learner(
        &self,
        peer_url: &str,
    ) -> Result<Vec<EtcdMember>, ClusterError> {
        let answer = self
            .call(|mut client| {
                let options = MemberAddOptions::new().with_is_learner();
                async move { client.member_add([peer_url.to_owned()], Some(options)).await }
            })
            .await?;
        Ok(answer.member_list().iter().map(member).collect())
    }

    /// Gives a learner its vote; refused until it has caught up.
    pub(in crate::cluster) async fn promote(&self, id: u64) -> Result<(), ClusterError> {
        self.call(|mut client| async move { client.member_promote(id).await }).await.map(drop)
    }

    /// Tells the members where one of them is now.
    pub(in crate::cluster) async fn update_member(
        &self,
        id: u64,
        peer_url: &str,
    ) -> Result<(), ClusterError> {
        let update = |mut client: Client| async move {
            client.member_update(id, [peer_url.to_owned()]).await
        };
        self.call(update).await.map(drop)
    }

    /// Deletes what a node that is gone for good has left in the cluster's state and no lease ends. False if there was
    /// nothing.
    pub async fn forget_node(&self, name: &NodeName) -> Result<bool, ClusterError> {
        self.delete(&Key::Drain(name.clone()).to_string()).await
    }

    /// Removes a member for good: its data is of no use any more.
    pub async fn remove_member(&self, id: u64) -> Result<(), ClusterError> {
        self.call(|mut client| async move { client.member_remove(id).await }).await.map(drop)
    }
}

fn member(member: &etcd_client::Member) -> EtcdMember {
    EtcdMember {
        id: member.id(),
        name: member.name().to_owned(),
        peer_urls: member.peer_urls().to_vec(),
        client_urls: member.client_urls().to_vec(),
        learner: member.is_learner(),
    }
}
