//! DNS over UDP: for each listening address one socket and one thread per core, among which the system shares clients out
//! (`SO_REUSEPORT`); replies leave from the address that was asked.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use autoradio_common::limits::{DNS_UDP_BUFFER_BYTES, DNS_UDP_THREADS_MAX};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{
    Ipv4PacketInfo, Ipv6RecvPacketInfo, RcvBufForce, ReusePort, SndBufForce,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::batch::Batch;
use super::family::{Family, V4, V6};
use crate::dns::{DnsError, Responder};

/// The bound sockets of one address, not yet served.
pub struct UdpServer {
    address: SocketAddr,
    sockets: Vec<Socket>,
}

impl UdpServer {
    /// Binds `address`; an unspecified one answers on every address of its family.
    pub fn bind(address: SocketAddr) -> Result<Self, DnsError> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(DNS_UDP_THREADS_MAX);
        Self::bind_all(address, threads).map_err(|source| DnsError::Bind {
            protocol: "udp",
            address,
            source,
        })
    }

    /// The first socket asks for the port without sharing it, so that another server there is noticed, and shares it after.
    fn bind_all(address: SocketAddr, threads: usize) -> io::Result<Self> {
        let first = open(address)?;
        first.bind(&address.into())?;
        setsockopt(&first, ReusePort, &true)?;
        let address = first.local_addr()?.as_socket().unwrap_or(address);
        let mut sockets = vec![first];
        while sockets.len() < threads {
            let socket = open(address)?;
            setsockopt(&socket, ReusePort, &true)?;
            socket.bind(&address.into())?;
            sockets.push(socket);
        }
        Ok(Self { address, sockets })
    }

    /// Where it answers: the port too if it was bound to any.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `cancel` fires, or until a thread has ended by itself, which the log tells.
    pub async fn run(self, responder: Arc<Responder>, cancel: CancellationToken) {
        let (stop, ended) = (Stop::default(), CancellationToken::new());
        let sockets: Vec<_> = self.sockets.into_iter().map(Arc::new).collect();
        let mut threads = Vec::new();
        for socket in &sockets {
            let worker = Worker {
                socket: socket.clone(),
                responder: responder.clone(),
                stop: stop.clone(),
                _ended: ended.clone().drop_guard(),
            };
            match worker.spawn(self.address.is_ipv4()) {
                Ok(thread) => threads.push(thread),
                Err(failed) => {
                    error!(%failed, "DNS over UDP: a thread could not be started");
                    break; // Its guard is gone.
                }
            }
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = ended.cancelled() => {}
        }
        stop.stop(&sockets);
        drop(tokio::task::spawn_blocking(move || threads.into_iter().for_each(join)).await);
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        error!("DNS over UDP: a thread has ended by a fault");
    }
}

/// Tells the threads to end.
#[derive(Clone, Default)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn is_told(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Shutting a socket down ends its thread's wait for the next query.
    fn stop(&self, sockets: &[Arc<Socket>]) {
        self.0.store(true, Ordering::SeqCst);
        for socket in sockets {
            // It says that the socket is not connected, and wakes whoever reads it all the same.
            let _ = socket.shutdown(Shutdown::Read);
        }
    }
}

/// What one thread has.
struct Worker {
    socket: Arc<Socket>,
    responder: Arc<Responder>,
    stop: Stop,
    _ended: tokio_util::sync::DropGuard,
}

impl Worker {
    fn spawn(self, is_ipv4: bool) -> io::Result<JoinHandle<()>> {
        let serve = if is_ipv4 { Self::serve::<V4> } else { Self::serve::<V6> };
        thread::Builder::new().name("dns-udp".to_owned()).spawn(move || serve(&self))
    }

    fn serve<F: Family>(&self) {
        let mut batch = Batch::<F>::new();
        while !self.stop.is_told() {
            batch.receive(&*self.socket, || self.stop.is_told());
            batch.answer(&self.responder);
            batch.send(&*self.socket);
        }
    }
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
        setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
    } else {
        setsockopt(&socket, Ipv4PacketInfo, &true)?;
    }
    enlarge_buffers(&socket)?;
    Ok(socket)
}

/// Bursts wait instead of being lost: as long as the host's limits allow where this process may not exceed them.
fn enlarge_buffers(socket: &Socket) -> io::Result<()> {
    if setsockopt(socket, RcvBufForce, &DNS_UDP_BUFFER_BYTES).is_err() {
        socket.set_recv_buffer_size(DNS_UDP_BUFFER_BYTES)?;
    }
    if setsockopt(socket, SndBufForce, &DNS_UDP_BUFFER_BYTES).is_err() {
        socket.set_send_buffer_size(DNS_UDP_BUFFER_BYTES)?;
    }
    Ok(())
}
