//! A node's DNS servers on ports of their own, and clients.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use autoradio_edge::clock;
use autoradio_edge::dns::{
    Policy, Responder, TcpClients, TcpServer, UdpServer, ZoneSettings, compile,
};
use autoradio_edge::placement::Placement;
use hickory_proto::op::Message;
use socket2::{Domain, Socket, Type};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Servers on UDP and TCP.
pub(crate) struct Server {
    pub(crate) udp: SocketAddr,
    pub(crate) tcp: SocketAddr,
    runtime: Option<Runtime>,
    cancel: CancellationToken,
}

impl Server {
    /// Answers at `address` for the zone `example.com`, which has no nodes.
    pub(crate) fn start(address: impl Into<IpAddr>, policy: Policy) -> Self {
        let any_port = SocketAddr::new(address.into(), 0);
        let settings = ZoneSettings::new("example.com", 3, &[]).expect("settings");
        let zone = Arc::new(compile(&Placement::default(), &settings));
        let responder = Responder::new(zone, policy);
        let (runtime, cancel) = (Runtime::new().expect("runtime"), CancellationToken::new());
        let entered = runtime.enter();
        let udp_server = UdpServer::bind(any_port).expect("a port");
        let tcp_server = TcpServer::bind(any_port).expect("a port");
        let (udp, tcp) =
            (udp_server.local_address(), tcp_server.local_address().expect("an address"));
        runtime.spawn(udp_server.run(responder.clone(), cancel.clone()));
        runtime.spawn(tcp_server.run(responder, Arc::new(TcpClients::default()), cancel.clone()));
        drop(entered);
        Self { udp, tcp, runtime: Some(runtime), cancel }
    }

    pub(crate) fn on_loopback() -> Self {
        Self::start(Ipv4Addr::LOCALHOST, policy())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(DEADLINE);
        }
    }
}

/// No cookies, no limit.
pub(crate) fn policy() -> Policy {
    Policy::named("node1".to_owned())
}

/// A query for the zone's SOA.
pub(crate) fn query(id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    let head = [high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    [&head[..], b"\x07example\x03com\x00\x00\x06\x00\x01"].concat()
}

/// Panics unless `reply` answers `query(id)` whole.
pub(crate) fn assert_answers(reply: &[u8], id: u16) {
    let reply = Message::from_vec(reply).expect("hickory reads it");
    assert_eq!((reply.metadata.id, reply.answers.len()), (id, 1), "{reply:?}");
}

/// A UDP client at any port.
pub(crate) fn udp_client(address: impl Into<IpAddr>) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(address.into(), 0)).expect("a port");
    socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    socket
}

/// Asks again and again, as resolvers do, until there is an answer.
pub(crate) fn assert_answered_over_udp(server: SocketAddr) {
    let client = udp_client(Ipv4Addr::LOCALHOST);
    client.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let (mut reply, start) = ([0; 1_500], clock::now());
    while start.elapsed() < DEADLINE {
        client.send_to(&query(9), server).expect("sent");
        if let Ok(bytes) = client.recv(&mut reply) {
            return assert_answers(&reply[..bytes], 9);
        }
    }
    panic!("no answer within {DEADLINE:?}");
}

/// A TCP client that connects from `source`.
pub(crate) fn tcp_client(source: impl Into<IpAddr>, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source.into(), 0).into())?;
    socket.connect_timeout(&server.into(), DEADLINE)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// Messages as they stand on a TCP stream.
pub(crate) fn framed(messages: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let frame = |message: Vec<u8>| [&(message.len() as u16).to_be_bytes()[..], &message].concat();
    messages.into_iter().flat_map(frame).collect()
}

pub(crate) fn read_reply(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

pub(crate) fn assert_answered_over_tcp(server: SocketAddr) {
    let start = clock::now();
    let mut client = tcp_client(Ipv4Addr::LOCALHOST, server).expect("connected");
    client.write_all(&framed([query(9)])).expect("sent");
    assert_answers(&read_reply(&mut client).expect("a reply"), 9);
    assert!(start.elapsed() < DEADLINE, "{:?}", start.elapsed());
}

/// Memory of this process, in bytes.
pub(crate) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib = line.trim().trim_end_matches(" kB");
    kib.parse::<u64>().expect("a number") * 1_024
}
