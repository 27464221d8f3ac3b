//! Numbers of the DNS wire format that the kernel and userspace must agree on.

/// Bytes of a DNS message header (RFC 1035 §4.1.1).
pub const HEADER_BYTES: usize = 12;
/// Port of DNS.
pub const PORT: u16 = 53;
/// Class IN (RFC 1035 §3.2.4).
pub const CLASS_IN: u16 = 1;
/// Type OPT (RFC 6891 §6.1.1).
pub const TYPE_OPT: u16 = 41;
/// Longest label (RFC 1035 §2.3.4).
pub const LABEL_BYTES_MAX: u8 = 63;

/// Header flag QR: a response.
pub const FLAG_RESPONSE: u16 = 0x8000;
/// Header bits of the opcode.
pub const MASK_OPCODE: u16 = 0x7800;
/// Header flag AA: authoritative.
pub const FLAG_AUTHORITATIVE: u16 = 0x0400;
/// Header flag TC: truncated.
pub const FLAG_TRUNCATED: u16 = 0x0200;
/// Flags of the query that stand in the response too: RD (RFC 1035 §4.1.1) and CD (RFC 4035 §3.2.2).
pub const FLAGS_ECHOED: u16 = 0x0110;

/// The OPT record of every reply to a query that had one: no options, our size (RFC 6891 §6.1.2).
///
/// The DO bit is not set: the zone is unsigned.
pub const OPT_RECORD: [u8; 11] = {
    let size = crate::limits::DNS_UDP_BYTES_MAX.to_be_bytes();
    [0, 0, 41, size[0], size[1], 0, 0, 0, 0, 0, 0]
};

/// EDNS option NSID (RFC 5001 §2.1): which server is this?
pub const OPTION_NSID: u16 = 3;
/// EDNS option client subnet (RFC 7871 §6).
pub const OPTION_SUBNET: u16 = 8;
/// EDNS option padding (RFC 7830 §3).
pub const OPTION_PADDING: u16 = 12;

/// Ones' complement sum of `bytes` as big-endian 16-bit words, folded to 16 bits (RFC 1071).
pub fn sum_words(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    fold_sum(sum)
}

/// Folds the carries of a ones' complement sum into its low 16 bits.
pub const fn fold_sum(mut sum: u32) -> u16 {
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_agree_with_the_example_of_rfc_1071() {
        assert_eq!(sum_words(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(sum_words(&[0x12]), 0x1200, "an odd last byte is padded with zero");
        assert_eq!(sum_words(&[]), 0);
    }
}
