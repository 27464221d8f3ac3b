//! The hub: audio of any kind taken apart, interrupted and put together; titles.

use autoradio_common::limits::STREAM_OGG_HEADERS_BYTES_MAX;
use autoradio_edge::stream::{Codec, Framed, Framer, METAINT, Stripper, Title, block};
use bytes::BytesMut;

/// Splits a stream in two upstreams where this stands, so that seeds and fuzzer can say where one is lost.
const LOST: &[u8] = b"\0<lost>\0";

/// Content types, of which the first byte picks one.
const TYPES: [&str; 4] = ["audio/mpeg", "audio/aac", "application/ogg", "video/webm"];

/// Titles up to this many bytes go into a block whole.
const TITLE_BYTES_UNCUT: usize = 4_000;

/// Bytes that the end of a link adds for each of its streams.
const END_BYTES: usize = 27;

/// Any bytes come out the same in whatever pieces they come: all at once, or each of `data[1]` bytes. Nothing comes of nothing,
/// and whoever joins does so at the begin of a frame.
pub(crate) fn frames(data: &[u8]) {
    let [kind, piece_bytes, wire @ ..] = data else {
        return;
    };
    let content_type = TYPES[usize::from(*kind) % TYPES.len()];
    let (whole, codec) = framed(content_type, wire, usize::MAX);
    let (pieced, pieced_codec) = framed(content_type, wire, usize::from(*piece_bytes).max(1));
    assert_eq!((&whole.bytes, &whole.headers), (&pieced.bytes, &pieced.headers));
    assert_eq!(codec, pieced_codec, "pieces of {piece_bytes} bytes");
    // Each page that went in may begin a stream, which then is ended.
    let ends = wire.windows(4).filter(|four| four == b"OggS").count() * END_BYTES;
    assert!(whole.bytes.len() <= wire.len() + ends, "no audio comes of nothing");
    assert!(whole.borders.is_sorted_by(|one, two| one < two), "{:?}", whole.borders);
    for border in whole.borders {
        assert!(border < whole.bytes.len(), "one joins where something is");
    }
    let headers = whole.headers.unwrap_or_default();
    assert!(headers.len() <= STREAM_OGG_HEADERS_BYTES_MAX, "{} bytes of headers", headers.len());
}

/// What comes of upstreams one after the other, and what the last one was.
fn framed(content_type: &str, wire: &[u8], piece_bytes: usize) -> (Framed, Option<Codec>) {
    let (mut framer, mut out) = (Framer::new(content_type), Framed::default());
    let mut rest = wire;
    loop {
        let lost = rest.windows(LOST.len()).position(|bytes| bytes == LOST);
        let upstream = &rest[..lost.unwrap_or(rest.len())];
        upstream.chunks(piece_bytes).for_each(|piece| framer.push(piece, &mut out));
        let Some(lost) = lost else {
            return (out, framer.codec());
        };
        framer.interrupt(&mut out);
        rest = &rest[lost + LOST.len()..];
    }
}

/// Titles and audio are the same in whatever pieces they come, and a title that was read is read again from a listener's block.
///
/// `data[0]` is the interval, `data[1]` the bytes of a piece.
pub(crate) fn icy(data: &[u8]) {
    let [metaint, piece_bytes, wire @ ..] = data else {
        return;
    };
    let metaint = Some(usize::from(*metaint));
    let (audio, title) = stripped(metaint, wire, usize::MAX);
    let pieced = stripped(metaint, wire, usize::from(*piece_bytes).max(1));
    assert_eq!((&audio, &title), (&pieced.0, &pieced.1), "pieces of {piece_bytes} bytes");
    assert!(audio.len() <= wire.len(), "no audio comes of nothing");
    let Some(title) = title else { return };
    let mut listener = BytesMut::zeroed(METAINT);
    listener.extend_from_slice(&block(Some(&title)));
    let (audio, heard) = stripped(Some(METAINT), &listener, usize::MAX);
    assert_eq!(audio.len(), METAINT, "one block, whole");
    let heard = heard.expect("a title");
    assert!(title.text.starts_with(&heard.text), "the title that was read, or the front of it");
    let cut = title.text.len() - heard.text.len();
    assert!(cut == 0 || heard.text.len() > TITLE_BYTES_UNCUT, "{cut} bytes are cut");
}

/// The audio in a stream, and the newest title.
fn stripped(metaint: Option<usize>, wire: &[u8], piece_bytes: usize) -> (BytesMut, Option<Title>) {
    let (mut stripper, mut audio, mut newest) = (Stripper::new(metaint), BytesMut::new(), None);
    for piece in wire.chunks(piece_bytes) {
        newest = stripper.push(piece, &mut audio).or(newest);
    }
    (audio, newest)
}
