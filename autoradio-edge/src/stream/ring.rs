//! The ring: the newest bytes of a mount's stream, as whole frames, shared by all its listeners.
//!
//! One task appends; what it has appended is a [`View`], immutable and shared, that any thread reads from at any position
//! (bytes since the channel began). Pure.

use std::sync::Arc;

use autoradio_common::limits::{
    STREAM_BLOCK_BYTES, STREAM_RING_BYTES_MAX, STREAM_RING_BYTES_MIN, STREAM_RING_MS,
};
use bytes::{Bytes, BytesMut};

/// What one append brings: whole frames.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// The frames.
    pub(super) bytes: Bytes,
    /// Offsets in `bytes` where a listener may join, ascending.
    pub(super) borders: Vec<usize>,
    /// Offset from which these headers go before what a joining listener hears, if a new link begins.
    pub(super) headers: Option<(usize, Bytes)>,
}

/// Adjoining frames.
#[derive(Debug)]
struct Block {
    at: u64,
    bytes: Bytes,
    /// Offsets in `bytes`, ascending.
    borders: Vec<u32>,
    /// When the first of it came, in milliseconds of any clock that does not go back.
    came_ms: u64,
}

impl Block {
    fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    fn borders(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.borders.iter().map(|border| self.at + u64::from(*border))
    }
}

/// Something that holds from a position on.
#[derive(Clone, Debug)]
struct From {
    at: u64,
    bytes: Bytes,
}

/// A title as listeners get it, and the position that it holds from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caption<'a> {
    /// Where it began: tells it from others.
    pub(super) at: u64,
    /// The metadata block.
    pub(super) block: &'a Bytes,
}

/// The ring at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    blocks: Vec<Arc<Block>>,
    end: u64,
    links: Vec<From>,
    titles: Vec<From>,
}

/// The ring, for the one who appends.
#[derive(Debug, Default)]
pub(super) struct Ring {
    view: View,
}

impl Ring {
    /// What can be read now.
    pub(super) fn view(&self) -> Arc<View> {
        Arc::new(self.view.clone())
    }

    /// Appends frames that came at `now_ms`, and lets go of what is old.
    pub(super) fn append(&mut self, piece: Piece, now_ms: u64) {
        let view = &mut self.view;
        let at = view.end;
        if let Some((offset, headers)) = piece.headers {
            view.links.push(From { at: at + offset as u64, bytes: headers });
        }
        if piece.bytes.is_empty() {
            return;
        }
        view.end += piece.bytes.len() as u64;
        let borders = piece.borders.iter().map(|border| *border as u32);
        let mut block =
            Block { at, borders: borders.collect(), bytes: piece.bytes, came_ms: now_ms };
        // Small blocks would cost each listener a slice more in each write.
        let last = view.blocks.last();
        if last.is_some_and(|last| last.bytes.len() + block.bytes.len() <= STREAM_BLOCK_BYTES)
            && let Some(last) = view.blocks.pop()
        {
            block = joined(&last, &block);
        }
        view.blocks.push(Arc::new(block));
        self.let_go(now_ms);
    }

    /// Says what title holds from here on, as a metadata block.
    pub(super) fn set_title(&mut self, block: Bytes) {
        let titles = &mut self.view.titles;
        if titles.last().is_none_or(|last| last.bytes != block) {
            titles.retain(|title| title.at < self.view.end);
            titles.push(From { at: self.view.end, bytes: block });
        }
    }

    /// Keeps enough for who lags: some seconds, at least so many bytes, at most so many.
    fn let_go(&mut self, now_ms: u64) {
        let view = &mut self.view;
        let spare = |block: &Block| {
            let left = view.end - block.end();
            let old = now_ms.saturating_sub(block.came_ms) >= STREAM_RING_MS;
            left >= STREAM_RING_BYTES_MAX || (left >= STREAM_RING_BYTES_MIN && old)
        };
        let gone = view.blocks.iter().take_while(|block| spare(block)).count();
        if gone == 0 {
            return;
        }
        view.blocks.drain(..gone);
        let start = view.start();
        for holds in [&mut view.links, &mut view.titles] {
            let past = holds.iter().filter(|from| from.at <= start).count();
            holds.drain(..past.saturating_sub(1));
        }
    }
}

/// Two adjoining blocks as one.
fn joined(first: &Block, second: &Block) -> Block {
    let mut bytes = BytesMut::with_capacity(first.bytes.len() + second.bytes.len());
    bytes.extend_from_slice(&first.bytes);
    bytes.extend_from_slice(&second.bytes);
    let shift = first.bytes.len() as u32;
    let mut borders = first.borders.clone();
    borders.extend(second.borders.iter().map(|border| border + shift));
    Block { at: first.at, bytes: bytes.freeze(), borders, came_ms: first.came_ms }
}

impl View {
    /// Position of the oldest byte.
    pub(super) fn start(&self) -> u64 {
        self.blocks.first().map_or(self.end, |block| block.at)
    }

    /// Position after the newest byte.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Where a listener joins that shall have `back` bytes at once: at a border, that many bytes before the end or a little
    /// more; nearer to it if the ring has less. `None` while there is no border.
    pub(super) fn join(&self, back: u64) -> Option<u64> {
        let wanted = self.end.saturating_sub(back);
        let before = || {
            let blocks = self.blocks.iter().rev().skip_while(|block| block.at > wanted);
            blocks.flat_map(|block| block.borders().rev()).find(|border| *border <= wanted)
        };
        before().or_else(|| self.border_from(wanted))
    }

    /// The first border at `at` or after it.
    pub(super) fn border_from(&self, at: u64) -> Option<u64> {
        let blocks = &self.blocks[self.block_of(at)..];
        blocks.iter().flat_map(|block| block.borders()).find(|border| *border >= at)
    }

    /// The headers that go before what is at `at`, empty if none do, and the position they hold from.
    pub(super) fn headers_at(&self, at: u64) -> Option<(u64, &Bytes)> {
        let link = self.links.iter().rev().find(|link| link.at <= at)?;
        Some((link.at, &link.bytes))
    }

    /// The title that holds at `at`; before the first title that is known, that one.
    pub(super) fn title_at(&self, at: u64) -> Option<Caption<'_>> {
        let title = self.titles.iter().rev().find(|title| title.at <= at);
        let title = title.or(self.titles.first())?;
        Some(Caption { at: title.at, block: &title.bytes })
    }

    /// The bytes from `at` on, in adjoining slices.
    pub(super) fn slices(&self, at: u64) -> impl Iterator<Item = &[u8]> {
        let blocks = &self.blocks[self.block_of(at)..];
        blocks.iter().map(move |block| {
            let offset = at.saturating_sub(block.at) as usize;
            &block.bytes[offset.min(block.bytes.len())..]
        })
    }

    /// Index of the block that holds `at`, or of the first one after it.
    fn block_of(&self, at: u64) -> usize {
        self.blocks.partition_point(|block| block.end() <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of `bytes` bytes each.
    fn frames(count: usize, bytes: usize, letter: u8) -> Piece {
        Piece {
            bytes: vec![letter; count * bytes].into(),
            borders: (0..count).map(|number| number * bytes).collect(),
            headers: None,
        }
    }

    fn read(view: &View, at: u64) -> Vec<u8> {
        view.slices(at).flatten().copied().collect()
    }

    #[test]
    fn what_was_appended_is_read_from_any_position_and_small_pieces_share_a_block() {
        let mut ring = Ring::default();
        for letter in b'a'..=b'e' {
            ring.append(frames(1, 3_000, letter), 0);
        }
        let view = ring.view();
        assert_eq!((view.start(), view.end()), (0, 15_000));
        assert_eq!(view.blocks.len(), 1);
        let tail = read(&view, 8_999);
        assert_eq!((tail[0], tail[1], tail.len()), (b'c', b'd', 6_001));
        ring.append(frames(10, 3_000, b'f'), 0);
        assert_eq!(ring.view().blocks.len(), 2, "a block does not grow without end");
        assert!(read(&view, 15_000).is_empty(), "an older view stays as it was");
        assert_eq!(ring.view().border_from(14_000), Some(15_000));
    }

    #[test]
    fn a_listener_joins_at_a_border() {
        let mut ring = Ring::default();
        assert_eq!(ring.view().join(1_000), None);
        ring.append(Piece { bytes: vec![0; 50].into(), ..Piece::default() }, 0);
        assert_eq!(ring.view().join(1_000), None, "nothing begins here");
        ring.append(frames(100, 417, b'x'), 0);
        let view = ring.view();
        for (why, back, want) in [
            ("the last frame", 1, 50 + 99 * 417),
            ("the frame that the burst begins in", 1_000, 50 + 97 * 417),
            ("everything", 1_000_000, 50),
            ("the next frame, as the last one has ended", 0, 50 + 99 * 417),
        ] {
            assert_eq!(view.join(back), Some(want), "{why}");
        }
    }

    #[test]
    fn old_bytes_go_and_what_holds_for_the_rest_stays() {
        let mut ring = Ring::default();
        ring.set_title(Bytes::from_static(b"one"));
        ring.append(
            Piece { headers: Some((0, Bytes::from_static(b"H1"))), ..frames(1, 10, b'a') },
            0,
        );
        ring.set_title(Bytes::from_static(b"two"));
        ring.set_title(Bytes::from_static(b"two"));
        let block = STREAM_BLOCK_BYTES;
        for second in 1..STREAM_RING_BYTES_MAX / block as u64 {
            ring.append(frames(1, block, b'b'), second);
        }
        let all = ring.view();
        assert_eq!(all.start(), 0, "nothing is old");
        assert_eq!(all.title_at(9).expect("a title").block, "one");
        ring.append(frames(1, block, b'c'), STREAM_RING_MS + 1_000_000);
        let view = ring.view();
        let kept = view.end() - view.start();
        let least = STREAM_RING_BYTES_MIN;
        assert!((least..=least + block as u64).contains(&kept), "{kept}");
        assert_eq!(view.titles.len(), 1);
        assert_eq!(view.title_at(view.start()).expect("a title").block, "two");
        assert_eq!(view.headers_at(view.start()).expect("headers").1, "H1");
        for _ in 0..2 * STREAM_RING_BYTES_MAX / block as u64 {
            ring.append(frames(1, block, b'd'), STREAM_RING_MS + 1_000_000);
        }
        let view = ring.view();
        assert!(view.end() - view.start() <= STREAM_RING_BYTES_MAX + block as u64);
    }
}
