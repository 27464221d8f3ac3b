//! What one listener has heard of a numbered stream: whole frames as they were sent, each once, in order. Pure.

use super::frames::{self, Format, Number};
use super::ogg::{self, Chain};

/// A listener's ear.
#[derive(Debug)]
pub(super) struct Hearing {
    format: Format,
    /// What has come of a frame that is not whole.
    rest: Vec<u8>,
    chain: Chain,
    /// The last frame.
    last: Option<Number>,
    /// Frames so far.
    pub(super) frames: u64,
    /// Most frames that a session had been on air before its first was heard, except for the first session heard.
    pub(super) late_frames_max: u32,
    /// What is wrong with what came, first of all.
    pub(super) fault: Option<String>,
}

impl Hearing {
    pub(super) fn new(format: Format) -> Self {
        let (rest, chain) = (Vec::new(), Chain::default());
        Self { format, rest, chain, last: None, frames: 0, late_frames_max: 0, fault: None }
    }

    /// The newest session of which a frame has come; 0 before the first.
    pub(super) fn session(&self) -> u32 {
        self.last.map_or(0, |(session, _)| session)
    }

    /// Takes audio, in any pieces. After a fault it is not looked at any more.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.fault.is_some() {
            return;
        }
        let mut buffer = std::mem::take(&mut self.rest);
        buffer.extend_from_slice(bytes);
        let mut at = 0;
        loop {
            match self.step(&buffer[at..]) {
                Ok(0) => break,
                Ok(taken) => at += taken,
                Err(fault) => {
                    self.fault = Some(format!("after {:?}: {fault}", self.last));
                    return;
                }
            }
        }
        buffer.drain(..at);
        self.rest = buffer;
    }

    /// Takes one frame from the front. Returns its bytes, 0 if it is not whole.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let Some((start, whole)) = self.format.plain() else {
            let whole = ogg::page_bytes(bytes)?.filter(|whole| *whole <= bytes.len());
            let Some(whole) = whole else { return Ok(0) };
            if let Some(number) = self.chain.take(&bytes[..whole])? {
                self.note(number)?;
            }
            return Ok(whole);
        };
        let Some(frame) = bytes.get(..whole) else { return Ok(0) };
        let number = frames::number(&frame[start..]);
        let number = number.filter(|number| self.format.frame(*number) == frame);
        self.note(number.ok_or("these bytes are no frame that was sent")?)?;
        Ok(whole)
    }

    fn note(&mut self, (session, number): Number) -> Result<(), String> {
        match self.last {
            None => {}
            Some((last, before)) if session == last && number == before + 1 => {}
            Some((last, _)) if session > last => {
                self.late_frames_max = self.late_frames_max.max(number);
            }
            Some(_) => return Err(format!("frame {number} of session {session}")),
        }
        self.last = Some((session, number));
        self.frames += 1;
        Ok(())
    }
}

/// Takes titles out of a stream that has them every so many bytes.
#[derive(Debug)]
pub(super) struct Titles {
    every_bytes: usize,
    /// Bytes of audio until the next block.
    audio_left: usize,
    /// Bytes of a block that are still to come.
    block_left: usize,
}

impl Titles {
    pub(super) fn new(every_bytes: usize) -> Self {
        Self { every_bytes, audio_left: every_bytes, block_left: 0 }
    }

    /// The audio in these bytes.
    pub(super) fn strip(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut audio = Vec::with_capacity(bytes.len());
        while !bytes.is_empty() {
            if self.block_left > 0 {
                let taken = self.block_left.min(bytes.len());
                self.block_left -= taken;
                bytes = &bytes[taken..];
            } else if self.audio_left == 0 {
                self.block_left = usize::from(bytes[0]) * 16;
                self.audio_left = self.every_bytes;
                bytes = &bytes[1..];
            } else {
                let taken = self.audio_left.min(bytes.len());
                audio.extend_from_slice(&bytes[..taken]);
                self.audio_left -= taken;
                bytes = &bytes[taken..];
            }
        }
        audio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(format: Format, numbers: &[Number]) -> Hearing {
        let mut hearing = Hearing::new(format);
        let mut bytes = format.beginning(numbers[0].0);
        bytes.extend(numbers.iter().flat_map(|number| format.frame(*number)));
        bytes.chunks(100).for_each(|piece| hearing.push(piece));
        hearing
    }

    #[test]
    fn frames_in_order_are_heard_in_any_pieces() {
        for format in [Format::Mp3, Format::Aac, Format::Ogg] {
            let hearing = heard(format, &[(1, 7), (1, 8), (1, 9)]);
            assert_eq!((hearing.frames, hearing.session()), (3, 1), "{:?}", hearing.fault);
            assert!(hearing.rest.is_empty());
        }
        let hearing = heard(Format::Mp3, &[(1, 7), (3, 2), (3, 3)]);
        assert_eq!((hearing.fault, hearing.late_frames_max), (None, 2));
    }

    #[test]
    fn a_frame_missing_again_or_of_an_earlier_session_is_a_fault() {
        for (why, numbers) in [
            ("missing", [(1, 7), (1, 9)]),
            ("again", [(1, 7), (1, 7)]),
            ("backwards", [(2, 7), (1, 8)]),
        ] {
            for format in [Format::Mp3, Format::Aac] {
                assert!(heard(format, &numbers).fault.is_some(), "{why}, {format:?}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_frame_are_a_fault() {
        let mut cut = Format::Mp3.frame((1, 0));
        cut.pop();
        let mut hearing = Hearing::new(Format::Mp3);
        hearing.push(&[cut, Format::Mp3.frame((1, 1))].concat());
        assert!(hearing.fault.is_some());
        assert_eq!(hearing.frames, 0);
    }

    #[test]
    fn titles_are_taken_out_in_any_pieces() {
        let audio: Vec<u8> = (0..250).collect();
        let mut sent = Vec::new();
        for (index, piece) in audio.chunks(100).enumerate() {
            sent.extend(piece);
            if piece.len() == 100 {
                sent.push(index as u8);
                sent.extend(vec![b'x'; index * 16]);
            }
        }
        for size in [1, 7, 1_000] {
            let mut titles = Titles::new(100);
            let got: Vec<u8> = sent.chunks(size).flat_map(|piece| titles.strip(piece)).collect();
            assert_eq!(got, audio, "{size}");
        }
    }
}
