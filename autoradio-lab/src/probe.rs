//! Whether this machine lets a lab be made: root in a container may lack what it takes.

use std::path::Path;

use crate::topology::{self, Network};
use crate::{LabError, command, names, netns};

/// The probe's place among the host names, and its interface.
const PROBE: &str = "probe";

/// Does once, in a namespace of its own, what every lab needs of the kernel: a namespace, a pair of
/// interfaces, and `pass_object` loaded on one end. An error says what is not possible.
pub fn try_all(pass_object: &Path) -> Result<(), LabError> {
    crate::lab::require_root()?;
    crate::lab::require_pass_object(pass_object)?;
    let namespace = names::namespace(&names::unique(std::process::id()), PROBE);
    let tried = try_in(&namespace, pass_object);
    // The interfaces go with it.
    tried.and(netns::delete(&namespace))
}

fn try_in(namespace: &str, pass_object: &Path) -> Result<(), LabError> {
    netns::create(namespace)?;
    // `ip netns add` succeeds in places where nothing can be run inside.
    command::stdout(netns::command(namespace, "true"))?;
    netns::ip(namespace, &["link", "add", PROBE, "type", "veth", "peer", "name", "peer"])?;
    topology::pass_everything(Network { bridge: namespace, mtu: 1500, pass_object }, PROBE)
}
