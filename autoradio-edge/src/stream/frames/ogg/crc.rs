//! Ogg's checksum. Pure.
//!
//! Polynomial 0x04c11db7 from the highest bit down, beginning with 0, nothing reflected or inverted (RFC 3533 §6, field 7): not the
//! CRC-32 of Ethernet and zip, which has the same polynomial.

const POLYNOMIAL: u32 = 0x04c1_1db7;

/// `TABLES[n][byte]`: what a byte does to the checksum when `n` bytes follow it.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut at = 0;
    while at < 8 * 256 {
        let (table, byte) = (at / 256, at % 256);
        tables[table][byte] =
            if table == 0 { shift((byte as u32) << 24) } else { shift(tables[table - 1][byte]) };
        at += 1;
    }
    tables
}

/// Eight bits further.
const fn shift(mut word: u32) -> u32 {
    let mut bit = 0;
    while bit < 8 {
        let carry = word >> 31;
        word = (word << 1) ^ (carry * POLYNOMIAL);
        bit += 1;
    }
    word
}

/// The checksum of what gave `before`, with `bytes` after it; 0 for nothing.
pub(super) fn crc(before: u32, bytes: &[u8]) -> u32 {
    let (blocks, rest) = bytes.as_chunks::<8>();
    let sum = blocks.iter().fold(before, |sum, &block| {
        let [a, b, c, d] = sum.to_be_bytes();
        let mixed = [a, b, c, d, 0, 0, 0, 0];
        (0..8).fold(0, |sum, at| sum ^ TABLES[7 - at][usize::from(block[at] ^ mixed[at])])
    });
    rest.iter().fold(sum, |sum, &byte| {
        let [high, ..] = sum.to_be_bytes();
        sum << 8 ^ TABLES[0][usize::from(high ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_the_one_of_ogg() {
        for (why, bytes, want) in [
            ("nothing", &b""[..], 0),
            ("one bit", &[0, 0, 0, 1], POLYNOMIAL),
            // CRC-32/CKSUM without its length and inversion; the check value of that form.
            ("digits", b"123456789", 0x89a1_897f),
        ] {
            assert_eq!(crc(0, bytes), want, "{why}");
        }
    }

    proptest! {
        #[test]
        fn bytes_may_come_in_pieces(bytes in prop::collection::vec(any::<u8>(), 0..40), cut: prop::sample::Index) {
            let (front, back) = bytes.split_at(cut.index(bytes.len() + 1));
            prop_assert_eq!(crc(crc(0, front), back), crc(0, &bytes));
        }
    }
}
