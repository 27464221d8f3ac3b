//! A stream of Ogg: pages, the links of a chain, and how a new upstream becomes one more of them. Pure.
//!
//! A link is passed on when its first page of audio comes, its headers before it. It may not have a serial number that an earlier one had
//! (RFC 3533 §4), so one that comes again, as from an upstream dialled anew, gets another and its pages new checksums. A link
//! that does not end before the next one is ended.
//!
//! After an interruption, pages that listeners have had are left out: those with the serial and sequence numbers and the checksum
//! of one of the last pages (`STREAM_REMEMBERED_BYTES_MAX`), up to the first that is another. Two pages of one stream never agree in all of
//! these, in silence neither. Limits: of a burst that is larger, all is heard twice; a source that plays the same file from its
//! beginning again, soon after it has begun, is not heard before it has got to where it was.

mod crc;
mod header;
mod link;
mod page;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};

use autoradio_common::limits::{
    STREAM_LOCK_BYTES_MAX, STREAM_OGG_DAMAGED_BYTES_MAX, STREAM_OGG_SERIALS_REMEMBERED,
    STREAM_REMEMBERED_BYTES_MAX,
};
use bytes::Bytes;

use super::Framed;
use super::sync::{Begin, Step};
use link::{Link, Place};
use page::{Capture, Page, PageId, capture};

/// Largest first page of a link by which a stream is known as Ogg, in bytes: it holds one short packet.
const FIRST_PAGE_BYTES_MAX: usize = 4 * 1024;

/// Whether a link begins at the front of `bytes`.
pub(super) fn begins(bytes: &[u8]) -> Begin {
    let front = &bytes[..bytes.len().min(FIRST_PAGE_BYTES_MAX)];
    match capture(front) {
        Capture::Whole(whole) if Page::of(&front[..whole]).is_some_and(Page::is_first) => {
            Begin::Yes
        }
        Capture::Short if front.len() < FIRST_PAGE_BYTES_MAX => Begin::Short,
        _ => Begin::No,
    }
}

/// Takes pages in and passes links on.
#[derive(Debug, Default)]
pub(super) struct Ogg {
    /// What listeners have.
    playing: Option<Link>,
    /// What has begun, and has no audio yet that listeners have not had.
    coming: Option<Link>,
    had: VecDeque<(PageId, usize)>,
    had_bytes: usize,
    /// The pages that listeners have had, while a new upstream may send them again.
    joint: Option<HashSet<PageId>>,
    /// Numbers that were given to listeners.
    serials: VecDeque<u32>,
    /// Bytes since the last page of a link.
    junk_bytes: usize,
    /// Bytes of damaged pages that were looked through again, less those that have come since.
    damaged_bytes: usize,
}

impl Ogg {
    /// What stands at the front of `bytes`; except with `Wait` and `Lost` it is taken.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        let left = STREAM_LOCK_BYTES_MAX.saturating_sub(self.junk_bytes);
        let junk = match capture(bytes) {
            _ if left == 0 => return Step::Lost,
            Capture::Short => return Step::Wait,
            Capture::Whole(whole) => {
                self.damaged_bytes = self.damaged_bytes.saturating_sub(whole);
                return Step::Frame(whole);
            }
            Capture::Damaged(whole) => {
                let spared = self.damaged_bytes > STREAM_OGG_DAMAGED_BYTES_MAX;
                self.damaged_bytes += whole;
                if spared { whole } else { 1 }
            }
            Capture::None => {
                let ahead = 1..bytes.len();
                ahead.into_iter().find(|&at| bytes[at] == b'O').unwrap_or(bytes.len())
            }
        };
        let junk = junk.min(left);
        self.junk_bytes += junk;
        self.damaged_bytes = self.damaged_bytes.saturating_sub(junk);
        Step::Junk(junk)
    }

    /// The stream has been lost, and is looked for anew.
    pub(super) fn reset(&mut self) {
        self.junk_bytes = 0;
        self.coming = None;
    }

    /// The next page is a new upstream's. What plays is ended.
    pub(super) fn interrupt(&mut self, out: &mut Framed) {
        self.reset();
        self.end(out);
        self.joint = Some(self.had.iter().map(|(id, _)| *id).collect());
    }

    /// Ends what plays.
    pub(super) fn end(&mut self, out: &mut Framed) {
        if let Some(link) = self.playing.take() {
            link.end(&mut out.bytes);
        }
    }

    /// Takes a whole page. If with it a link has too many headers, they are given back, and it is no stream for this file.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Framed) -> Option<Bytes> {
        self.junk_bytes += bytes.len();
        let page = Page::of(bytes)?;
        let fresh = self.coming.as_ref().is_none_or(|link| !link.is_beginning());
        if page.is_first() && fresh {
            self.coming = Some(Link::new());
        }
        let Some(link) = &mut self.coming else {
            self.pass(page, out);
            return None;
        };
        match link.take(page) {
            Place::Foreign => return None,
            Place::TooLarge => return Some(Bytes::copy_from_slice(link.raw_headers())),
            Place::Audio if !self.joint.as_ref().is_some_and(|had| had.contains(&page.id())) => {
                self.announce(out);
                self.pass(page, out);
            }
            Place::Header | Place::Audio => {}
        }
        self.junk_bytes = 0;
        None
    }

    /// Passes the headers of what is coming on: it plays.
    fn announce(&mut self, out: &mut Framed) {
        let Some(mut link) = self.coming.take() else {
            return;
        };
        self.joint = None;
        self.end(out);
        link.rename(|serial| self.number(serial));
        let headers = link.headers().freeze();
        out.head(headers.clone());
        out.append(&headers, false);
        self.playing = Some(link);
    }

    /// A number that no stream had that listeners know: this one, or one made of it.
    fn number(&mut self, serial: u32) -> u32 {
        // An odd step visits every number.
        let step = 0x9e37_79b9;
        let mut number = serial;
        while self.serials.contains(&number) {
            number = number.wrapping_add(step);
        }
        self.serials.push_back(number);
        if self.serials.len() > STREAM_OGG_SERIALS_REMEMBERED {
            self.serials.pop_front();
        }
        number
    }

    /// Passes a page of audio on, if it is of what plays.
    fn pass(&mut self, page: Page<'_>, out: &mut Framed) {
        let at = out.bytes.len();
        let written = self.playing.as_mut().is_some_and(|link| link.write(page, &mut out.bytes));
        if !written {
            return;
        }
        self.junk_bytes = 0;
        if !page.continues() {
            out.borders.push(at);
        }
        self.had.push_back((page.id(), page.bytes().len()));
        self.had_bytes += page.bytes().len();
        while self.had_bytes > STREAM_REMEMBERED_BYTES_MAX
            && let Some((_, bytes)) = self.had.pop_front()
        {
            self.had_bytes -= bytes;
        }
    }
}
