//! DNS over TCP (RFC 7766): length-prefixed messages, any number per connection, answered in order.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use autoradio_common::limits::{DNS_TCP_CLIENTS_MAX, DNS_TCP_IDLE_MS};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::clock;
use crate::dns::{DnsError, Responder, Transport};

/// Connections waiting to be accepted.
const BACKLOG: i32 = 256;
/// Pause after an accept that failed for want of descriptors, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound listener, not yet served.
pub struct TcpServer {
    listener: TcpListener,
}

impl TcpServer {
    /// Binds `address`; an unspecified one listens on every address of its family.
    pub fn bind(address: SocketAddr) -> Result<Self, DnsError> {
        let listener =
            open(address).map_err(|source| DnsError::Bind { protocol: "tcp", address, source })?;
        Ok(Self { listener })
    }

    /// Answers until `cancel` fires; connections end with it.
    pub async fn run(self, responder: Arc<Responder>, cancel: CancellationToken) {
        let places = Arc::new(Semaphore::new(DNS_TCP_CLIENTS_MAX));
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, client) = match accepted {
                Ok((stream, client)) => (stream, client.ip()),
                Err(error) => {
                    metrics::counter!("autoradio_dns_tcp_accept_errors_total").increment(1);
                    debug!(%error, "DNS over TCP: a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Over the limit the connection is closed at once: the client asks again or elsewhere.
            let Ok(place) = places.clone().try_acquire_owned() else {
                metrics::counter!("autoradio_dns_tcp_refused_total").increment(1);
                continue;
            };
            let (responder, cancel) = (responder.clone(), cancel.clone());
            tokio::spawn(async move {
                let _place = place;
                // However a client ends its connection is its own affair.
                let _ = cancel.run_until_cancelled(serve(stream, client, &responder)).await;
            });
        }
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn serve(mut stream: TcpStream, client: IpAddr, responder: &Responder) -> io::Result<()> {
    let idle = Duration::from_millis(DNS_TCP_IDLE_MS);
    let mut message = Vec::new();
    loop {
        timeout(idle, read_message(&mut stream, &mut message)).await??;
        let Some(reply) = responder.answer(&message, client, clock::unix_s(), Transport::Tcp)
        else {
            return Ok(()); // A response or half a header: this is no DNS client.
        };
        let mut framed = (reply.len() as u16).to_be_bytes().to_vec();
        framed.extend_from_slice(&reply);
        timeout(idle, stream.write_all(&framed)).await??;
    }
}

async fn read_message(stream: &mut TcpStream, message: &mut Vec<u8>) -> io::Result<()> {
    let bytes = stream.read_u16().await?;
    message.resize(usize::from(bytes), 0);
    stream.read_exact(message).await.map(|_| ())
}
