//! Reads how a client begins: what a proxy says about it, then the head of a request or a SHOUTcast login, within their limits. What came
//! after is kept.

use std::net::IpAddr;
use std::time::Duration;

use autoradio_common::limits::HTTP_HEAD_BYTES_MAX;
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::http::{FrontError, Login, ProxyHeader, RequestHead, TrustedProxies};

/// Room for one read: most heads have room in it, and who connects and says nothing holds no more.
const READ_BYTES: usize = 1024;

/// A request as far as it has come.
#[derive(Debug)]
pub(super) struct Sniffed {
    /// The head.
    pub(super) head: RequestHead,
    /// All bytes read: the head, then the beginning of the body.
    pub(super) bytes: Bytes,
    /// Whose request it is: whoever the connection comes from, or whom a trusted proxy names.
    pub(super) from: IpAddr,
    /// Whether the connection is that of a trusted proxy.
    pub(super) by_proxy: bool,
}

impl Sniffed {
    /// What was read past the head: ffmpeg in its old form sends audio in the same segment.
    pub(super) fn rest(&self) -> Bytes {
        self.bytes.slice(self.head.bytes..)
    }
}

/// How a client has begun.
#[derive(Debug)]
pub(super) enum Opening {
    /// With a request.
    Http(Sniffed),
    /// With a SHOUTcast login.
    Login {
        /// The line.
        login: Login,
        /// What was read past it.
        rest: BytesMut,
        /// Whose it is.
        from: IpAddr,
    },
}

impl Opening {
    /// Whose it is: whoever the connection comes from, or whom a trusted proxy names.
    pub(super) fn from(&self) -> IpAddr {
        match self {
            Self::Http(request) => request.from,
            Self::Login { from, .. } => *from,
        }
    }
}

/// How a connection is read.
#[derive(Clone, Copy)]
pub(super) struct Manner<'a> {
    /// Where it comes from.
    pub(super) peer: IpAddr,
    /// Proxies that are believed.
    pub(super) proxies: &'a TrustedProxies,
    /// Whether SHOUTcast sources may come this way.
    pub(super) logins: bool,
    /// Longest time until the head is whole.
    pub(super) longest: Duration,
}

/// Reads a head: at most its byte limit, at most for as long as `manner` says.
pub(super) async fn sniff(
    client: &mut (impl AsyncRead + Unpin),
    manner: Manner<'_>,
) -> Result<Opening, FrontError> {
    let reading = read_opening(client, manner);
    tokio::time::timeout(manner.longest, reading).await.unwrap_or(Err(FrontError::HeadTooSlow))
}

async fn read_opening(
    client: &mut (impl AsyncRead + Unpin),
    manner: Manner<'_>,
) -> Result<Opening, FrontError> {
    let mut bytes = BytesMut::new();
    let mut from = manner.peer.to_canonical();
    if manner.proxies.contains(from) {
        from = read_proxy_header(client, &mut bytes).await?.unwrap_or(from);
    }
    let mut seen = 0;
    loop {
        // A head ends with a line, so bytes that end none need no look: a client that sends one byte at a time
        // would otherwise cost a parse of everything for each. The first bytes tell whether this is HTTP at all.
        let ends_a_line = bytes[seen..].contains(&b'\n');
        let looked_at = seen == 0 || ends_a_line || bytes.len() >= HTTP_HEAD_BYTES_MAX;
        if looked_at
            && !bytes.is_empty()
            && let Some(opening) = opening(&bytes, from, manner)?
        {
            return Ok(opening);
        }
        seen = bytes.len();
        read_more(client, &mut bytes).await?;
    }
}

/// What the bytes begin, if that is whole.
fn opening(
    bytes: &BytesMut,
    from: IpAddr,
    manner: Manner<'_>,
) -> Result<Option<Opening>, FrontError> {
    if manner.logins {
        if let Some(login) = Login::parse(bytes)? {
            let rest = BytesMut::from(&bytes[login.bytes..]);
            return Ok(Some(Opening::Login { login, rest, from }));
        }
        // Until its line is whole, a login is no malformed request.
        if !bytes.contains(&b'\n') && bytes.len() < HTTP_HEAD_BYTES_MAX {
            return Ok(None);
        }
    }
    let Some(head) = RequestHead::parse(bytes)? else { return Ok(None) };
    let from = manner.proxies.client(&head, from);
    let by_proxy = manner.proxies.contains(manner.peer.to_canonical());
    let bytes = Bytes::copy_from_slice(bytes);
    Ok(Some(Opening::Http(Sniffed { head, bytes, from, by_proxy })))
}

/// Reads what a trusted proxy says before the client's own bytes, and takes it off them. `None`: nothing, or nobody's address.
async fn read_proxy_header(
    client: &mut (impl AsyncRead + Unpin),
    bytes: &mut BytesMut,
) -> Result<Option<IpAddr>, FrontError> {
    loop {
        read_more(client, bytes).await?;
        match ProxyHeader::parse(bytes) {
            ProxyHeader::Partial => {}
            ProxyHeader::Absent => return Ok(None),
            ProxyHeader::Malformed => return Err(FrontError::ProxyMalformed),
            ProxyHeader::Whole { bytes: header_bytes, client } => {
                bytes.advance(header_bytes);
                return Ok(client);
            }
        }
    }
}

/// Reads what has come, at least a byte.
pub(super) async fn read_more(
    client: &mut (impl AsyncRead + Unpin),
    bytes: &mut BytesMut,
) -> Result<(), FrontError> {
    bytes.reserve(READ_BYTES);
    let read = client.read_buf(bytes).await;
    match read.map_err(|source| FrontError::Client { source })? {
        0 => Err(FrontError::ClientGone),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    const LONG: Duration = Duration::from_secs(60);

    fn proxies() -> TrustedProxies {
        ["10.0.0.0/8".parse().expect("a network")].into_iter().collect()
    }

    async fn sniff_from(
        peer: &str,
        logins: bool,
        client: &mut (impl AsyncRead + Unpin),
    ) -> Result<Opening, FrontError> {
        let peer = peer.parse().expect("an address");
        sniff(client, Manner { peer, proxies: &proxies(), logins, longest: LONG }).await
    }

    async fn sniffed(client: &mut (impl AsyncRead + Unpin)) -> Sniffed {
        match sniff_from("192.0.2.1", false, client).await {
            Ok(Opening::Http(sniffed)) => sniffed,
            other => panic!("no request: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_head_that_comes_byte_by_byte_is_read_and_the_rest_is_kept() {
        let (mut client, mut server) = tokio::io::duplex(1);
        let sent = b"SOURCE /m ICE/1.0\r\nContent-Type: audio/mpeg\r\n\r\n\xff\xfb";
        let writing = tokio::spawn(async move { client.write_all(sent).await });
        let read = sniffed(&mut server).await;
        assert_eq!(read.head.method, "SOURCE");
        assert!(read.rest().is_empty(), "the pipe holds one byte");
        drop(server);
        let _ = writing.await;

        let read = sniffed(&mut &sent[..]).await;
        assert_eq!(&read.rest()[..], b"\xff\xfb");
    }

    #[tokio::test]
    async fn a_client_that_stops_in_its_head_is_too_slow_and_one_that_leaves_is_gone() {
        let (mut client, mut server) = tokio::io::duplex(64);
        client.write_all(b"GET / HT").await.expect("room");
        let (peer, longest) = (IpAddr::from([192, 0, 2, 1]), Duration::from_millis(20));
        let manner = Manner { peer, proxies: &proxies(), logins: false, longest };
        let slow = sniff(&mut server, manner).await;
        assert!(matches!(slow, Err(FrontError::HeadTooSlow)));
        drop(client);
        let gone = sniff(&mut server, Manner { longest: LONG, ..manner }).await;
        assert!(matches!(gone, Err(FrontError::ClientGone)));
    }

    #[tokio::test]
    async fn a_proxy_is_believed_only_if_it_is_trusted() {
        let line = b"PROXY TCP4 203.0.113.7 10.0.0.1 1 80\r\nGET / HTTP/1.0\r\n\r\n";
        let field = b"GET / HTTP/1.0\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n";
        let both = b"PROXY TCP4 10.0.0.2 10.0.0.1 1 80\r\nGET / HTTP/1.0\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n";
        for (why, peer, bytes, want) in [
            ("a line of a trusted proxy", "10.0.0.1", &line[..], Some("203.0.113.7")),
            ("a line of a stranger", "192.0.2.1", line, None),
            ("a field of a trusted proxy", "::ffff:10.0.0.1", field, Some("203.0.113.7")),
            ("a field of a stranger", "192.0.2.1", field, Some("192.0.2.1")),
            ("one behind the other", "10.0.0.1", both, Some("203.0.113.7")),
            ("a broken line", "10.0.0.1", b"PROXY TCP4 a b 1 2\r\nGET / HTTP/1.0\r\n\r\n", None),
            ("twice", "10.0.0.1", &[&line[..38], &line[..]].concat(), None),
        ] {
            let (mut client, mut server) = tokio::io::duplex(1);
            let sent = bytes.to_vec();
            tokio::spawn(async move { client.write_all(&sent).await });
            let read = sniff_from(peer, false, &mut server).await;
            let from = read.ok().map(|opening| match opening {
                Opening::Http(sniffed) => {
                    assert_eq!(sniffed.head.method, "GET", "{why}");
                    assert_eq!(sniffed.by_proxy, peer != "192.0.2.1", "{why}");
                    sniffed.from.to_string()
                }
                Opening::Login { .. } => panic!("{why}: a login"),
            });
            assert_eq!(from.as_deref(), want, "{why}");
        }
    }

    #[tokio::test]
    async fn a_login_is_taken_where_logins_are_and_requests_too() {
        let login = b"hackme\r\nicy-name:x\r\n";
        let (mut client, mut server) = tokio::io::duplex(1);
        tokio::spawn(async move { client.write_all(login).await });
        match sniff_from("192.0.2.1", true, &mut server).await {
            Ok(Opening::Login { login, .. }) => assert_eq!(login.text, "hackme"),
            other => panic!("no login: {other:?}"),
        }
        for input in [&b"SOURCE /m HTTP/1.0\r\n\r\n"[..], b"SOURCE hackme /m\n\n"] {
            let read = sniff_from("192.0.2.1", true, &mut &input[..]).await;
            assert!(matches!(read, Ok(Opening::Http(_))), "{read:?}");
        }
        let elsewhere = sniff_from("192.0.2.1", false, &mut &login[..]).await;
        assert!(matches!(elsewhere, Err(FrontError::HeadMalformed { .. })), "{elsewhere:?}");
    }
}
