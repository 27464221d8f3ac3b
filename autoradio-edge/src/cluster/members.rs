//! The members of the etcd cluster, and what may be done with them. Pure.

use autoradio_common::limits::ETCD_VOTERS_MAX;

use super::{ClusterError, NodeName};

/// A member of the etcd cluster.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EtcdMember {
    /// Its number, in hexadecimal where people read it.
    #[serde(serialize_with = "hexadecimal")]
    pub id: u64,
    /// Name of its node; empty as long as it has not started.
    pub name: String,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
    /// Where its clients reach it; empty as long as it has not started.
    pub client_urls: Vec<String>,
    /// Whether it follows without a vote, until it has caught up.
    pub learner: bool,
}

/// A member, and how it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MemberStatus {
    /// The member.
    #[serde(flatten)]
    pub member: EtcdMember,
    /// Whether it answers and knows a leader.
    pub healthy: bool,
    /// Whether it is the leader.
    pub leader: bool,
}

/// What a node without data of its own does in a cluster.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JoinStep {
    /// This member goes first: it is what an earlier life of this node left, and its data is lost.
    Remove(u64),
    /// A member of this node's name is elsewhere. Unless it is dead, this node must not take the name.
    Suspect(EtcdMember),
    /// A member of another name is where this node is to be: one of the two has the wrong address.
    Refuse(EtcdMember),
    /// The node becomes a member.
    Add,
    /// There are members enough: the node is a client.
    BeClient,
}

/// What comes next for the node `name` whose peers are to reach it at `peer_url`.
pub(super) fn join_step(members: &[EtcdMember], name: &NodeName, peer_url: &str) -> JoinStep {
    let at_our_url = |member: &&EtcdMember| member.peer_urls.iter().any(|url| url == peer_url);
    if let Some(old) = members.iter().find(at_our_url) {
        // Without a name, it is a join of ours that broke off before etcd started.
        let ours = old.name.is_empty() || old.name == name.as_str();
        return if ours { JoinStep::Remove(old.id) } else { JoinStep::Refuse(old.clone()) };
    }
    if let Some(namesake) = members.iter().find(|member| member.name == name.as_str()) {
        return JoinStep::Suspect(namesake.clone());
    }
    // Learners count: they vote soon.
    if members.len() >= ETCD_VOTERS_MAX { JoinStep::BeClient } else { JoinStep::Add }
}

/// What etcd wants to be told of the cluster that it joins.
pub(super) fn initial_cluster(members: &[EtcdMember], name: &NodeName, peer_url: &str) -> String {
    let mut pairs = Vec::new();
    for member in members {
        for url in &member.peer_urls {
            // etcd compares addresses only; one that has not started yet has no name to tell.
            let unnamed = format!("unstarted-{:x}", member.id);
            let theirs = if member.name.is_empty() { &unnamed } else { &member.name };
            let of = if url == peer_url { name.as_str() } else { theirs };
            pairs.push(format!("{of}={url}"));
        }
    }
    pairs.join(",")
}

/// What is amiss with so many voters, if anything is.
pub fn voters_advice(voters: usize) -> Option<&'static str> {
    match voters {
        2 => Some(
            "two members of etcd vote: the loss of either one stops all changes, so this is weaker than one alone; \
            let a third node join",
        ),
        4 => Some(
            "four members of etcd vote: they tolerate the loss of one, as three do; let a fifth node join",
        ),
        _ => None,
    }
}

/// The member of the node `which`, or, for one that has not started and so has no name, with this id (hexadecimal) or
/// peer URL.
fn find<'a>(members: &'a [MemberStatus], which: &str) -> Option<&'a MemberStatus> {
    let id = u64::from_str_radix(which, 16).ok();
    let by = |is: &dyn Fn(&EtcdMember) -> bool| members.iter().find(|it| is(&it.member));
    by(&|it| !which.is_empty() && it.name == which)
        .or_else(|| by(&|it| Some(it.id) == id))
        .or_else(|| by(&|it| it.peer_urls.iter().any(|url| url == which)))
}

/// The member `which` (a name, an id in hexadecimal, a peer URL), if it may be removed: others must be left that can
/// agree without it.
///
/// `force` is the operator's word that the healthy ones are not coming back; the last voter stays in any case.
pub fn removable<'a>(
    members: &'a [MemberStatus],
    which: &str,
    force: bool,
) -> Result<Option<&'a MemberStatus>, ClusterError> {
    let Some(leaving) = find(members, which) else { return Ok(None) };
    let voters =
        members.iter().filter(|it| !it.member.learner && it.member.id != leaving.member.id);
    let (left, healthy) = (voters.clone().count(), voters.filter(|it| it.healthy).count());
    let needed = |reason: String| ClusterError::MemberNeeded { name: which.to_owned(), reason };
    if leaving.member.learner {
        return Ok(Some(leaving));
    }
    if left == 0 {
        return Err(needed("it is the last that votes; let another node join first".to_owned()));
    }
    let quorum = left / 2 + 1;
    if healthy < quorum && !force {
        return Err(needed(format!(
            "without it {healthy} healthy of {left} voting members are left, and {quorum} must agree on any change; \
            bring others back first, or remove it with --force"
        )));
    }
    Ok(Some(leaving))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn hexadecimal<S: serde::Serializer>(id: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{id:x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, name: &str) -> EtcdMember {
        EtcdMember {
            id,
            name: name.to_owned(),
            peer_urls: vec![format!("http://192.0.2.{id}:2380")],
            client_urls: vec![format!("http://192.0.2.{id}:2379")],
            learner: false,
        }
    }

    fn status(id: u64, name: &str, healthy: bool) -> MemberStatus {
        MemberStatus { member: member(id, name), healthy, leader: false }
    }

    fn name(name: &str) -> NodeName {
        name.parse().unwrap()
    }

    #[test]
    fn five_members_are_enough_and_learners_count() {
        let mut members: Vec<_> = (1..5).map(|id| member(id, &format!("n{id}"))).collect();
        let us = (&name("us"), "http://192.0.2.9:2380");
        assert_eq!(join_step(&members, us.0, us.1), JoinStep::Add);
        members.push(EtcdMember { learner: true, ..member(5, "") });
        assert_eq!(join_step(&members, us.0, us.1), JoinStep::BeClient);
    }

    #[test]
    fn what_an_earlier_life_left_goes_first_and_a_namesake_elsewhere_is_suspect() {
        let mut members: Vec<_> = (1..6).map(|id| member(id, &format!("n{id}"))).collect();
        let step = |members: &[EtcdMember], us: &str, url: &str| join_step(members, &name(us), url);
        let at_home = "http://192.0.2.3:2380";
        assert_eq!(step(&members, "n3", at_home), JoinStep::Remove(3), "even if there are five");
        let elsewhere = "http://192.0.2.99:2380";
        assert_eq!(step(&members, "n3", elsewhere), JoinStep::Suspect(members[2].clone()));
        let wrong_address = step(&members, "us", at_home);
        assert_eq!(wrong_address, JoinStep::Refuse(members[2].clone()), "n3 may well live");
        members[2].name.clear();
        assert_eq!(step(&members, "n3", at_home), JoinStep::Remove(3), "added, never started");
    }

    #[test]
    fn etcd_is_told_of_every_member() {
        let members = [member(1, "a"), member(2, ""), member(0xfe, "")];
        let told = initial_cluster(&members, &name("b"), "http://192.0.2.2:2380");
        let want =
            "a=http://192.0.2.1:2380,b=http://192.0.2.2:2380,unstarted-fe=http://192.0.2.254:2380";
        assert_eq!(told, want);
    }

    #[test]
    fn a_member_goes_only_if_the_others_can_agree_without_it() {
        for (why, health, force, may) in [
            ("three of three", &[true, true, true][..], false, true),
            ("the dead one of three", &[false, true, true], false, true),
            ("a living one beside a dead one", &[true, true, false], false, false),
            ("the same by force", &[true, true, false], true, true),
            ("one of two", &[true, true], false, true),
            ("the last", &[true], true, false),
        ] {
            let named = |(well, id): (&bool, u64)| status(id, &format!("n{id}"), *well);
            let members: Vec<_> = health.iter().zip(1..).map(named).collect();
            assert_eq!(removable(&members, "n1", force).is_ok(), may, "{why}");
        }
        assert_eq!(removable(&[status(1, "a", true)], "b", false).unwrap(), None);
    }

    #[test]
    fn a_member_without_a_name_is_removed_by_its_id_or_peer_url() {
        let added = EtcdMember { learner: true, ..member(0xbe, "") };
        let added = MemberStatus { member: added, healthy: false, leader: false };
        let members = [status(1, "a", true), status(2, "be", true), added.clone()];
        let found = |which: &str| removable(&members, which, false).unwrap();
        assert_eq!(found("http://192.0.2.190:2380"), Some(&added));
        assert_eq!(found("be"), Some(&members[1]), "a name goes before an id");
        assert_eq!(found("0be"), Some(&added));
        assert_eq!(found(""), None);
    }

    #[test]
    fn numbers_of_voters_that_gain_nothing_are_named() {
        let advised: Vec<_> = (1..=5).filter(|voters| voters_advice(*voters).is_some()).collect();
        assert_eq!(advised, [2, 4]);
    }
}
