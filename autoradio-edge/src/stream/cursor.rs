//! A listener's position in the stream: what it gets next, and what it has had.
//!
//! In: a [`View`], and how many bytes a socket took. Out: slices of shared blocks. Between the audio go metadata blocks for
//! who asked for them. Pure.

use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use super::icy::METAINT;
use super::ring::View;

/// The metadata block that says nothing new.
const NOTHING_NEW: &[u8] = &[0];

/// Where a listener is.
#[derive(Debug)]
pub(super) struct Cursor {
    /// Goes out before what is at `at`: the head, headers, the rest of a metadata block, the end of a frame.
    owed: Bytes,
    /// Position of the next byte; `None` until there is a border to join at.
    at: Option<u64>,
    icy: Option<Icy>,
}

/// The metadata between a listener's audio.
#[derive(Clone, Copy, Debug)]
struct Icy {
    /// Bytes of audio until the next block.
    until: usize,
    /// Where the title began that was told last.
    told: Option<u64>,
}

impl Icy {
    /// The block that goes out at `at`, and the state after it.
    fn block(self, view: &View, at: u64) -> (&[u8], Self) {
        let news = view.title_at(at).filter(|title| self.told != Some(title.at));
        let told = news.map_or(self.told, |title| Some(title.at));
        (news.map_or(NOTHING_NEW, |title| title.block), Self { until: METAINT, told })
    }
}

impl Cursor {
    /// A listener that gets `head` first, then the stream from where it [joins](Self::join).
    pub(super) fn new(head: Bytes, icy: bool) -> Self {
        let icy = icy.then_some(Icy { until: METAINT, told: None });
        Self { owed: head, at: None, icy }
    }

    /// Joins the stream at a border `back` bytes before its end, headers first, unless it has joined or there is no border.
    pub(super) fn join(&mut self, view: &View, back: u64) {
        if self.at.is_some() {
            return;
        }
        self.at = view.join(back);
        if let Some((_, headers)) = self.at.and_then(|at| view.headers_at(at)) {
            self.owe(headers);
        }
    }

    /// Bytes of the stream that the listener has not had.
    pub(super) fn lag(&self, view: &View) -> u64 {
        self.at.map_or(0, |at| view.end().saturating_sub(at))
    }

    /// Whether the listener has all there is.
    pub(super) fn is_at_end(&self, view: &View) -> bool {
        self.owed.is_empty() && self.lag(view) == 0
    }

    /// Fills `out` with what goes out next, as far as it is there. Returns how many slices that is, and of how many bytes.
    pub(super) fn slices<'a>(&'a self, view: &'a View, out: &mut [IoSlice<'a>]) -> (usize, usize) {
        let (mut count, mut bytes) = (0, 0);
        self.walk(view, u64::MAX, |slice| {
            if count == out.len() {
                return false;
            }
            out[count] = IoSlice::new(slice);
            count += 1;
            bytes += slice.len();
            true
        });
        (count, bytes)
    }

    /// Notes that so many bytes of what [`slices`](Self::slices) gave for this view have gone out.
    pub(super) fn advance(&mut self, view: &View, bytes: usize) {
        let mut left = bytes - bytes.min(self.owed.len());
        self.owed.advance(bytes - left);
        if self.owed.is_empty() {
            // Empty bytes would keep all of them in memory.
            self.owed = Bytes::new();
        }
        let Some(at) = &mut self.at else { return };
        while left > 0 {
            match &mut self.icy {
                Some(icy) if icy.until == 0 => {
                    let (block, after) = icy.block(view, *at);
                    if left < block.len() {
                        self.owed = Bytes::copy_from_slice(&block[left..]);
                    }
                    left -= left.min(block.len());
                    *icy = after;
                }
                icy => {
                    let step = icy.map_or(left, |icy| icy.until.min(left));
                    if let Some(icy) = icy {
                        icy.until -= step;
                    }
                    *at += step as u64;
                    left -= step;
                }
            }
        }
    }

    /// Goes on at the live edge: after the frame that has begun, at the newest border. False if it is there already.
    pub(super) fn skip(&mut self, view: &View) -> bool {
        let (Some(at), Some(edge)) = (self.at, view.join(0)) else { return false };
        if at >= edge {
            return false;
        }
        let left_at = self.finish_frame(view).min(edge);
        let link_at = |at| view.headers_at(at).map(|(from, _)| from);
        if let Some((from, headers)) = view.headers_at(edge)
            && link_at(left_at) != Some(from)
        {
            self.owe(headers);
        }
        self.at = Some(edge);
        true
    }

    /// Leaves the stream of `view`, after the frame that has begun, for another one.
    pub(super) fn leave(&mut self, view: &View) {
        if self.at.is_some() {
            self.finish_frame(view);
        }
        self.at = None;
        if let Some(icy) = &mut self.icy {
            icy.told = None;
        }
    }

    /// Owes the rest of the frame that has begun. Returns the position after it.
    fn finish_frame(&mut self, view: &View) -> u64 {
        let at = self.at.unwrap_or(view.end());
        // What the ring has lost cannot be owed.
        let end = if at < view.start() { at } else { view.border_from(at).unwrap_or(view.end()) };
        let mut owed = BytesMut::new();
        self.walk(view, end, |slice| {
            owed.extend_from_slice(slice);
            true
        });
        self.advance(view, owed.len());
        self.owed = owed.freeze();
        end
    }

    fn owe(&mut self, bytes: &[u8]) {
        self.owed = [&self.owed, bytes].concat().into();
    }

    /// Gives what goes out next, in order, up to the position `end`, for as long as `take` wants more.
    fn walk<'a>(&'a self, view: &'a View, end: u64, mut take: impl FnMut(&'a [u8]) -> bool) {
        if !self.owed.is_empty() && !take(&self.owed) {
            return;
        }
        let Some(mut at) = self.at else { return };
        let mut icy = self.icy;
        for mut slice in view.slices(at) {
            slice = &slice[..slice.len().min(end.saturating_sub(at) as usize)];
            while !slice.is_empty() {
                if let Some(state) = icy.filter(|icy| icy.until == 0) {
                    let (block, after) = state.block(view, at);
                    if !take(block) {
                        return;
                    }
                    icy = Some(after);
                }
                let step = icy.map_or(slice.len(), |icy| icy.until.min(slice.len()));
                if !take(&slice[..step]) {
                    return;
                }
                if let Some(icy) = &mut icy {
                    icy.until -= step;
                }
                at += step as u64;
                slice = &slice[step..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use autoradio_common::limits::STREAM_SLICES;
    use proptest::prelude::*;

    use super::super::icy::{Title, block};
    use super::super::ring::{Piece, Ring};
    use super::*;

    /// Length of the frames of these tests, in bytes: their number, then filling.
    const FRAME: usize = 100;

    /// Frames with these numbers.
    fn frames(numbers: std::ops::Range<u32>) -> Piece {
        let frame = |number: u32| [&number.to_be_bytes()[..], &[0xee; FRAME - 4]].concat();
        Piece {
            borders: (0..numbers.len()).map(|frame| frame * FRAME).collect(),
            bytes: numbers.flat_map(frame).collect::<Vec<u8>>().into(),
            headers: None,
        }
    }

    /// What a socket that takes `most` bytes gets in one write.
    fn write(cursor: &mut Cursor, view: &View, most: usize) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); STREAM_SLICES];
        let (count, bytes) = cursor.slices(view, &mut slices);
        let mut written: Vec<u8> =
            slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
        assert_eq!(written.len(), bytes);
        written.truncate(most);
        cursor.advance(view, written.len());
        written
    }

    /// Audio without its metadata, and all titles.
    fn stripped(stream: &[u8]) -> (Vec<u8>, Vec<String>) {
        let (mut audio, mut titles, mut rest) = (Vec::new(), Vec::new(), stream);
        while rest.len() > METAINT {
            audio.extend_from_slice(&rest[..METAINT]);
            let text = usize::from(rest[METAINT]) * 16;
            rest = &rest[METAINT + 1..];
            let text_there = text.min(rest.len());
            if text > 0 && text_there == text {
                titles
                    .push(String::from_utf8_lossy(&rest[..text]).trim_end_matches('\0').to_owned());
            }
            rest = &rest[text_there..];
        }
        audio.extend_from_slice(rest);
        (audio, titles)
    }

    /// The numbers of these frames; what is no whole frame but the last panics.
    fn numbers(audio: &[u8]) -> Vec<u32> {
        let number = |frame: &[u8]| {
            assert!(frame[4..].iter().all(|byte| *byte == 0xee), "a torn frame");
            u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]])
        };
        audio.chunks_exact(FRAME).map(number).collect()
    }

    fn title(text: &str) -> Bytes {
        block(Some(&Title::new(Bytes::copy_from_slice(text.as_bytes()))))
    }

    #[test]
    fn the_title_at_join_comes_first_and_a_new_one_when_it_begins() {
        let mut ring = Ring::default();
        ring.set_title(title("old"));
        ring.append(frames(0..600), 0);
        ring.set_title(title("new"));
        ring.append(frames(600..1_000), 0);
        let view = ring.view();
        let mut cursor = Cursor::new(Bytes::new(), true);
        cursor.join(&view, u64::MAX);
        let mut stream = Vec::new();
        while cursor.lag(&view) > 0 {
            stream.extend(write(&mut cursor, &view, usize::MAX));
        }
        let (audio, titles) = stripped(&stream);
        assert_eq!(numbers(&audio), (0..1_000).collect::<Vec<_>>());
        assert_eq!(titles, ["StreamTitle='old';", "StreamTitle='new';"]);
        // Blocks stand after 16 000, 32 000, … bytes: that after 60 000 is the first with the new one.
        assert_eq!(stream[METAINT + 1 + title("old").len() - 1 + METAINT], 0, "nothing new");
    }

    #[test]
    fn a_listener_that_skips_ends_its_frame_and_changes_links_with_headers() {
        let mut ring = Ring::default();
        let headers = |text: &'static str| Some((0, Bytes::from_static(text.as_bytes())));
        ring.append(Piece { headers: headers("H1"), ..frames(0..10) }, 0);
        let mut cursor = Cursor::new(Bytes::from_static(b"head"), false);
        cursor.join(&ring.view(), u64::MAX);
        assert_eq!(write(&mut cursor, &ring.view(), 6 + 150)[..6], *b"headH1");
        ring.append(Piece { headers: headers("H2"), ..frames(10..20) }, 0);
        let view = ring.view();
        assert!(cursor.skip(&view));
        assert!(!cursor.skip(&view), "it is at the edge");
        let rest = write(&mut cursor, &view, usize::MAX);
        assert_eq!(rest[..50], frames(1..2).bytes[50..]);
        assert_eq!(rest[50..52], *b"H2");
        assert_eq!(numbers(&rest[52..]), [19]);
    }

    #[test]
    fn a_listener_that_moves_ends_its_frame_and_joins_the_other_stream_with_its_headers() {
        let (mut first, mut second) = (Ring::default(), Ring::default());
        first.append(frames(0..10), 0);
        let headers = Some((0, Bytes::from_static(b"H")));
        second.append(Piece { headers, ..frames(70..80) }, 0);
        let mut cursor = Cursor::new(Bytes::new(), false);
        cursor.join(&first.view(), u64::MAX);
        write(&mut cursor, &first.view(), 399);
        cursor.leave(&first.view());
        cursor.join(&second.view(), 0);
        let rest = write(&mut cursor, &second.view(), usize::MAX);
        assert_eq!(rest[..2], [0xee, b'H']);
        assert_eq!(numbers(&rest[2..]), [79]);
    }

    proptest! {
        #[test]
        fn a_listener_gets_whole_frames_in_order_however_slow_it_is(
            steps in prop::collection::vec((0u32..300, 0usize..40_000, 0u8..8), 1..60),
            icy: bool,
        ) {
            let mut ring = Ring::default();
            let mut cursor = Cursor::new(Bytes::new(), icy);
            let (mut sent, mut skips, mut stream) = (0, 0, Vec::new());
            for (new, taken, event) in steps {
                if event == 0 {
                    ring.set_title(title(&format!("title {sent}")));
                }
                ring.append(frames(sent..sent + new), 0);
                sent += new;
                let view = ring.view();
                cursor.join(&view, 5_000);
                if event == 1 && cursor.skip(&view) {
                    skips += 1;
                }
                stream.extend(write(&mut cursor, &view, taken));
            }
            let audio = if icy { stripped(&stream).0 } else { stream };
            let got = numbers(&audio);
            let gaps = got.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
            prop_assert!(got.windows(2).all(|pair| pair[0] < pair[1]), "out of order");
            prop_assert!(gaps <= skips, "{gaps} gaps in {skips} skips");
            prop_assert!(got.last().is_none_or(|last| *last < sent));
        }
    }
}
