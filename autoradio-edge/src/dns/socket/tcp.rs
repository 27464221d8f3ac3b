//! DNS over TCP (RFC 7766): takes connections and gives each a place.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use autoradio_common::limits::DNS_TCP_IDLE_MS;
use metrics::counter;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::stream::{Client, Served};
use crate::clock;
use crate::dns::tally::Counters;
use crate::dns::{DnsError, Responder, TcpClients, Transport};

/// Connections waiting to be accepted.
const BACKLOG: i32 = 1_024;
/// Pause after an accept that failed for want of descriptors, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound listener, not yet served.
pub struct TcpServer {
    listener: TcpListener,
    idle: Duration,
}

impl TcpServer {
    /// Binds `address`; an unspecified one listens on every address of its family.
    pub fn bind(address: SocketAddr) -> Result<Self, DnsError> {
        let listener =
            open(address).map_err(|source| DnsError::Bind { protocol: "tcp", address, source })?;
        Ok(Self { listener, idle: Duration::from_millis(DNS_TCP_IDLE_MS) })
    }

    /// Where it answers: the port too if it was bound to any.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `cancel` fires; connections end with it. `clients` are those of every server of the node.
    pub async fn run(
        self,
        responder: Arc<Responder>,
        clients: Arc<TcpClients>,
        cancel: CancellationToken,
    ) {
        let counters = Counters::of(Transport::Tcp);
        let served = Arc::new(Served { responder, counters, idle: self.idle });
        loop {
            let accepted = tokio::select! {
                () = cancel.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, client)) => serve(stream, client, &served, &clients, &cancel),
                Err(error) => {
                    counter!("autoradio_dns_tcp_accept_errors_total").increment(1);
                    debug!(%error, "DNS over TCP: a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Serves a client beside the others until it leaves, is silent too long, has to give way, or the server stops.
fn serve(
    stream: TcpStream,
    client: SocketAddr,
    served: &Arc<Served>,
    clients: &Arc<TcpClients>,
    cancel: &CancellationToken,
) {
    let (place, crowded_out) = clients.enter(client.ip(), clock::boot_ms());
    if crowded_out {
        counter!("autoradio_dns_tcp_crowded_out_total").increment(1);
    }
    let (served, cancel, gone) = (served.clone(), cancel.clone(), place.gone.clone());
    tokio::spawn(async move {
        let client = Client::new(stream, client.ip(), place);
        let serving = gone.run_until_cancelled(client.serve(&served));
        // However a client ends its connection is its own affair.
        let _ = cancel.run_until_cancelled(serving).await;
    });
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

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpStream as Stream;

    use super::*;
    use crate::dns::{Policy, ZoneSettings, compile};
    use crate::placement::Placement;

    const IDLE: Duration = Duration::from_secs(2);
    const DEADLINE: Duration = Duration::from_secs(30);
    /// Between two bytes of a client.
    const PACE: Duration = Duration::from_millis(40);
    const QUERY: &[u8] = b"\0\x1d\0\x01\0\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x06\0\x01";

    /// Sends pieces at a pace until the server closes; after how long it did, if it did before `until`.
    fn closed_after(pieces: &[u8], piece_bytes: usize, until: Duration) -> Option<Duration> {
        let runtime = tokio::runtime::Runtime::new().expect("runtime");
        let settings = ZoneSettings::new("example.com", 3, &[]).expect("settings");
        let zone = Arc::new(compile(&Placement::default(), &settings));
        let responder = Responder::new(zone, Policy::named("node1".to_owned()));
        let cancel = CancellationToken::new();
        let entered = runtime.enter();
        let any = "127.0.0.1:0".parse().expect("an address");
        let server = TcpServer { idle: IDLE, ..TcpServer::bind(any).expect("a port") };
        let address = server.local_address().expect("an address");
        runtime.spawn(server.run(responder, Arc::default(), cancel));
        drop(entered);
        let start = clock::now();
        let mut client = Stream::connect(address).expect("connected");
        client.set_read_timeout(Some(PACE)).expect("a timeout");
        let mut pieces = pieces.chunks(piece_bytes).cycle();
        while start.elapsed() < until {
            let sent = client.write_all(pieces.next().expect("endless"));
            match client.read(&mut [0; 512]) {
                Err(error) if sent.is_ok() && error.kind() == ErrorKind::WouldBlock => {}
                Ok(1..) => {}
                _ => return Some(start.elapsed()),
            }
        }
        None
    }

    #[test]
    fn a_client_whose_message_trickles_in_is_closed_when_its_time_is_over() {
        let closed = closed_after(&[&[0x0f, 0xff][..], &[0; 4_095]].concat(), 1, DEADLINE);
        let after = closed.expect("closed before the deadline");
        assert!(after + PACE >= IDLE, "{after:?}");
        assert!(after < DEADLINE / 2, "{after:?}: bytes must not move the deadline");
    }

    #[test]
    fn a_client_that_goes_on_asking_stays() {
        assert_eq!(closed_after(QUERY, QUERY.len(), 2 * IDLE), None);
    }
}
