//! What differs between IPv4 and IPv6 in receiving a query at one address and replying from it.

use std::net::{IpAddr, Ipv6Addr};

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, SockaddrIn, SockaddrIn6, SockaddrLike,
};

/// A family of addresses.
pub(super) trait Family {
    /// A client's address as the system has it.
    type Client: SockaddrLike + Copy + 'static;
    /// The address that was asked, for the reply to leave from.
    type Asked: Copy;

    /// Bytes of the control message that brings it.
    const CONTROL_BYTES: usize;

    /// The client's address and port.
    fn client(client: &Self::Client) -> (IpAddr, u16);

    /// Reads where a query came to. `None`: not to an address that is this host's alone, so that nothing is replied.
    fn asked(control: &ControlMessageOwned) -> Option<Self::Asked>;

    /// Makes the reply leave from there.
    fn control(asked: &Self::Asked) -> ControlMessage<'_>;

    /// Whether two queries came to the same address.
    fn same(one: &Self::Asked, other: &Self::Asked) -> bool;
}

/// IPv4.
pub(super) struct V4;

impl Family for V4 {
    type Client = SockaddrIn;
    type Asked = libc::in_pktinfo;

    const CONTROL_BYTES: usize = nix::sys::socket::cmsg_space::<libc::in_pktinfo>();

    fn client(client: &SockaddrIn) -> (IpAddr, u16) {
        (client.ip().into(), client.port())
    }

    fn asked(control: &ControlMessageOwned) -> Option<libc::in_pktinfo> {
        let ControlMessageOwned::Ipv4PacketInfo(info) = control else { return None };
        // They differ where the query was sent to a group or to all of a network.
        let to_us = info.ipi_addr.s_addr == info.ipi_spec_dst.s_addr;
        // No interface: the routes choose it, only the address is kept.
        to_us.then_some(libc::in_pktinfo { ipi_ifindex: 0, ..*info })
    }

    fn control(asked: &libc::in_pktinfo) -> ControlMessage<'_> {
        ControlMessage::Ipv4PacketInfo(asked)
    }

    fn same(one: &libc::in_pktinfo, other: &libc::in_pktinfo) -> bool {
        one.ipi_spec_dst.s_addr == other.ipi_spec_dst.s_addr
    }
}

/// IPv6.
pub(super) struct V6;

impl Family for V6 {
    type Client = SockaddrIn6;
    type Asked = libc::in6_pktinfo;

    const CONTROL_BYTES: usize = nix::sys::socket::cmsg_space::<libc::in6_pktinfo>();

    fn client(client: &SockaddrIn6) -> (IpAddr, u16) {
        (client.ip().into(), client.port())
    }

    fn asked(control: &ControlMessageOwned) -> Option<libc::in6_pktinfo> {
        let ControlMessageOwned::Ipv6PacketInfo(info) = control else { return None };
        let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
        // An address that is of one link only needs the interface; otherwise the routes choose it.
        let ipi6_ifindex = if address.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
        (!address.is_multicast()).then_some(libc::in6_pktinfo { ipi6_ifindex, ..*info })
    }

    fn control(asked: &libc::in6_pktinfo) -> ControlMessage<'_> {
        ControlMessage::Ipv6PacketInfo(asked)
    }

    fn same(one: &libc::in6_pktinfo, other: &libc::in6_pktinfo) -> bool {
        one.ipi6_addr.s6_addr == other.ipi6_addr.s6_addr && one.ipi6_ifindex == other.ipi6_ifindex
    }
}
