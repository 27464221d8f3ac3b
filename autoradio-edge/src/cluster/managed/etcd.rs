//! What a member does with its cluster: joins it, gets its vote, tells where it is.

use std::time::Duration;

use tracing::{info, warn};

use super::ManagedEtcd;
use super::flags::Bootstrap;
use super::note_endpoints;
use crate::clock;
use crate::cluster::etcd::OwnStatus;
use crate::cluster::members::{JoinStep, initial_cluster, join_step, voters_advice};
use crate::cluster::{ClusterError, EtcdAccess, EtcdMember, Key, Store};

/// Longest time in which the cluster takes a new member. It takes one at a time, and only while it has seen all others
/// for five seconds, so of many that come at once the last waits.
const JOIN_MAX: Duration = Duration::from_secs(120);
/// Time for one question to the cluster.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Pause before the cluster is asked again.
const JOIN_PAUSE: Duration = Duration::from_millis(300);
/// Time after which a member that still has no vote is worth a warning.
const PROMOTION_SLOW: Duration = Duration::from_secs(60);
/// How often the members are asked for, to note where they are.
const NOTE_PACE: Duration = Duration::from_secs(30);
/// How often, once a second, a namesake must be silent before it counts as dead: its etcd may be starting, or its line
/// be bad for a moment.
const SILENCES: u32 = 4;
/// Pause between two such questions, and how long a lease may outlive its time: etcd ends leases twice a second.
const SILENCE_PAUSE: Duration = Duration::from_secs(1);

/// How the cluster has taken the node.
pub(super) enum Joining {
    /// As a member, which begins like this; others are at these endpoints.
    Member(Bootstrap, Vec<String>),
    /// As a client, of these endpoints.
    Client(Vec<String>),
}

impl ManagedEtcd {
    /// Asks the cluster behind `--join` to take this node.
    pub(super) async fn join_cluster(&self) -> Result<Joining, ClusterError> {
        let until = clock::now() + JOIN_MAX;
        let mut told = false;
        loop {
            let error = match self.try_to_join().await {
                Err(
                    error @ (ClusterError::NameTaken { .. } | ClusterError::AddressTaken { .. }),
                ) => return Err(error),
                Err(error) => error,
                Ok(Some(joining)) => return Ok(joining),
                Ok(None) => continue,
            };
            if clock::now() >= until {
                let deadline_s = JOIN_MAX.as_secs();
                return Err(match error {
                    ClusterError::NoCluster { .. } => error,
                    error => ClusterError::NotJoined { deadline_s, reason: error.to_string() },
                });
            }
            if !told {
                info!(%error, "the cluster does not take this node yet: asking on");
                told = true;
            }
            tokio::time::sleep(JOIN_PAUSE).await;
        }
    }

    /// One step; `None` if another one is due.
    async fn try_to_join(&self) -> Result<Option<Joining>, ClusterError> {
        let store = self.cluster().await?;
        let members = store.member_list().await?;
        let peer_url = self.peer_url();
        match join_step(&members, &self.name, &peer_url) {
            JoinStep::Remove(id) => {
                info!(
                    id = format!("{id:x}"),
                    "removing the member that this node was: its data is gone"
                );
                store.remove_member(id).await?;
                Ok(None)
            }
            JoinStep::Refuse(other) => {
                Err(ClusterError::AddressTaken { name: other.name, address: peer_url })
            }
            JoinStep::Suspect(namesake) => {
                if self.lives(&namesake, &store).await? {
                    let address = namesake.peer_urls.join(", ");
                    return Err(ClusterError::NameTaken { name: self.name.clone(), address });
                }
                info!(
                    id = format!("{:x}", namesake.id),
                    "removing the dead member of this node's name"
                );
                store.remove_member(namesake.id).await?;
                Ok(None)
            }
            JoinStep::BeClient => Ok(Some(Joining::Client(client_urls(&members)))),
            JoinStep::Add => {
                let members = store.add_learner(&peer_url).await?;
                let told = initial_cluster(&members, &self.name, &peer_url);
                info!(cluster = told, "joining as a member, without a vote at first");
                Ok(Some(Joining::Member(Bootstrap::join(told), client_urls(&members))))
            }
        }
    }

    /// Whether a member of this node's name is a living node: its etcd answers here, or, since it may be out of our
    /// reach but not of the others', the cluster has a record of it that outlives the lease it is under now. What an
    /// earlier life of this node has left goes with that lease.
    async fn lives(&self, namesake: &EtcdMember, store: &Store) -> Result<bool, ClusterError> {
        for _ in 0..SILENCES {
            if store.status_of(&namesake.client_urls).await.is_some() {
                return Ok(true);
            }
            tokio::time::sleep(SILENCE_PAUSE).await;
        }
        let record = Key::Node(self.name.clone()).to_string();
        let Some((_, lease)) = store.leased(&record).await? else { return Ok(false) };
        let left = store.lease_left(lease).await?;
        info!(left_s = left.as_secs(), "a node of this name has a lease: waiting for its end");
        tokio::time::sleep(left + SILENCE_PAUSE).await;
        Ok(store.leased(&record).await?.is_some())
    }

    /// Takes back the member that was added for this node, which could not start: without a name, it would block all who
    /// want to join.
    pub(super) async fn take_back(&self) {
        let taken_back = async {
            let store = self.cluster().await?;
            let peer_url = self.peer_url();
            let ours =
                |member: &EtcdMember| member.learner && member.peer_urls == [peer_url.as_str()];
            match store.member_list().await?.into_iter().find(ours) {
                Some(member) => store.remove_member(member.id).await,
                None => Ok(()),
            }
        };
        match taken_back.await {
            Ok(()) => info!("the cluster does not wait for this node's etcd any more"),
            Err(error) => warn!(%error, "radioctl cluster remove can take this member back"),
        }
    }

    /// The first host of `--join` that answers.
    async fn cluster(&self) -> Result<Store, ClusterError> {
        let mut reason = String::new();
        for host in &self.join {
            let endpoints = vec![format!("{}://{host}", self.scheme())];
            let access = EtcdAccess { endpoints, tls: self.tls.clone(), find_members: None };
            match Store::unasked(&access, ANSWER_MAX).await?.member_list().await {
                // That host may still be learning, and learners answer little: all that vote are asked.
                Ok(members) => {
                    let endpoints = client_urls(&members);
                    return Store::unasked(&EtcdAccess { endpoints, ..access }, ANSWER_MAX).await;
                }
                Err(error) => reason = error.to_string(),
            }
        }
        Err(ClusterError::NoCluster { hosts: self.join.join(", "), reason })
    }

    /// Client URLs of the other members, as the local etcd knows them, or where that has no vote and so tells nothing,
    /// as the hosts of `--join` do.
    pub(super) async fn others(&self, local: &Store) -> Vec<String> {
        let members = match local.member_list().await {
            Ok(members) => members,
            Err(_) => match self.cluster().await {
                Ok(cluster) => cluster.member_list().await.unwrap_or_default(),
                Err(_) => Vec::new(),
            },
        };
        let others = members.into_iter().filter(|member| member.name != self.name.as_str());
        client_urls(&others.collect::<Vec<_>>())
    }

    /// Gets this member its vote if it has none, and tells the others where it is if they think otherwise. Tries until
    /// it is done: without a vote it is of little use.
    pub(super) async fn take_part(self, own: OwnStatus, access: EtcdAccess) {
        let access = EtcdAccess { find_members: None, ..access };
        let Ok(store) = Store::unasked(&access, ANSWER_MAX).await else { return };
        let since = clock::now();
        let mut told = false;
        while let Err(error) = self.try_to_take_part(own.id, &store).await {
            if !told && clock::now() >= since + PROMOTION_SLOW {
                warn!(%error, "this node's etcd still has no full part in the cluster: trying on");
                told = true;
            }
            tokio::time::sleep(JOIN_PAUSE).await;
        }
    }

    /// Keeps the file by which [`known_endpoints`](super::known_endpoints) finds the cluster true; `runs` says whether
    /// this node has an etcd of its own.
    pub(super) async fn keep_endpoints_noted(self, runs: bool, access: EtcdAccess) {
        let mut noted = Vec::new();
        let mut endpoints = access.endpoints.clone();
        let Ok(store) = Store::unasked(&access, ANSWER_MAX).await else { return };
        loop {
            if endpoints != noted {
                note_endpoints(&self.state_dir, &endpoints);
                noted.clone_from(&endpoints);
            }
            tokio::time::sleep(NOTE_PACE).await;
            if let Ok(mut members) = store.member_list().await {
                members.retain(|member| member.name != self.name.as_str());
                let own = runs.then(|| self.endpoint());
                endpoints = own.into_iter().chain(client_urls(&members)).collect();
            }
        }
    }

    async fn try_to_take_part(&self, id: u64, store: &Store) -> Result<(), ClusterError> {
        let members = store.member_list().await?;
        // Removed meanwhile: nothing is left to do here.
        let Some(own) = members.iter().find(|member| member.id == id) else { return Ok(()) };
        let peer_url = self.peer_url();
        if own.peer_urls != [peer_url.as_str()] {
            store.update_member(id, &peer_url).await?;
            info!(was = ?own.peer_urls, now = peer_url, "told the cluster where this member is now");
        }
        if own.learner {
            store.promote(id).await?;
            info!("this node's etcd has caught up with the cluster and votes now");
            let voters = members.iter().filter(|member| !member.learner).count() + 1;
            if let Some(advice) = voters_advice(voters) {
                warn!(voters, "{advice}");
            }
        }
        Ok(())
    }
}

/// Where the members that have started are reached, those that vote first.
fn client_urls(members: &[EtcdMember]) -> Vec<String> {
    let voters = members.iter().filter(|member| !member.learner);
    let learners = members.iter().filter(|member| member.learner);
    voters.chain(learners).flat_map(|member| member.client_urls.iter().cloned()).collect()
}
