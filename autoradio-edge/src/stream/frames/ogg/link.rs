//! One link of a chain: logical streams that begin together, with their headers. Pure.

use autoradio_common::limits::{STREAM_OGG_HEADERS_BYTES_MAX, STREAM_OGG_STREAMS_MAX};
use bytes::BytesMut;

use super::header::Left;
use super::page::{Page, last_page};

/// What a page has become in a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It belongs to no stream of this link.
    Foreign,
    /// It is one of the headers.
    Header,
    /// The headers are whole: it is audio.
    Audio,
    /// It is one of the headers, but they are too many.
    TooLarge,
}

/// A logical stream.
#[derive(Clone, Debug)]
struct Stream {
    /// Its number as the upstream has it.
    serial: u32,
    /// Its number as listeners have it.
    serial_out: u32,
    left: Left,
    /// Sequence number of its last page.
    sequence: u32,
    granule: Option<u64>,
    ended: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Link {
    streams: Vec<Stream>,
    /// Header pages, as they were sent.
    headers: BytesMut,
    /// Whether nothing but first pages has come.
    beginning: bool,
    complete: bool,
}

impl Link {
    pub(super) fn new() -> Self {
        Self { streams: Vec::new(), headers: BytesMut::new(), beginning: true, complete: false }
    }

    /// Whether another stream may still begin.
    pub(super) fn is_beginning(&self) -> bool {
        self.beginning
    }

    /// Takes a page of a link that listeners have not had yet.
    pub(super) fn take(&mut self, page: Page<'_>) -> Place {
        if page.is_first() && !self.begin(page) {
            return Place::Foreign;
        }
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.serial == page.serial())
        else {
            return Place::Foreign;
        };
        self.beginning &= page.is_first();
        if self.complete || !stream.left.take(page) {
            self.complete = true;
            return Place::Audio;
        }
        stream.note(page);
        self.headers.extend_from_slice(page.bytes());
        if self.headers.len() > STREAM_OGG_HEADERS_BYTES_MAX {
            Place::TooLarge
        } else {
            Place::Header
        }
    }

    /// Begins a stream, unless there is one of this number or there are too many.
    fn begin(&mut self, page: Page<'_>) -> bool {
        let serial = page.serial();
        if self.streams.len() == STREAM_OGG_STREAMS_MAX
            || self.streams.iter().any(|stream| stream.serial == serial)
        {
            return false;
        }
        self.streams.push(Stream {
            serial,
            serial_out: serial,
            left: Left::of(page),
            sequence: 0,
            granule: None,
            ended: false,
        });
        true
    }

    /// Gives every stream a number, made of its own, for listeners.
    pub(super) fn rename(&mut self, mut number: impl FnMut(u32) -> u32) {
        for stream in &mut self.streams {
            stream.serial_out = number(stream.serial);
        }
    }

    /// The header pages as they came.
    pub(super) fn raw_headers(&self) -> &[u8] {
        &self.headers
    }

    /// The header pages, under the numbers for listeners.
    pub(super) fn headers(&self) -> BytesMut {
        let mut headers = BytesMut::with_capacity(self.headers.len());
        for page in Page::all(&self.headers) {
            let stream = self.streams.iter().find(|stream| stream.serial == page.serial());
            page.write_as(stream.map_or(page.serial(), |stream| stream.serial_out), &mut headers);
        }
        headers
    }

    /// Appends a page of audio under the number for listeners; `false` if it belongs to no stream of this link that goes on.
    pub(super) fn write(&mut self, page: Page<'_>, out: &mut BytesMut) -> bool {
        let here = |stream: &&mut Stream| stream.serial == page.serial() && !stream.ended;
        let Some(stream) = self.streams.iter_mut().find(here) else {
            return false;
        };
        stream.note(page);
        page.write_as(stream.serial_out, out);
        true
    }

    /// Appends the ends of all streams that have none.
    pub(super) fn end(&self, out: &mut BytesMut) {
        for stream in self.streams.iter().filter(|stream| !stream.ended) {
            let sequence = stream.sequence.wrapping_add(1);
            out.extend_from_slice(&last_page(stream.serial_out, sequence, stream.granule));
        }
    }
}

impl Stream {
    fn note(&mut self, page: Page<'_>) {
        self.sequence = page.sequence();
        self.granule = page.granule().or(self.granule);
        self.ended |= page.is_last();
    }
}
