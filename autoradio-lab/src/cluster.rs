//! What the nodes of a lab are together: whole or not, led by whom, master of what.

use std::time::Duration;

use crate::{Lab, LabError, Node, clock};

/// Most etcds that vote; further nodes are clients of the cluster.
const VOTERS_MAX: usize = 5;

impl Lab {
    /// Waits until every node is ready and every etcd that can vote does and answers.
    pub fn wait_whole(&self, limit: Duration) -> Result<(), LabError> {
        let voters = self.nodes().len().min(VOTERS_MAX);
        clock::wait_until(&format!("all nodes are ready and {voters} etcds vote"), limit, || {
            self.nodes().iter().all(Node::is_ready)
                && self.nodes().iter().filter(|node| node.votes_among(voters)).count() == voters
        })
    }

    /// The node whose etcd leads, if one does.
    pub fn etcd_leader(&self) -> Option<&Node> {
        self.nodes().iter().find(|node| node.leads_etcd())
    }

    /// The node that all of `seen_by` call the mount's master; `None` while they do not agree.
    pub fn master_seen_by(&self, path: &str, seen_by: &[&Node]) -> Option<&Node> {
        let master = |node: &Node| node.status().ok()?.master(path).map(str::to_owned);
        let (first, others) = seen_by.split_first()?;
        let name = master(first)?;
        let agreed = others.iter().all(|node| master(node).as_ref() == Some(&name));
        self.nodes().iter().find(|node| agreed && node.host().name() == name)
    }

    /// Waits until all nodes call the same one the mount's master. Returns it.
    pub fn wait_master(&self, path: &str, limit: Duration) -> Result<&Node, LabError> {
        let all: Vec<&Node> = self.nodes().iter().collect();
        self.wait_master_seen_by(path, &all, limit)
    }

    /// The same, for as many nodes as live.
    pub fn wait_master_seen_by(
        &self,
        path: &str,
        seen_by: &[&Node],
        limit: Duration,
    ) -> Result<&Node, LabError> {
        let what = format!("{path} has a master");
        let mut master = None;
        clock::wait_until(&what, limit, || {
            master = self.master_seen_by(path, seen_by);
            master.is_some()
        })?;
        master.ok_or(LabError::Deadline { what, limit })
    }

    /// All nodes but one.
    pub fn others(&self, node: &Node) -> Vec<&Node> {
        self.nodes().iter().filter(|other| other.host().name() != node.host().name()).collect()
    }
}

impl Node {
    /// Whether this node's etcd answers with a quorum behind it, and knows of so many that vote.
    fn votes_among(&self, voters: usize) -> bool {
        self.etcd_voters().is_ok_and(|names| names.len() == voters)
            && self.etcdctl(&["endpoint", "health"]).is_ok()
    }
}
