//! Serialises resource records: the one place where answers become bytes, for the kernel and for userspace.

use std::net::IpAddr;

use super::name::WireName;

/// Pointer to the question's name, which always starts behind the header (RFC 1035 §4.1.4).
const POINTER_TO_QUESTION: [u8; 2] = [0xc0, 0x0c];
const CLASS_IN: u16 = 1;

/// Types of records and questions that the zone knows (RFC 1035 §3.2.2, RFC 3596 §2.1).
pub mod rtype {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Name server.
    pub const NS: u16 = 2;
    /// Start of authority.
    pub const SOA: u16 = 6;
    /// Host information, the minimal answer to ANY (RFC 8482 §4.2).
    pub const HINFO: u16 = 13;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// A question for the zone's changes (RFC 1995).
    pub const IXFR: u16 = 251;
    /// A question for the whole zone (RFC 5936).
    pub const AXFR: u16 = 252;
    /// A question for every type (RFC 1035 §3.2.3).
    pub const ANY: u16 = 255;
}

/// Whose record it is.
#[derive(Clone, Copy)]
pub enum Owner<'a> {
    /// The name in the question.
    Question,
    /// A name written out.
    Name(&'a WireName),
}

/// The SOA's fields (RFC 1035 §3.3.13); all times in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soa {
    /// Primary name server.
    pub primary: WireName,
    /// Mailbox of the person responsible, as a name.
    pub mailbox: WireName,
    /// Version of the zone.
    pub serial: u32,
    /// How long a negative answer may be kept (RFC 2308 §4).
    pub negative_ttl: u32,
}

/// Refresh, retry and expire times: there are no secondaries that transfer this zone, so they are customary values.
const SOA_TIMES: [u32; 3] = [3_600, 600, 86_400];

fn push_head(out: &mut Vec<u8>, owner: Owner<'_>, rtype: u16, ttl: u32, rdata_bytes: usize) {
    match owner {
        Owner::Question => out.extend_from_slice(&POINTER_TO_QUESTION),
        Owner::Name(name) => out.extend_from_slice(name.as_bytes()),
    }
    out.extend_from_slice(&rtype.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    out.extend_from_slice(&ttl.to_be_bytes());
    out.extend_from_slice(&(rdata_bytes as u16).to_be_bytes());
}

/// Appends an A or AAAA record, whichever the address is.
pub fn push_address(out: &mut Vec<u8>, owner: Owner<'_>, ttl: u32, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            push_head(out, owner, rtype::A, ttl, 4);
            out.extend_from_slice(&address.octets());
        }
        IpAddr::V6(address) => {
            push_head(out, owner, rtype::AAAA, ttl, 16);
            out.extend_from_slice(&address.octets());
        }
    }
}

/// Appends an NS record.
pub fn push_ns(out: &mut Vec<u8>, owner: Owner<'_>, ttl: u32, server: &WireName) {
    push_head(out, owner, rtype::NS, ttl, server.as_bytes().len());
    out.extend_from_slice(server.as_bytes());
}

/// Appends an SOA record.
pub fn push_soa(out: &mut Vec<u8>, owner: Owner<'_>, ttl: u32, soa: &Soa) {
    let (primary, mailbox) = (soa.primary.as_bytes(), soa.mailbox.as_bytes());
    push_head(out, owner, rtype::SOA, ttl, primary.len() + mailbox.len() + 20);
    out.extend_from_slice(primary);
    out.extend_from_slice(mailbox);
    let [refresh, retry, expire] = SOA_TIMES;
    for number in [soa.serial, refresh, retry, expire, soa.negative_ttl] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// Appends the HINFO record that answers ANY (RFC 8482 §4.2).
pub fn push_any_hinfo(out: &mut Vec<u8>, ttl: u32) {
    const CPU: &[u8] = b"\x07RFC8482\x00";
    push_head(out, Owner::Question, rtype::HINFO, ttl, CPU.len());
    out.extend_from_slice(CPU);
}
