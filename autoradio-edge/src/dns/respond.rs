//! Answers one message: pure, the same for UDP and TCP, and byte for byte what the kernel program answers.

use autoradio_common::cookie::Verified;
use autoradio_common::limits::{DNS_UDP_BYTES_MAX, DNS_UDP_BYTES_PLAIN};
use autoradio_common::wire::{CLASS_IN, FLAG_AUTHORITATIVE, FLAG_RESPONSE, HEADER_BYTES, TYPE_OPT};

use super::options::{Options, ReplyOptions};
use super::policy::{Asked, Transport};
use super::query::{self, Edns, Header, Query};
use super::record::rtype;
use super::reply::{Parts, Replied, write_bare};
use super::zone::{Answer, Lookup, Zone, rcode};

/// A reply without records.
const NO_RECORDS: &Answer =
    &Answer { rcode: 0, answers: 0, authorities: 0, additionals: 0, bytes: Vec::new() };

/// Largest DNS reply that may go out in one UDP datagram, in bytes of DNS message.
///
/// `edns_bytes` is the size announced in the OPT record, `None` without one. Result: `512..=1232`.
/// Sources: RFC 1035 §4.2.1 (512), RFC 6891 §6.2.3 (below 512 counts as 512), DNS Flag Day 2020 (1232).
pub fn udp_reply_bytes_max(edns_bytes: Option<u16>) -> u16 {
    edns_bytes
        .map_or(DNS_UDP_BYTES_PLAIN, |bytes| bytes.clamp(DNS_UDP_BYTES_PLAIN, DNS_UDP_BYTES_MAX))
}

/// Answers a message from the zone into `out`, whose content is replaced. Allocates nothing but `out`'s room.
///
/// `None`: no reply may be sent, because the message is a response or has no header (replies to replies would loop).
pub fn respond(
    message: &[u8],
    zone: &Zone,
    asked: &Asked<'_>,
    out: &mut Vec<u8>,
) -> Option<Replied> {
    out.clear();
    let header = Header::read(message)?;
    if header.flags & FLAG_RESPONSE != 0 {
        return None;
    }
    let Ok(query) = query::parse(message, header) else {
        let rcode = if header.opcode() == 0 { rcode::FORM_ERR } else { rcode::NOT_IMP };
        return Some(write_bare(header, rcode, out));
    };
    let question = &message[HEADER_BYTES..query.question_end];
    let answering = Answering { header, question, query: &query, asked };
    Some(answering.reply(zone, out))
}

struct Answering<'a> {
    header: Header,
    question: &'a [u8],
    query: &'a Query<'a>,
    asked: &'a Asked<'a>,
}

impl<'a> Answering<'a> {
    fn reply(&self, zone: &Zone, out: &mut Vec<u8>) -> Replied {
        let edns = self.query.edns;
        // An OPT record that cannot be used is answered by one without options (RFC 6891 §7).
        let plain = edns.map(|_| ReplyOptions::default());
        if self.header.opcode() != 0 {
            return self.error(rcode::NOT_IMP, plain, out);
        }
        if edns.is_some_and(|edns| edns.version != 0) {
            return self.error(rcode::BAD_VERS, plain, out);
        }
        let Ok(opt) = edns.map(|edns| self.options(edns)).transpose() else {
            return self.error(rcode::FORM_ERR, plain, out);
        };
        if self.question.is_empty() {
            return self.cookie_alone(opt, out);
        }
        if let Some(rcode) = refusal(self.query) {
            return self.error(rcode, opt, out);
        }
        match zone.lookup(self.query.name.as_bytes(), self.query.qtype) {
            Lookup::Found(set) => self.authoritative(set.pick(self.asked.slot()), opt, out),
            Lookup::NoData(answer) | Lookup::NxDomain(answer) => {
                self.authoritative(answer, opt, out)
            }
            Lookup::Outside => self.error(rcode::REFUSED, opt, out),
        }
    }

    fn options(&self, edns: Edns<'a>) -> Result<ReplyOptions<'a>, query::Malformed> {
        ReplyOptions::to(&Options::read(edns.options)?, self.asked)
    }

    /// The answer to a client that asks for nothing but a cookie (RFC 7873 §5.4).
    fn cookie_alone(&self, opt: Option<ReplyOptions<'_>>, out: &mut Vec<u8>) -> Replied {
        let rcode = match opt {
            Some(opt) if opt.verified == Some(Verified::Not) => rcode::BAD_COOKIE,
            Some(opt) if opt.has_cookie() => rcode::NO_ERROR,
            _ => rcode::FORM_ERR,
        };
        self.error(rcode, opt, out)
    }

    fn authoritative(
        &self,
        answer: &Answer,
        opt: Option<ReplyOptions<'_>>,
        out: &mut Vec<u8>,
    ) -> Replied {
        let (header, question, rcode) = (self.header, self.question, answer.rcode);
        let flags = FLAG_AUTHORITATIVE;
        let mut replied = Parts { header, flags, rcode, question, answer, opt }.write(out);
        if out.len() > self.reply_bytes_max() {
            replied.truncate(out);
        }
        replied
    }

    /// A reply without records, by no authority.
    fn error(&self, rcode: u16, opt: Option<ReplyOptions<'_>>, out: &mut Vec<u8>) -> Replied {
        let (header, question, answer) = (self.header, self.question, NO_RECORDS);
        Parts { header, flags: 0, rcode, question, answer, opt }.write(out)
    }

    fn reply_bytes_max(&self) -> usize {
        match self.asked.via {
            Transport::Udp => {
                usize::from(udp_reply_bytes_max(self.query.edns.map(|edns| edns.udp_bytes)))
            }
            Transport::Tcp => usize::from(u16::MAX),
        }
    }
}

/// The code for a question that no record could answer, if it is one.
fn refusal(query: &Query<'_>) -> Option<u16> {
    if query.qclass != CLASS_IN {
        return Some(rcode::REFUSED);
    }
    match query.qtype {
        rtype::ANY => None,
        rtype::IXFR | rtype::AXFR => Some(rcode::REFUSED),
        // No types of records, but signs and questions (RFC 6895 §3.1); none of them is known here.
        0 | TYPE_OPT | 128..=255 => Some(rcode::NOT_IMP),
        _ => None,
    }
}

#[cfg(test)]
#[path = "respond_tests.rs"]
mod tests;
