//! Numbers of listeners that mean one listener of the whole cluster. Pure.
//!
//! Icecast's are numbers, and so programs take them. A node's own number stands in the lower 32 bits, 21 bits that its name
//! gives above them: 53 bits are what every program can hold, JavaScript too. Two nodes of a cluster whose bits are the same are one
//! pair in two million; even so a listener is asked for by its mount and its number there.

use sha2::{Digest, Sha256};

use crate::cluster::NodeName;

/// Bits of the node's own number.
const OWN_BITS: u32 = 32;
const OWN_MASK: u64 = (1 << OWN_BITS) - 1;
const NODE_MASK: u64 = (1 << 21) - 1;

/// The cluster's number of the listener that has this one on the node.
pub(super) fn in_cluster(node: &NodeName, own: u64) -> u64 {
    prefix(node) << OWN_BITS | own & OWN_MASK
}

/// The number that the node itself has for it, if it may be one of the node's.
pub(super) fn on_node(node: &NodeName, id: u64) -> Option<u64> {
    (id >> OWN_BITS == prefix(node)).then_some(id & OWN_MASK)
}

/// Never 0, so that no number of the cluster looks like one of a single node.
fn prefix(node: &NodeName) -> u64 {
    let digest: [u8; 32] = Sha256::digest(node.as_str().as_bytes()).into();
    let number = digest[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    (number & NODE_MASK).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_means_one_listener_of_one_node() {
        let [one, two] = ["node1", "node2"].map(|name| name.parse().expect("a name"));
        let id = in_cluster(&one, 17);
        assert_eq!((on_node(&one, id), on_node(&two, id)), (Some(17), None));
        assert_eq!(on_node(&one, 17), None, "a node's own number means nothing elsewhere");
        assert_eq!(on_node(&one, in_cluster(&one, OWN_MASK)), Some(OWN_MASK));
        assert!(in_cluster(&two, u64::MAX) < 1 << 53, "exact as a floating point number");
    }
}
