//! Writes replies: the parts every reply has, in their one order. Pure.

use autoradio_common::cookie::Verified;
use autoradio_common::wire::{
    FLAG_RESPONSE, FLAG_TRUNCATED, FLAGS_ECHOED, HEADER_BYTES, MASK_OPCODE,
};

use super::options::ReplyOptions;
use super::query::Header;
use super::zone::{Answer, rcode};

/// What a reply says, for the counters and the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replied {
    /// Response code, with the upper bits that stand in the OPT record.
    pub rcode: u16,
    /// What the query's server cookie is worth; `None` without one, or where there are no cookies.
    pub cookie: Option<Verified>,
    /// Where the question ends in the reply.
    question_end: usize,
    /// Where the OPT record starts in the reply; its end where there is none.
    opt_start: usize,
}

impl Replied {
    /// Whether the client has shown that it is where it says: nobody can forge a reply's way to it.
    pub fn is_verified(&self) -> bool {
        matches!(self.cookie, Some(Verified::Fresh | Verified::Old))
    }

    /// Whether the reply may go out truncated for want of rate. Errors have nothing that TCP would tell better.
    pub fn may_slip(&self) -> bool {
        matches!(self.rcode, rcode::NO_ERROR | rcode::NX_DOMAIN)
    }

    /// Takes the records out of the reply, but for OPT, and sets TC (RFC 2181 §9): the client asks again by TCP. The code
    /// becomes that of no error, since what it would be about is not there.
    pub fn truncate(&mut self, reply: &mut Vec<u8>) {
        let has_opt = self.opt_start < reply.len();
        reply.drain(self.question_end..self.opt_start);
        self.opt_start = self.question_end;
        reply[2] |= (FLAG_TRUNCATED >> 8) as u8;
        reply[3] &= !0xf;
        reply[6..HEADER_BYTES].copy_from_slice(&[0, 0, 0, 0, 0, u8::from(has_opt)]);
        self.rcode &= !0xf;
    }
}

/// A header alone: to what cannot be read.
pub(super) fn write_bare(header: Header, rcode: u16, out: &mut Vec<u8>) -> Replied {
    write_header(header, rcode, [0; 4], out);
    Replied { rcode, cookie: None, question_end: HEADER_BYTES, opt_start: HEADER_BYTES }
}

/// A reply's parts.
pub(super) struct Parts<'a> {
    /// The query's header.
    pub(super) header: Header,
    /// The flags beyond those echoed.
    pub(super) flags: u16,
    /// Response code, upper bits included; those need an OPT record.
    pub(super) rcode: u16,
    /// The question as it came; empty where none did.
    pub(super) question: &'a [u8],
    /// The records; the code in it is not looked at.
    pub(super) answer: &'a Answer,
    /// The OPT record, where the query had one (RFC 6891 §7).
    pub(super) opt: Option<ReplyOptions<'a>>,
}

impl Parts<'_> {
    /// Writes them behind each other: header, question, records, OPT.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Replied {
        let questions = u16::from(!self.question.is_empty());
        let additionals = self.answer.additionals + u16::from(self.opt.is_some());
        let counts = [questions, self.answer.answers, self.answer.authorities, additionals];
        write_header(self.header, self.flags | (self.rcode & 0xf), counts, out);
        out.extend_from_slice(self.question);
        let question_end = out.len();
        out.extend_from_slice(&self.answer.bytes);
        let opt_start = out.len();
        if let Some(opt) = &self.opt {
            opt.write(self.rcode, out);
        }
        let cookie = self.opt.and_then(|opt| opt.verified);
        Replied { rcode: self.rcode, cookie, question_end, opt_start }
    }
}

fn write_header(header: Header, flags: u16, counts: [u16; 4], out: &mut Vec<u8>) {
    let flags = FLAG_RESPONSE | (header.flags & (FLAGS_ECHOED | MASK_OPCODE)) | flags;
    let [questions, answers, authorities, additionals] = counts;
    for word in [header.id, flags, questions, answers, authorities, additionals] {
        out.extend_from_slice(&word.to_be_bytes());
    }
}
