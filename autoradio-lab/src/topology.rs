//! The network of a lab: a bridge in its own namespace and one veth pair per host, or one wire
//! between two hosts.

use std::path::Path;

use crate::LabError;
use crate::host::Host;
use crate::names::{BRIDGE, V4_PREFIX_BITS, V6_PREFIX_BITS};
use crate::{command, netns};

/// The interface each host has.
pub const INTERFACE: &str = "eth0";

/// How the network is to be built.
#[derive(Clone, Copy, Debug)]
pub struct Network<'a> {
    /// The bridge's namespace.
    pub bridge: &'a str,
    /// Largest packet, in bytes; native XDP on veth takes at most about 3400.
    pub mtu: u16,
    /// Object file with a program in section `xdp` that passes everything.
    pub pass_object: &'a Path,
}

/// Makes the bridge.
pub fn create_bridge(network: Network) -> Result<(), LabError> {
    let bridge = network.bridge;
    netns::create(bridge)?;
    // Without snooping, neighbour discovery works from the first packet on.
    netns::ip(
        bridge,
        &["link", "add", BRIDGE, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"],
    )?;
    netns::ip(bridge, &["link", "set", BRIDGE, "up"])
}

/// Makes a host's namespace and its wire to the bridge.
pub fn create_host(network: Network, host: &Host) -> Result<(), LabError> {
    let (bridge, namespace, port) = (network.bridge, host.namespace(), host.name());
    let mtu = network.mtu.to_string();
    netns::create(namespace)?;
    #[rustfmt::skip]
    netns::ip(bridge, &[
        "link", "add", port, "mtu", &mtu, "type", "veth",
        "peer", "name", INTERFACE, "mtu", &mtu, "netns", namespace,
    ])?;
    netns::ip(bridge, &["link", "set", port, "master", BRIDGE])?;
    pass_everything(network, port)?;
    netns::ip(bridge, &["link", "set", port, "up"])?;
    set_up(host)
}

/// Makes two hosts' namespaces and the wire between them.
pub fn create_pair(network: Network, left: &Host, right: &Host) -> Result<(), LabError> {
    let mtu = network.mtu.to_string();
    [left, right].iter().try_for_each(|host| netns::create(host.namespace()))?;
    #[rustfmt::skip]
    netns::ip(left.namespace(), &[
        "link", "add", INTERFACE, "mtu", &mtu, "type", "veth",
        "peer", "name", INTERFACE, "mtu", &mtu, "netns", right.namespace(),
    ])?;
    // Native XDP_TX is delivered to an end without a program if that end collects its packets.
    [left, right].iter().try_for_each(|host| set_up(host).and_then(|()| offload(host, "gro", "on")))
}

/// Gives a host's interface its addresses and takes it into use.
fn set_up(host: &Host) -> Result<(), LabError> {
    let namespace = host.namespace();
    let v4 = format!("{}/{V4_PREFIX_BITS}", host.v4());
    let v6 = format!("{}/{V6_PREFIX_BITS}", host.v6());
    netns::ip(namespace, &["address", "add", &v4, "dev", INTERFACE])?;
    // Duplicate address detection would hold the address back for a second.
    netns::ip(namespace, &["address", "add", &v6, "dev", INTERFACE, "nodad"])?;
    // With offload on, packets made on this machine carry half a checksum, which no program on the
    // far end could rewrite correctly.
    offload(host, "tx", "off")?;
    netns::ip(namespace, &["link", "set", INTERFACE, "up"])
}

/// A packet that native XDP on one end of a veth sends back is lost unless the other end has a
/// native XDP program too; this one passes everything. `ip` leaves it attached.
pub(crate) fn pass_everything(network: Network, port: &str) -> Result<(), LabError> {
    let mut attach = netns::command(network.bridge, "ip");
    attach.args(["link", "set", "dev", port, "xdpdrv", "obj"]);
    attach.arg(network.pass_object).args(["sec", "xdp"]);
    command::stdout(attach).map(drop)
}

fn offload(host: &Host, feature: &str, state: &str) -> Result<(), LabError> {
    host.run("ethtool", &["-K", INTERFACE, feature, state]).map(drop)
}
