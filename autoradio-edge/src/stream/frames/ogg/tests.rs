//! Links, and what becomes of them.

use proptest::prelude::*;

use super::testing::pages;
use super::*;
use crate::stream::frames::testing::{
    At, after_interruptions, audio, audios, framed, opus_headers, page,
};
use crate::stream::frames::{Codec, Framed};

const FIRST: u8 = 2;
const LAST: u8 = 4;

/// Serial and sequence numbers of each page.
fn numbers(framed: &Framed) -> Vec<(u32, u32)> {
    pages(&framed.bytes).into_iter().map(|(serial, sequence, ..)| (serial, sequence)).collect()
}

fn numbered(serial: u32, sequences: impl IntoIterator<Item = u32>) -> Vec<(u32, u32)> {
    sequences.into_iter().map(|sequence| (serial, sequence)).collect()
}

/// The number that a stream gets which comes for the second time.
const fn again(serial: u32) -> u32 {
    serial.wrapping_add(0x9e37_79b9)
}

#[test]
fn a_stream_passes_as_it_is_and_may_be_joined_after_its_headers() {
    let headers = opus_headers(7);
    let stream = [&headers[..], &audios(7, 2..5)].concat();
    let (framer, out) = framed("application/ogg", [&stream[..]]);
    assert_eq!(framer.codec(), Some(Codec::Ogg));
    assert_eq!(out.bytes, stream);
    assert_eq!(out.headers.as_deref(), Some(&headers[..]));
    let page_bytes = audio(7, 2).len();
    let borders = [0, 1, 2].map(|page| headers.len() + page * page_bytes);
    assert_eq!(out.borders, borders);
}

#[test]
fn what_is_in_it_tells_how_many_pages_are_headers() {
    let flac = |count: u8| [b"\x7fFLAC\x01\0\0".to_vec(), vec![count], b"fLaC".to_vec()].concat();
    let speex = [b"Speex   ".to_vec(), vec![0; 60], vec![1, 0, 0, 0]].concat();
    for (why, first, times, want) in [
        ("Vorbis: three packets", b"\x01vorbis".to_vec(), vec![0, 0, 0, 9], 3),
        ("Opus: two, also if time has passed", b"OpusHead".to_vec(), vec![0, 5, 9], 2),
        ("FLAC: as many as it says", flac(2), vec![0, 0, 0, 9], 3),
        ("FLAC that does not say: until time passes", flac(0), vec![0, 0, 0, 0, 9], 4),
        ("Speex: two and its extra ones", speex, vec![0, 0, 0, 9], 3),
        ("Theora: three", b"\x80theora".to_vec(), vec![0, 0, 0, 9], 3),
        ("another: until time passes", b"something".to_vec(), vec![0, u64::MAX, 0, 9], 3),
    ] {
        let stream: Vec<Vec<u8>> = (0..)
            .zip(&times)
            .map(|(sequence, &granule)| {
                let flags = if sequence == 0 { FIRST } else { 0 };
                let packet = if sequence == 0 { &first[..] } else { b"packet" };
                page(At { serial: 1, sequence, granule, flags }, &[packet], false)
            })
            .collect();
        let (_, out) = framed("application/ogg", [&stream.concat()[..]]);
        assert_eq!(out.bytes, stream.concat(), "{why}");
        let headers = stream[..want].concat();
        assert_eq!(out.headers.as_deref(), Some(&headers[..]), "{why}");
        assert_eq!(out.borders, [headers.len()], "{why}");
    }
}

#[test]
fn headers_of_many_pages_and_packets_over_many_are_whole() {
    let first = page(At { serial: 1, flags: FIRST, ..At::default() }, &[b"\x01vorbis"], false);
    let long = vec![0x33; 255 * 255];
    let second = page(At { serial: 1, sequence: 1, granule: u64::MAX, flags: 0 }, &[&long], true);
    let third =
        page(At { serial: 1, sequence: 2, flags: 1, ..At::default() }, &[b"end", b"books"], false);
    let begun = page(At { serial: 1, sequence: 3, granule: u64::MAX, flags: 0 }, &[&long], true);
    let ended = page(At { serial: 1, sequence: 4, granule: 9, flags: 1 }, &[b"end"], false);
    let next = page(At { serial: 1, sequence: 5, granule: 10, flags: 0 }, &[b"next"], false);
    let headers = [first, second, third].concat();
    let stream = [&headers[..], &begun, &ended, &next].concat();
    let (_, out) = framed("audio/ogg", stream.chunks(1_000));
    assert_eq!(out.bytes, stream);
    assert_eq!(out.headers.as_deref(), Some(&headers[..]));
    let borders = [headers.len(), headers.len() + begun.len() + ended.len()];
    assert_eq!(out.borders, borders, "nobody joins within a packet");
}

#[test]
fn several_streams_begin_together() {
    let first = |serial, packet: &[u8]| {
        page(At { serial, flags: FIRST, ..At::default() }, &[packet], false)
    };
    let header =
        |serial, sequence| page(At { serial, sequence, ..At::default() }, &[b"more"], false);
    let skeleton = [first(3, b"fishead\0"), header(3, 1)];
    let bones_end = page(At { serial: 3, sequence: 2, flags: LAST, ..At::default() }, &[], false);
    let headers = [
        &skeleton[0][..],
        &first(1, b"\x80theora"),
        &first(2, b"OpusHead"),
        &header(1, 1),
        &header(2, 1),
        &skeleton[1],
        &header(1, 2),
        &bones_end,
    ]
    .concat();
    let stream = [&headers[..], &audio(2, 2), &audio(1, 3), &audio(2, 3)].concat();
    let (_, out) = framed("video/ogg", [&stream[..]]);
    assert_eq!(out.bytes, stream);
    assert_eq!(out.headers.as_deref(), Some(&headers[..]));
    assert_eq!(out.borders.len(), 3);
}

#[test]
fn a_chain_has_headers_of_its_own_in_each_link() {
    let ended = page(At { serial: 1, sequence: 3, granule: 2_000, flags: LAST }, &[b"end"], false);
    let one = [&opus_headers(1)[..], &audio(1, 2), &ended].concat();
    let two = [&opus_headers(2)[..], &audio(2, 2)].concat();
    let (_, out) = framed("audio/ogg", [&[&one[..], &two].concat()[..]]);
    assert_eq!(out.bytes, [&one[..], &two].concat());
    assert_eq!(out.headers.as_deref(), Some(&opus_headers(2)[..]));
    assert_eq!(
        out.borders,
        [one.len() + opus_headers(2).len()],
        "those of the link before have other headers"
    );
}

#[test]
fn a_link_that_does_not_end_is_ended_by_the_next() {
    let one = [&opus_headers(1)[..], &audio(1, 2)].concat();
    let two = [&opus_headers(2)[..], &audio(2, 2)].concat();
    let (_, out) = framed("audio/ogg", [&[&one[..], &two].concat()[..]]);
    let told = pages(&out.bytes);
    assert_eq!(told[3], (1, 3, LAST, 960), "next sequence number, last position");
    assert_eq!(told.len(), 7);
}

#[test]
fn a_number_that_comes_again_is_changed() {
    let link = [&opus_headers(1)[..], &audios(1, 2..4)].concat();
    let (_, out) = framed("audio/ogg", [&link.repeat(3)[..]]);
    let want = [numbered(1, 0..5), numbered(again(1), 0..5), numbered(again(again(1)), 0..4)];
    assert_eq!(numbers(&out), want.concat());
    let headers = out.headers.expect("headers");
    assert!(pages(&headers).iter().all(|(serial, ..)| *serial == again(again(1))));
}

#[test]
fn after_an_interruption_the_same_stream_goes_on_as_another_link() {
    let before = [&opus_headers(1)[..], &audios(1, 2..20)].concat();
    let burst = [&opus_headers(1)[..], &audios(1, 10..30)].concat();
    let out = after_interruptions(&[&before, &burst]);
    let want = [
        // The last is the end that was made.
        numbered(1, 0..21),
        numbered(again(1), 0..2),
        numbered(again(1), 20..30),
    ];
    assert_eq!(numbers(&out), want.concat());
    assert_eq!(pages(&out.bytes)[20], (1, 20, LAST, 18 * 960));
}

#[test]
fn an_upstream_that_says_nothing_new_gives_nothing() {
    let before = [&opus_headers(1)[..], &audios(1, 2..20)].concat();
    let burst = [&opus_headers(1)[..], &audios(1, 10..20)].concat();
    let want = after_interruptions(&[&before, b""]);
    assert_eq!(after_interruptions(&[&before, &burst]), want);
    assert_eq!(after_interruptions(&[&before, &burst, &burst]), want);
    assert_eq!(after_interruptions(&[&before, &opus_headers(2)]), want);
}

#[test]
fn another_stream_of_the_same_number_is_heard_from_its_beginning() {
    let before = [&opus_headers(1)[..], &audios(1, 50..60)].concat();
    let other: Vec<u8> = (2..5)
        .flat_map(|sequence| {
            page(At { serial: 1, sequence, granule: 5, flags: 0 }, &[b"other"], false)
        })
        .collect();
    let after = [&opus_headers(1)[..], &other].concat();
    let out = after_interruptions(&[&before, &after]);
    assert_eq!(numbers(&out)[13..], numbered(again(1), 0..5));
}

#[test]
fn a_chain_in_a_burst_makes_no_link_without_audio() {
    let one = [&opus_headers(1)[..], &audios(1, 2..5)].concat();
    let two = [&opus_headers(2)[..], &audios(2, 2..5)].concat();
    let both = [&one[..], &two].concat();
    let out = after_interruptions(&[&both, &[&both[..], &audio(2, 5)].concat()]);
    let want = [numbered(again(2), 0..2), numbered(again(2), 5..6)].concat();
    assert_eq!(numbers(&out)[12..], want);
}

#[test]
fn damaged_pages_and_junk_are_left_out() {
    let headers = opus_headers(1);
    let mut damaged = audio(1, 3);
    damaged[100] ^= 1;
    let cut = [&audio(1, 4)[..20], &audio(1, 4)].concat();
    let after = [audio(9, 5), audios(1, 6..300)].concat();
    let stream = [&headers[..], &audio(1, 2), &damaged, b"OggOggS junk", &cut, &after].concat();
    let (_, out) = framed("audio/ogg", [&stream[..]]);
    assert_eq!(numbers(&out), numbered(1, [0, 1, 2, 4].into_iter().chain(6..300)));
}

#[test]
fn pages_after_the_end_are_left_out() {
    let ended = page(At { serial: 1, sequence: 3, granule: 2_000, flags: LAST }, &[b"end"], false);
    let stream = [&opus_headers(1)[..], &audio(1, 2), &ended, &audio(1, 4)].concat();
    let (_, out) = framed("audio/ogg", [&stream[..]]);
    assert_eq!(numbers(&out), numbered(1, 0..4));
}

#[test]
fn too_many_headers_make_it_a_stream_without() {
    let long = vec![0x33; 255 * 255];
    let first = page(At { serial: 1, flags: FIRST, ..At::default() }, &[b"OpusHead"], false);
    let mut stream = [opus_headers(5), audio(5, 2), first].concat();
    for sequence in 1..20 {
        stream.extend(page(At { serial: 1, sequence, flags: 1, ..At::default() }, &[&long], true));
    }
    let (framer, out) = framed("audio/ogg", stream.chunks(5_000));
    assert_eq!(framer.codec(), Some(Codec::Raw));
    let end = out.bytes.len() - stream.len();
    assert_eq!(end, 27, "nothing but an end was added, and nothing is lost");
    assert_eq!(out.headers.as_deref(), Some(&b""[..]));
}

#[test]
fn looking_through_damaged_pages_has_an_end() {
    // Pages of full length whose checksums are wrong, beginning every 282 bytes.
    let mut front = b"OggS\0\0".to_vec();
    front.resize(26, 1);
    front.extend([255; 256]);
    let hostile = front.repeat(20_000);
    let stream = [&opus_headers(1)[..], &audio(1, 2), &hostile].concat();
    let mut ogg = Ogg::default();
    let (mut rest, mut looked) = (&stream[..], 0);
    loop {
        looked += usize::from(matches!(capture(rest), Capture::Damaged(_)));
        match ogg.step(rest) {
            Step::Wait => break,
            Step::Lost => ogg.reset(),
            Step::Junk(bytes) | Step::Tag(bytes) | Step::Frame(bytes) => rest = &rest[bytes..],
        }
    }
    let pages = stream.len() / (27 + 255 + 255 * 255);
    assert!(looked < 4 * pages, "{looked} looks at {pages} pages");
}

proptest! {
    #[test]
    fn a_chain_is_proper_and_has_every_page_once(
        upstreams in prop::collection::vec((any::<bool>(), 1..20_u32, 0..30_u32, 0..400_usize), 1..8),
    ) {
        let (mut serial, mut begun, mut next) = (0, 2_u32, 2_u32);
        let mut wires = Vec::new();
        for (other, count, back, cut) in upstreams {
            (serial, begun) = if other { ((serial + 1) % 3, next) } else { (serial, begun) };
            begun = next.saturating_sub(back).max(begun);
            next += count;
            let wire = [opus_headers(serial), audios(serial, begun..next)].concat();
            wires.push(wire[..wire.len() - cut].to_vec());
        }
        let wires: Vec<&[u8]> = wires.iter().map(|wire| &wire[..]).collect();
        let told = pages(&after_interruptions(&wires).bytes);
        let (mut known, mut open) = (HashSet::new(), None);
        for &(serial, _, flags, _) in &told {
            if flags == FIRST {
                prop_assert_eq!(open, None, "a link begins before the last has ended");
                prop_assert!(known.insert(serial), "{} comes again", serial);
                open = Some(serial);
            }
            prop_assert_eq!(open, Some(serial), "a page of no link");
            open = open.filter(|_| flags != LAST);
        }
        let audio = told.iter().filter(|(_, sequence, flags, _)| *sequence > 1 && *flags == 0);
        let sequences: Vec<u32> = audio.map(|(_, sequence, ..)| *sequence).collect();
        prop_assert!(sequences.is_sorted_by(|one, two| one < two), "{:?}", sequences);
    }
}
