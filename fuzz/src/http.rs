//! The front: request heads, bodies of sources, targets.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use autoradio_edge::cluster::{MountRecord, Snapshot};
use autoradio_edge::http::{
    Body, Login, ProxyHeader, RequestHead, Route, StreamRange, TrustedProxies, allows_listener,
    landing, login_head, route,
};
use autoradio_edge::placement::{Placement, place};

/// A head that is read is read the same without what follows it, and not before its last byte has come.
pub(crate) fn head(data: &[u8]) {
    let Ok(Some(head)) = RequestHead::parse(data) else {
        return;
    };
    assert!(head.bytes <= data.len(), "a head ends within what was read");
    let alone = RequestHead::parse(&data[..head.bytes]).expect("a head without its body");
    assert_eq!(alone.as_ref(), Some(&head), "what follows a head does not change it");
    let cut = RequestHead::parse(&data[..head.bytes - 1]);
    assert!(matches!(cut, Ok(None)), "a head without its last byte is not complete: {cut:?}");
    if let Ok(mut body) = Body::of(&head) {
        // What comes after the head may be anything; it may be refused, and that is all.
        let mut audio = Vec::new();
        if body.push(&data[head.bytes..], &mut audio).is_ok() {
            assert!(audio.len() <= data.len() - head.bytes, "no audio comes of nothing");
        }
    }
    route(&head.method, &head.target, &PLACEMENT);
    ranges_and_hops(&head);
}

/// A range keeps the fields of the stream's head, and nobody is told to be somebody who was not named.
fn ranges_and_hops(head: &RequestHead) {
    if let Some(range) = StreamRange::of(head) {
        let rewritten = range.rewrite(b"HTTP/1.0 200 OK\r\nicy-name:x\r\n\r\n");
        assert!(
            rewritten.starts_with(b"HTTP/1.0 206 ") && rewritten.ends_with(b"icy-name:x\r\n\r\n")
        );
    }
    let peer = IpAddr::from([10, 0, 0, 1]);
    assert_eq!(TrustedProxies::default().client(head, peer), peer, "nobody is trusted");
    let proxies = TrustedProxies::from_iter(["10.0.0.0/8".parse().expect("a network")]);
    let stranger = IpAddr::from([192, 0, 2, 1]);
    assert_eq!(proxies.client(head, stranger), stranger, "a stranger is not");
    let client = proxies.client(head, peer);
    let named = head.fields().any(|(name, _)| name.eq_ignore_ascii_case("X-Forwarded-For"));
    assert!(named || client == peer, "{client} was not named");
}

/// A login is read the same whatever follows it, and what describes its stream ends where it says.
pub(crate) fn shoutcast(data: &[u8]) {
    let Ok(Some(login)) = Login::parse(data) else {
        return;
    };
    assert!(login.bytes <= data.len() && !login.text.contains('\n'), "a login is a line");
    assert_eq!(Login::parse(&data[..login.bytes]).expect("the same"), Some(login.clone()));
    assert!(matches!(Login::parse(&data[..login.bytes - 1]), Ok(None)), "not before its end");
    let (mount, rest) = ("/m".parse().expect("a mount path"), &data[login.bytes..]);
    if let Ok(Some(head)) = login_head(&mount, rest) {
        assert!(head.bytes <= rest.len());
        let alone = login_head(&mount, &rest[..head.bytes]).expect("the same");
        assert_eq!(alone.as_ref(), Some(&head), "what follows a head does not change it");
        for (name, value) in head.fields() {
            assert!(!value.iter().any(u8::is_ascii_control), "{name} could end the field");
        }
        assert_eq!(route(&head.method, &head.target, &PLACEMENT), Route::Source(mount));
    }
}

/// A header is whole only with its last byte, and read the same whatever follows it.
pub(crate) fn proxy_header(data: &[u8]) {
    let parsed = ProxyHeader::parse(data);
    if let ProxyHeader::Whole { bytes, .. } = parsed {
        assert!(bytes <= data.len());
        assert_eq!(ProxyHeader::parse(&data[..bytes]), parsed);
        for cut in 0..bytes {
            assert_eq!(ProxyHeader::parse(&data[..cut]), ProxyHeader::Partial, "cut at {cut}");
        }
    }
    if parsed == ProxyHeader::Absent {
        let longer = [data, b"PROXY TCP4 "].concat();
        assert_eq!(ProxyHeader::parse(&longer), parsed, "what is none does not become one");
    }
}

/// A program lets a listener in by a whole head only, whatever body it has.
pub(crate) fn listener_verdict(data: &[u8]) {
    if let Some(allowed) = allows_listener(data) {
        let longer = [data, b"icecast-auth-user: 1\r\n\r\n"].concat();
        assert_eq!(allows_listener(&longer), Some(allowed), "the body counts for nothing");
    }
}

/// A chunked body gives the same audio in whatever pieces it comes: all at once, or each of `data[0]` bytes.
pub(crate) fn body(data: &[u8]) {
    let Some((piece_bytes, wire)) = data.split_first() else {
        return;
    };
    let whole = dechunked(&[wire]);
    let pieces: Vec<&[u8]> = wire.chunks(usize::from(*piece_bytes).max(1)).collect();
    assert!(whole.audio.len() <= wire.len(), "no audio comes of nothing");
    assert_eq!(whole, dechunked(&pieces), "pieces of {piece_bytes} bytes");
}

/// What came of a body.
#[derive(Debug, PartialEq, Eq)]
struct Dechunked {
    taken: bool,
    ended: bool,
    audio: Vec<u8>,
}

fn dechunked(pieces: &[&[u8]]) -> Dechunked {
    let head = b"PUT /m HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let head = RequestHead::parse(head).expect("a head").expect("complete");
    let (mut body, mut audio) = (Body::of(&head).expect("chunked"), Vec::new());
    let taken = pieces.iter().try_for_each(|piece| body.push(piece, &mut audio)).is_ok();
    Dechunked { taken, ended: body.ended(), audio }
}

static PLACEMENT: LazyLock<Placement> = LazyLock::new(|| {
    let mut snapshot = Snapshot::default();
    for path in ["/live.mp3", "/caf\u{e9}/a b.ogg", "/a;b", "/m"] {
        let path = path.parse().expect("a mount path");
        let record = MountRecord::new(path, "source", String::new());
        snapshot.mounts.insert(record.path.clone(), Arc::new(record));
    }
    place(&snapshot)
});

/// Whoever is sent on to a mount finds it there, and a title's query means the same once it is rebuilt.
pub(crate) fn target(data: &[u8]) {
    let Ok(target) = std::str::from_utf8(data) else {
        return;
    };
    for method in ["GET", "HEAD", "SOURCE", "PUT", "OPTIONS"] {
        match route(method, target, &PLACEMENT) {
            Route::Listener(mount) => {
                let there = landing(&mount, target);
                assert!(there.bytes().all(|byte| byte.is_ascii_graphic()), "{there:?}");
                let landed = route("GET", &there, &PLACEMENT);
                assert_eq!(landed, Route::Landed(mount), "{target:?} is sent to {there:?}");
            }
            Route::Metadata(update) => {
                assert!(update.query.bytes().all(|byte| byte.is_ascii_graphic()), "{update:?}");
                let again = format!("/admin/metadata?{}", update.query);
                assert_eq!(route("GET", &again, &PLACEMENT), Route::Metadata(update));
            }
            Route::Source(mount) => assert!(PLACEMENT.mounts.contains_key(&mount), "{mount}"),
            _ => {}
        }
    }
}
