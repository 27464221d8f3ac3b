//! DNS over UDP: one socket per listening address; replies leave from the address that was asked.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::libc;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tracing::trace;

use crate::clock;
use crate::dns::{DnsError, Responder, Transport};

/// Longest query read, in bytes; a longer one is cut and answered FORMERR.
const QUERY_BYTES_MAX: usize = 4_096;

/// Where a query came to: the reply's source address, whatever the routes say.
#[derive(Clone, Copy)]
enum AskedAddress {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

/// A bound socket, not yet served.
pub struct UdpServer {
    socket: UdpSocket,
}

impl UdpServer {
    /// Binds `address`; an unspecified one answers on every address of its family.
    pub fn bind(address: SocketAddr) -> Result<Self, DnsError> {
        let socket =
            open(address).map_err(|source| DnsError::Bind { protocol: "udp", address, source })?;
        Ok(Self { socket })
    }

    /// Answers until `cancel` fires.
    pub async fn run(self, responder: Arc<Responder>, cancel: CancellationToken) {
        loop {
            let served = tokio::select! {
                () = cancel.cancelled() => return,
                served = serve_one(&self.socket, &responder) => served,
            };
            // Whoever sends queries chooses how many fail: they are counted, not told one by one.
            if let Err(error) = served {
                metrics::counter!("autoradio_dns_udp_errors_total").increment(1);
                trace!(%error, "a query could not be answered");
            }
        }
    }
}

fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, Ipv4PacketInfo, &true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

async fn serve_one(socket: &UdpSocket, responder: &Responder) -> io::Result<()> {
    let mut buffer = [0u8; QUERY_BYTES_MAX];
    let (bytes, client, asked) =
        socket.async_io(Interest::READABLE, || receive(socket, &mut buffer)).await?;
    if port_of(&client) == Some(0) {
        return Ok(()); // Nobody can listen there; a reply would only help a reflector.
    }
    let Some(address) = address_of(&client) else { return Ok(()) };
    let now_s = clock::unix_s();
    let Some(reply) = responder.answer(&buffer[..bytes], address, now_s, Transport::Udp) else {
        return Ok(());
    };
    socket.async_io(Interest::WRITABLE, || send(socket, &reply, &client, asked)).await
}

fn address_of(client: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = client.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| client.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

fn port_of(client: &SockaddrStorage) -> Option<u16> {
    let v4 = client.as_sockaddr_in().map(nix::sys::socket::SockaddrIn::port);
    v4.or_else(|| client.as_sockaddr_in6().map(nix::sys::socket::SockaddrIn6::port))
}

type Received = (usize, SockaddrStorage, Option<AskedAddress>);

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let fd = socket.as_raw_fd();
    let message =
        recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), MsgFlags::empty())?;
    let asked = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(AskedAddress::V4(info)),
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(AskedAddress::V6(info)),
        _ => None,
    });
    let client = message.address.ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok((message.bytes, client, asked))
}

fn send(
    socket: &UdpSocket,
    reply: &[u8],
    client: &SockaddrStorage,
    asked: Option<AskedAddress>,
) -> io::Result<()> {
    let parts = [IoSlice::new(reply)];
    let fd = socket.as_raw_fd();
    let flags = MsgFlags::empty();
    match asked {
        // No interface: the routes choose it, only the address is kept.
        Some(AskedAddress::V4(mut info)) => {
            info.ipi_ifindex = 0;
            let control = [ControlMessage::Ipv4PacketInfo(&info)];
            sendmsg(fd, &parts, &control, flags, Some(client))?;
        }
        // The interface stays: a link-local client needs it.
        Some(AskedAddress::V6(info)) => {
            let control = [ControlMessage::Ipv6PacketInfo(&info)];
            sendmsg(fd, &parts, &control, flags, Some(client))?;
        }
        None => {
            sendmsg(fd, &parts, &[], flags, Some(client))?;
        }
    }
    Ok(())
}
