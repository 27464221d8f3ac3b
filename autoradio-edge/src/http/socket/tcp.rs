//! What every connection of the front asks of TCP.

use std::io;
use std::time::Duration;

use autoradio_common::limits::{
    HTTP_KEEPALIVE_IDLE_MS, HTTP_KEEPALIVE_PAUSE_MS, HTTP_KEEPALIVE_QUESTIONS_MAX,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// No delay: heads and titles are small and must not wait for more, and audio comes in pieces that are worth a segment.
/// Keepalive: a peer whose machine or way is gone says nothing, and would hold its place for ever.
pub(super) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_millis(HTTP_KEEPALIVE_IDLE_MS))
        .with_interval(Duration::from_millis(HTTP_KEEPALIVE_PAUSE_MS))
        .with_retries(HTTP_KEEPALIVE_QUESTIONS_MAX);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_peer_is_asked_whether_it_is_still_there() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stream = TcpStream::connect(address).await.expect("a connection");
        tune(&stream).expect("loopback takes it");
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().expect("readable"));
        let idle = socket.tcp_keepalive_time().expect("readable");
        assert_eq!(idle, Duration::from_millis(HTTP_KEEPALIVE_IDLE_MS));
    }
}
