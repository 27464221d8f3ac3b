//! Answers one message: pure, the same for UDP and TCP, and byte for byte what the kernel program answers.

use autoradio_common::limits::{DNS_UDP_BYTES_MAX, DNS_UDP_BYTES_PLAIN};
use autoradio_common::wire::{
    CLASS_IN, FLAG_AUTHORITATIVE, FLAG_RESPONSE, FLAG_TRUNCATED, FLAGS_ECHOED, HEADER_BYTES,
    MASK_OPCODE, OPT_RECORD,
};

use super::query::{self, Edns, Header, Query};
use super::zone::{Answer, Lookup, Zone, rcode};

/// Query types that ask for a transfer of the zone (RFC 5936, RFC 1995): refused.
const TRANSFERS: [u16; 2] = [252, 251];

/// How the message came, which says how large the reply may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One datagram each way.
    Udp,
    /// A stream: no limit but the length field's.
    Tcp,
}

/// A reply, and its response code for the counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The DNS message.
    pub bytes: Vec<u8>,
    /// Response code, BADVERS included.
    pub rcode: u16,
}

/// Largest DNS reply that may go out in one UDP datagram, in bytes of DNS message.
///
/// `edns` is the query's OPT record. Result: `512..=1232`.
/// Sources: RFC 1035 §4.2.1 (512), RFC 6891 §6.2.3 (below 512 counts as 512), DNS Flag Day 2020 (1232).
pub fn udp_reply_bytes_max(edns: Option<Edns>) -> u16 {
    edns.map_or(DNS_UDP_BYTES_PLAIN, |edns| {
        edns.udp_bytes.clamp(DNS_UDP_BYTES_PLAIN, DNS_UDP_BYTES_MAX)
    })
}

/// Answers a message from the zone. `draw` picks the variant; `node` names this server to clients that ask (NSID).
///
/// `None`: no reply may be sent, because the message is a response or has no header (replies to replies would loop).
pub fn respond(message: &[u8], zone: &Zone, node: &str, draw: u8, via: Transport) -> Option<Reply> {
    let header = Header::read(message)?;
    if header.flags & FLAG_RESPONSE != 0 {
        return None;
    }
    if header.opcode() != 0 {
        return Some(bare(header, rcode::NOT_IMP));
    }
    let Ok(query) = query::parse(message, header) else {
        return Some(bare(header, rcode::FORM_ERR));
    };
    let answering = Answering { message, header, query: &query, node, via };
    Some(answering.reply(zone, draw))
}

/// A reply of a header alone: to what cannot be read or is not supported.
fn bare(header: Header, rcode: u16) -> Reply {
    let flags = FLAG_RESPONSE | (header.flags & (FLAGS_ECHOED | MASK_OPCODE)) | rcode;
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    for word in [header.id, flags, 0, 0, 0, 0] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    Reply { bytes, rcode }
}

struct Answering<'a> {
    message: &'a [u8],
    header: Header,
    query: &'a Query,
    node: &'a str,
    via: Transport,
}

impl Answering<'_> {
    fn reply(&self, zone: &Zone, draw: u8) -> Reply {
        if self.query.edns.is_some_and(|edns| edns.version != 0) {
            return self.without_records(rcode::BAD_VERS);
        }
        if self.query.qclass != CLASS_IN || TRANSFERS.contains(&self.query.qtype) {
            return self.without_records(rcode::REFUSED);
        }
        match zone.lookup(self.query.name.as_bytes(), self.query.qtype) {
            Lookup::Found(set) => self.authoritative(set.pick(draw)),
            Lookup::NoData(answer) | Lookup::NxDomain(answer) => self.authoritative(answer),
            Lookup::Outside => self.without_records(rcode::REFUSED),
        }
    }

    fn authoritative(&self, answer: &Answer) -> Reply {
        let opt = self.opt(answer.rcode);
        let bytes = self.query.question_end + answer.bytes.len() + opt.len();
        if bytes > self.reply_bytes_max() {
            return self.write(FLAG_AUTHORITATIVE | FLAG_TRUNCATED, &Answer::default(), &opt);
        }
        self.write(FLAG_AUTHORITATIVE, answer, &opt)
    }

    fn without_records(&self, rcode: u16) -> Reply {
        let answer = Answer { rcode: rcode & 0xf, ..Answer::default() };
        let reply = self.write(0, &answer, &self.opt(rcode));
        Reply { rcode, ..reply }
    }

    fn reply_bytes_max(&self) -> usize {
        match self.via {
            Transport::Udp => usize::from(udp_reply_bytes_max(self.query.edns)),
            Transport::Tcp => usize::from(u16::MAX),
        }
    }

    /// The OPT record of the reply: only where the query had one (RFC 6891 §7).
    fn opt(&self, rcode: u16) -> Vec<u8> {
        let Some(edns) = self.query.edns else {
            return Vec::new();
        };
        let mut opt = OPT_RECORD.to_vec();
        opt[5] = (rcode >> 4) as u8;
        if edns.nsid && edns.version == 0 {
            let name = self.node.as_bytes();
            opt[10] = (4 + name.len()) as u8;
            opt.extend_from_slice(&[0, 3, 0, name.len() as u8]);
            opt.extend_from_slice(name);
        }
        opt
    }

    fn write(&self, flags: u16, answer: &Answer, opt: &[u8]) -> Reply {
        let echoed = self.header.flags & FLAGS_ECHOED;
        let additionals = answer.additionals + u16::from(!opt.is_empty());
        let flags = FLAG_RESPONSE | flags | echoed | answer.rcode;
        let question = &self.message[HEADER_BYTES..self.query.question_end];
        let mut bytes =
            Vec::with_capacity(self.query.question_end + answer.bytes.len() + opt.len());
        for word in [self.header.id, flags, 1, answer.answers, answer.authorities, additionals] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        bytes.extend_from_slice(question);
        bytes.extend_from_slice(&answer.bytes);
        bytes.extend_from_slice(opt);
        Reply { bytes, rcode: answer.rcode }
    }
}

#[cfg(test)]
#[path = "respond_tests.rs"]
mod tests;
