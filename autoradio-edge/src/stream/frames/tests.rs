//! Frames of MPEG audio and ADTS, what is no stream of frames, and what holds of all.

use autoradio_common::limits::{STREAM_DOUBT_BYTES_MAX, STREAM_LOCK_BYTES_MAX};
use proptest::prelude::*;

use super::testing::{adts, after_interruptions, audios, framed, frames, mpeg, opus_headers};
use super::*;

/// Bytes among which are no frames.
fn junk(bytes: usize) -> Vec<u8> {
    b"no frame \xff\xfb\x90 ".iter().copied().cycle().take(bytes).collect()
}

/// Numbers of frames of one kind in what has come out: they are told by their filling, which follows the header.
fn numbers(frame: fn(u32) -> Vec<u8>, bytes: &[u8]) -> Vec<u32> {
    let whole = bytes.chunks(frame(0).len());
    let filling = frame(0).iter().position(|&byte| byte == 0x55).expect("filling") - 8;
    whole
        .map(|bytes| {
            let digits = bytes[filling..filling + 8].iter().rev();
            let number = digits.fold(0, |number, &digit| number << 4 | u32::from(digit));
            assert_eq!(bytes, frame(number), "a whole frame");
            number
        })
        .collect()
}

#[test]
fn frames_pass_whole_and_the_last_waits_for_the_next() {
    for (why, frame, codec) in [
        ("MPEG", mpeg as fn(u32) -> Vec<u8>, Codec::Mpeg),
        ("AAC that ffmpeg calls audio/mpeg", adts, Codec::Adts),
    ] {
        let (framer, out) = framed("audio/mpeg", [&frames(frame, 0..10)[..]]);
        assert_eq!(framer.codec(), Some(codec), "{why}");
        assert_eq!(out.bytes, frames(frame, 0..9), "{why}");
        let borders: Vec<usize> = (0..9).map(|number| number * frame(0).len()).collect();
        assert_eq!(out.borders, borders, "{why}");
        assert_eq!(out.headers, None, "{why}");
    }
}

#[test]
fn what_is_no_frame_is_left_out() {
    let half = mpeg(3)[..200].to_vec();
    let id3 = [b"ID3\x04\0\0\0\0\x10\0".to_vec(), mpeg(77).repeat(6)[..2_048].to_vec()].concat();
    let id3v1 = [b"TAG".to_vec(), vec![b' '; 125]].concat();
    for (why, between, want) in [
        ("nothing", vec![], vec![0, 1, 2, 3, 4, 5]),
        ("ID3v2 with what looks like frames", id3.clone(), vec![0, 1, 2, 3, 4, 5]),
        ("two tags", [id3v1.clone(), id3.clone()].concat(), vec![0, 1, 2, 3, 4, 5]),
        ("ID3v1", id3v1, vec![0, 1, 2, 3, 4, 5]),
        ("half a frame, as where one source follows another", half, vec![0, 1, 2, 3, 4, 5]),
        ("the name of a tag and no tag", b"ID3\xff\xff no tag".to_vec(), vec![0, 1, 2, 3, 4, 5]),
        // Nothing says that the frame before is whole.
        ("junk", junk(1_000), vec![0, 1, 3, 4, 5]),
    ] {
        let stream = [frames(mpeg, 0..3), between, frames(mpeg, 3..7)].concat();
        let (_, out) = framed("audio/mpeg", [&stream[..]]);
        assert_eq!(numbers(mpeg, &out.bytes), want, "{why}");
    }
    let stream = [id3, frames(mpeg, 0..3)].concat();
    let (_, out) = framed("audio/mpeg", [&stream[..]]);
    assert_eq!(numbers(mpeg, &out.bytes), [0, 1], "a tag before all");
}

#[test]
fn one_joins_in_the_middle_of_a_frame() {
    let stream = frames(mpeg, 0..6);
    let (_, out) = framed("audio/mpeg", [&stream[100..]]);
    assert_eq!(numbers(mpeg, &out.bytes), [1, 2, 3, 4]);
}

#[test]
fn another_sampling_rate_goes_on() {
    let other: Vec<u8> = (0..4)
        .flat_map(|_| {
            let mut frame = mpeg(0);
            frame[2] = 0x94;
            frame.truncate(384);
            frame
        })
        .collect();
    let (_, out) = framed("audio/mpeg", [&[frames(mpeg, 0..3), other.clone()].concat()[..]]);
    assert_eq!(out.bytes, [frames(mpeg, 0..3), other[..3 * 384].to_vec()].concat());
}

#[test]
fn what_has_no_frames_passes_as_it_is() {
    let free_format: Vec<u8> =
        (0..400).flat_map(|_| [&[0xff, 0xfb, 0x00, 0x00][..], &[0x55; 300]].concat()).collect();
    for (why, stream) in [
        ("anything", junk(100_000)),
        ("free format", free_format),
        ("EBML", [b"\x1a\x45\xdf\xa3".to_vec(), vec![0; 70_000]].concat()),
    ] {
        let (mut framer, mut out) = framed("audio/mpeg", [&stream[..STREAM_LOCK_BYTES_MAX - 1]]);
        assert_eq!((framer.codec(), out.bytes.len()), (None, 0), "{why}");
        framer.push(&stream[STREAM_LOCK_BYTES_MAX - 1..], &mut out);
        assert_eq!(framer.codec(), Some(Codec::Raw), "{why}");
        assert_eq!(out.bytes, stream, "{why}");
        framer.interrupt(&mut out);
        framer.push(b"more", &mut out);
        assert_eq!(out.bytes.len(), stream.len() + 4, "{why}: nothing waits after an interruption");
    }
}

#[test]
fn two_headers_do_not_prove_that_a_film_is_mpeg() {
    let stream = [junk(1_000), frames(mpeg, 0..2), mpeg(2)[..10].to_vec(), junk(70_000)].concat();
    for (content_type, want) in [
        ("audio/mpeg", Codec::Mpeg),
        ("Audio/MPEG; charset=utf-8", Codec::Mpeg),
        ("", Codec::Mpeg),
        ("video/webm", Codec::Raw),
    ] {
        let (framer, _) = framed(content_type, [&stream[..30_000], &vec![0; 40_000]]);
        let found = framer.codec();
        let raw_after_all = found == Some(Codec::Raw);
        assert_eq!(raw_after_all, want == Codec::Raw, "{content_type}: {found:?}");
    }
}

#[test]
fn a_stream_that_becomes_another_is_found_again() {
    let ogg = [opus_headers(1), audios(1, 2..5)].concat();
    let stream = [frames(mpeg, 0..5), junk(STREAM_LOCK_BYTES_MAX + 1_000), ogg.clone()].concat();
    let (framer, out) = framed("audio/mpeg", [&stream[..]]);
    assert_eq!(framer.codec(), Some(Codec::Ogg));
    assert_eq!(out.bytes, [frames(mpeg, 0..4), ogg.clone()].concat());

    let stream = [ogg, junk(STREAM_LOCK_BYTES_MAX + 1_000), frames(adts, 0..5)].concat();
    let (framer, out) = framed("audio/ogg", [&stream[..]]);
    assert_eq!(framer.codec(), Some(Codec::Adts));
    assert_eq!(out.headers.as_deref(), Some(&b""[..]), "who joins now needs none");
    assert!(out.bytes.ends_with(&frames(adts, 0..4)));
}

#[test]
fn frames_that_listeners_have_had_are_left_out() {
    let before = frames(mpeg, 0..300);
    for (why, after, want) in [
        ("a burst", 140..400, (0..399).collect::<Vec<u32>>()),
        ("a burst of everything", 0..400, (0..399).collect()),
        ("one frame of it", 298..400, (0..399).collect()),
        ("exactly what follows", 299..400, (0..399).collect()),
        ("later", 350..400, (0..299).chain(350..399).collect()),
    ] {
        let out = after_interruptions(&[&before, &frames(mpeg, after)]);
        assert_eq!(numbers(mpeg, &out.bytes), want, "{why}");
    }
    let burst = frames(mpeg, 140..400)[123..].to_vec();
    let out = after_interruptions(&[&before, &burst]);
    assert_eq!(numbers(mpeg, &out.bytes), (0..399).collect::<Vec<u32>>(), "cut in a frame");
    let out = after_interruptions(&[&before, &frames(mpeg, 140..200), &frames(mpeg, 150..400)]);
    assert_eq!(numbers(mpeg, &out.bytes), (0..399).collect::<Vec<u32>>(), "lost again within it");
}

#[test]
fn silence_is_not_taken_for_what_listeners_have_had() {
    let silence = |frames: usize| mpeg(0).repeat(frames);
    let music = frames(mpeg, 1..100);
    let count = |upstreams: &[&[u8]]| after_interruptions(upstreams).bytes.len() / 417;
    let none = silence(1_000);
    assert_eq!(count(&[&none, &silence(10)]), 999 + 9, "nothing but silence is not held back");
    let fading = [&music[..], &silence(50)].concat();
    assert_eq!(count(&[&fading, &silence(200)]), 148 + 199, "a new source begins in silence");
    let burst = [&frames(mpeg, 90..100)[..], &silence(60)].concat();
    assert_eq!(count(&[&fading, &burst]), 99 + 59, "the same silence goes on");
    let twice = [&silence(500)[..], &frames(mpeg, 1..5), &silence(500)].concat();
    let held = STREAM_DOUBT_BYTES_MAX / 417 + 3;
    assert_eq!(count(&[&twice, &silence(held)]), 1_003 + held - 1, "doubt has an end");
}

#[test]
fn a_loop_goes_on_after_its_shortest_repetition() {
    let before = frames(mpeg, 0..20).repeat(20);
    let out = after_interruptions(&[&before, &frames(mpeg, (10..20).chain(0..20))]);
    let (_, alone) = framed("audio/mpeg", [&before[..]]);
    // The last frame had not been passed on, so nine were.
    assert_eq!(out.bytes.len() / 417, alone.bytes.len() / 417 + 20);
    assert!(out.bytes.starts_with(&alone.bytes));
}

/// Things that a stream may be made of.
fn part() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0..40_u32, 1..8_u32).prop_map(|(from, count)| frames(mpeg, from..from + count)),
        (0..40_u32, 1..8_u32).prop_map(|(from, count)| frames(adts, from..from + count)),
        (0..3_u32).prop_map(opus_headers),
        (0..3_u32, 2..20_u32, 1..5_u32)
            .prop_map(|(serial, from, count)| audios(serial, from..from + count)),
        (0..3_usize).prop_map(|units| junk(units * STREAM_LOCK_BYTES_MAX / 2)),
        Just(b"ID3\x04\0\0\0\0\x01\x05".to_vec()),
        prop::collection::vec(any::<u8>(), 0..100),
        (0..3_u32, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(serial, at, byte)| {
            let mut stream = [opus_headers(serial), audios(serial, 2..6)].concat();
            let at = at.index(stream.len());
            stream[at] = byte;
            stream
        }),
    ]
}

fn upstream() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(part(), 0..8).prop_map(|parts| parts.concat())
}

/// What comes of upstreams whose bytes come in pieces of these sizes, and the most that was held on to.
fn in_pieces(upstreams: &[Vec<u8>], sizes: &[usize]) -> (Framed, usize) {
    let (mut framer, mut out) = (Framer::new(""), Framed::default());
    let mut sizes = sizes.iter().cycle();
    let mut held = 0;
    for upstream in upstreams {
        let mut rest = &upstream[..];
        while let Some(size) = sizes.next().filter(|_| !rest.is_empty()) {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            framer.push(piece, &mut out);
            held = held.max(framer.buffer.len());
            rest = after;
        }
        framer.interrupt(&mut out);
    }
    (out, held)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_pieces_do_not_matter(
        upstreams in prop::collection::vec(upstream(), 1..4),
        sizes in prop::collection::vec(1..5_000_usize, 1..10),
    ) {
        let (whole, _) = in_pieces(&upstreams, &[usize::MAX]);
        let (pieced, held) = in_pieces(&upstreams, &sizes);
        prop_assert_eq!(&pieced.bytes, &whole.bytes);
        prop_assert_eq!(&pieced.headers, &whole.headers);
        prop_assert!(held <= 2 * STREAM_LOCK_BYTES_MAX, "{held} bytes are held");
        prop_assert!(pieced.borders.is_sorted());
        prop_assert!(pieced.borders.iter().all(|&border| border < pieced.bytes.len()));
    }

    #[test]
    fn what_comes_out_is_frames_of_what_went_in_in_order_and_once(
        parts in prop::collection::vec((1..30_u32, prop_oneof![
            Just(vec![]),
            (1..417_usize).prop_map(|bytes| mpeg(4_999)[..bytes].to_vec()),
            (1..2_000_usize).prop_map(junk),
        ], 0..60_u32), 1..6),
    ) {
        let (mut framer, mut out) = (Framer::new(""), Framed::default());
        let (mut next, mut begun) = (0, 0);
        for (count, between, back) in parts {
            framer.push(&frames(mpeg, next..next + count), &mut out);
            framer.push(&between, &mut out);
            next += count;
            framer.interrupt(&mut out);
            // No burst goes further back than the one before it.
            begun = next.saturating_sub(back).max(begun);
            framer.push(&frames(mpeg, begun..next + 3), &mut out);
            next += 3;
        }
        let numbers = numbers(mpeg, &out.bytes);
        prop_assert!(numbers.is_sorted_by(|one, two| one < two), "{numbers:?}");
    }
}
