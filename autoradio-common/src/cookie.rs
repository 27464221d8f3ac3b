//! DNS cookies (RFC 7873) with interoperable server cookies (RFC 9018): the rule, the same in the kernel and in userspace.

/// Code of the COOKIE option (RFC 7873 §4).
pub const OPTION_COOKIE: u16 = 10;
/// Bytes of a client cookie (RFC 7873 §4).
pub const CLIENT_COOKIE_BYTES: usize = 8;
/// Bytes of a client and a server cookie as made here (RFC 9018 §4).
pub const COOKIE_BYTES: usize = 24;
/// Least and most bytes of a whole cookie that is not malformed: server cookies have 8 to 32 (RFC 7873 §4).
pub const WHOLE_COOKIE_BYTES: core::ops::RangeInclusive<usize> = 16..=40;
/// Version of the server cookie (RFC 9018 §4.1).
const VERSION: u8 = 1;
/// Age from which a valid cookie is answered with a new one, in seconds (RFC 9018 §4.3).
const RENEW_AGE_S: u32 = 1_800;
/// Age from which a cookie is no longer valid, in seconds (RFC 9018 §4.3).
const AGE_MAX_S: u32 = 3_600;
/// How far a cookie's time may lie ahead, in seconds: other servers made it too (RFC 9018 §4.3).
const AHEAD_MAX_S: u32 = 300;

/// The cluster's secrets for cookies. Each is a 128-bit `SipHash` key as two little-endian words; all zero: none.
#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct CookieKeys {
    /// Makes and checks.
    pub current: [u64; 2],
    /// Checks only: what was current before, or will be next.
    pub other: [u64; 2],
}

/// Never shows the secrets.
impl core::fmt::Debug for CookieKeys {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(if self.are_set() { "CookieKeys(set)" } else { "CookieKeys(none)" })
    }
}

impl CookieKeys {
    /// Whether cookies can be made.
    #[inline(always)]
    pub const fn are_set(&self) -> bool {
        self.current[0] | self.current[1] != 0
    }

    /// A key from its 16 bytes.
    pub const fn key(bytes: [u8; 16]) -> [u64; 2] {
        let whole = u128::from_le_bytes(bytes);
        [whole as u64, (whole >> 64) as u64]
    }
}

/// A client's address as the hash takes it: little-endian words of the bytes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieClient {
    /// IPv4.
    V4(u32),
    /// IPv6.
    V6([u64; 2]),
}

/// What the timestamp of a server cookie says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// May be given back as it is.
    Fresh,
    /// Valid, and due for a new one.
    Old,
    /// Not valid.
    Over,
}

/// Judges a cookie's timestamp, both in seconds of Unix time in serial arithmetic (RFC 9018 §4.3, RFC 1982).
#[inline(always)]
pub const fn age(stamp_s: u32, now_s: u32) -> Age {
    let age_s = now_s.wrapping_sub(stamp_s);
    if age_s <= RENEW_AGE_S {
        Age::Fresh
    } else if age_s <= AGE_MAX_S {
        Age::Old
    } else if stamp_s.wrapping_sub(now_s) <= AHEAD_MAX_S {
        Age::Fresh
    } else {
        Age::Over
    }
}

/// The first half of a server cookie made now: version, reserved zeros, time; as it stands on the wire.
#[inline(always)]
pub const fn stamp(now_s: u32) -> [u8; 8] {
    let time = now_s.to_be_bytes();
    [VERSION, 0, 0, 0, time[0], time[1], time[2], time[3]]
}

/// Whether the first half of a server cookie has our version; others make other cookies.
#[inline(always)]
pub const fn is_our_version(stamp: [u8; 8]) -> bool {
    stamp[0] == VERSION
}

/// The time in the first half of a server cookie.
#[inline(always)]
pub const fn stamp_s(stamp: [u8; 8]) -> u32 {
    u32::from_be_bytes([stamp[4], stamp[5], stamp[6], stamp[7]])
}

/// The second half of a server cookie: `SipHash-2-4` over client cookie, first half, client address (RFC 9018 §4.4).
#[inline(always)]
pub fn hash(
    key: [u64; 2],
    client_cookie: [u8; CLIENT_COOKIE_BYTES],
    stamp: [u8; 8],
    client: CookieClient,
) -> [u8; 8] {
    let mut state = SipState::new(key);
    state.block(u64::from_le_bytes(client_cookie));
    state.block(u64::from_le_bytes(stamp));
    match client {
        CookieClient::V4(address) => state.block(u64::from(address) | 20 << 56),
        CookieClient::V6([high, low]) => {
            state.block(high);
            state.block(low);
            state.block(32 << 56);
        }
    }
    state.finish().to_le_bytes()
}

/// What a query's whole cookie is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Ours and fresh: given back as it is.
    Fresh,
    /// Ours, and due for a new one.
    Old,
    /// Not ours, or too old: a new one is given as to a client without (RFC 7873 §5.2.3).
    Not,
}

/// Checks a server cookie that stands behind its client cookie: `COOKIE_BYTES` in all, as words of the bytes on the wire, the
/// first one lowest.
#[inline(always)]
pub fn verify(
    keys: &CookieKeys,
    [client_cookie, stamp, given]: [u64; 3],
    client: CookieClient,
    now_s: u32,
) -> Verified {
    let (client_cookie, stamp) = (client_cookie.to_le_bytes(), stamp.to_le_bytes());
    let age = age(stamp_s(stamp), now_s);
    if !is_our_version(stamp) || matches!(age, Age::Over) {
        return Verified::Not;
    }
    let is_made_with = |key| u64::from_le_bytes(hash(key, client_cookie, stamp, client)) == given;
    if is_made_with(keys.current) {
        return if matches!(age, Age::Fresh) { Verified::Fresh } else { Verified::Old };
    }
    let has_other = keys.other[0] | keys.other[1] != 0;
    // Made with the key that goes or comes: a new one brings the client to the current.
    if has_other && is_made_with(keys.other) { Verified::Old } else { Verified::Not }
}

/// The words of a whole cookie.
#[inline(always)]
pub fn words(cookie: &[u8; COOKIE_BYTES]) -> [u64; 3] {
    let mut words = [0; 3];
    for (word, bytes) in words.iter_mut().zip(cookie.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// `SipHash-2-4` (Aumasson, Bernstein 2012), block by block.
struct SipState([u64; 4]);

impl SipState {
    #[inline(always)]
    fn new([low, high]: [u64; 2]) -> Self {
        Self([
            low ^ 0x736f_6d65_7073_6575,
            high ^ 0x646f_7261_6e64_6f6d,
            low ^ 0x6c79_6765_6e65_7261,
            high ^ 0x7465_6462_7974_6573,
        ])
    }

    #[inline(always)]
    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }

    #[inline(always)]
    fn block(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.round();
        self.0[0] ^= word;
    }

    #[inline(always)]
    fn finish(mut self) -> u64 {
        self.0[2] ^= 0xff;
        for _ in 0..4 {
            self.round();
        }
        let [a, b, c, d] = self.0;
        a ^ b ^ c ^ d
    }
}

const _: () = assert!(size_of::<CookieKeys>() == 32);

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let mut bytes = [0; N];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).expect("hex");
        }
        bytes
    }

    fn v4(address: [u8; 4]) -> CookieClient {
        CookieClient::V4(u32::from_le_bytes(address))
    }

    fn v6(hex: &str) -> CookieClient {
        let half = |start| u64::from_le_bytes(bytes(&hex[start..start + 16]));
        CookieClient::V6([half(0), half(16)])
    }

    const KEY: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
    const KEY_BEFORE: &str = "dd3bdf9344b678b185a6f5cb60fca715";
    const KEY_AFTER: &str = "445536bcd2513298075a5d379663c962";

    fn keys(current: &str, other: &str) -> CookieKeys {
        let key = |hex: &str| if hex.is_empty() { [0; 2] } else { CookieKeys::key(bytes(hex)) };
        CookieKeys { current: key(current), other: key(other) }
    }

    fn made(
        key: &str,
        client_cookie: &str,
        client: CookieClient,
        now_s: u32,
    ) -> [u8; COOKIE_BYTES] {
        let (client_cookie, stamp) = (bytes(client_cookie), stamp(now_s));
        let hash = hash(CookieKeys::key(bytes(key)), client_cookie, stamp, client);
        let whole = [client_cookie, stamp, hash].concat();
        whole.try_into().expect("24 bytes")
    }

    #[test]
    fn server_cookies_are_those_of_rfc_9018_appendix_a() {
        let client = v4([198, 51, 100, 100]);
        for (why, key, client_cookie, client, now_s, want) in [
            (
                "A.1",
                KEY,
                "2464c4abcf10c957",
                client,
                1_559_731_985,
                "010000005cf79f111f8130c3eee29480",
            ),
            (
                "A.2",
                KEY,
                "2464c4abcf10c957",
                client,
                1_559_734_385,
                "010000005cf7a871d4a564a1442aca77",
            ),
            (
                "A.4, after the key was changed",
                KEY_AFTER,
                "22681ab97d52c298",
                v6("20010db80220000159ded0f4876982b8"),
                1_559_741_961,
                "010000005cf7c609a6bb79d16625507a",
            ),
        ] {
            let made = made(key, client_cookie, client, now_s);
            assert_eq!(made[8..], bytes::<16>(want), "{why}");
        }
    }

    #[test]
    fn cookies_are_verified_as_in_rfc_9018_appendix_a() {
        let v6 = v6("20010db80220000159ded0f4876982b8");
        let a1 = bytes("2464c4abcf10c957010000005cf79f111f8130c3eee29480");
        let a3 = bytes("fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5");
        let a4 = bytes("22681ab97d52c298010000005cf7c57926556bd0934c72f8");
        let client = v4([198, 51, 100, 100]);
        for (why, keys, cookie, client, now_s, want) in [
            ("fresh", keys(KEY, ""), &a1, client, 1_559_731_985, Verified::Fresh),
            ("A.2: 40 minutes old", keys(KEY, ""), &a1, client, 1_559_734_385, Verified::Old),
            ("over an hour old", keys(KEY, ""), &a1, client, 1_559_735_586, Verified::Not),
            (
                "from another client",
                keys(KEY, ""),
                &a1,
                v4([198, 51, 100, 101]),
                1_559_731_985,
                Verified::Not,
            ),
            (
                "A.3: reserved bits are hashed as they came",
                keys(KEY, ""),
                &a3,
                v4([203, 0, 113, 203]),
                1_559_727_985,
                Verified::Fresh,
            ),
            (
                "A.4: the key before",
                keys(KEY_AFTER, KEY_BEFORE),
                &a4,
                v6,
                1_559_741_961,
                Verified::Old,
            ),
            ("another key", keys(KEY, ""), &a4, v6, 1_559_741_961, Verified::Not),
        ] {
            assert_eq!(verify(&keys, words(cookie), client, now_s), want, "{why}");
        }
        let mut version_2 = a1;
        version_2[8] = 2;
        let not_ours = verify(&keys(KEY, ""), words(&version_2), client, 1_559_731_985);
        assert_eq!(not_ours, Verified::Not);
    }

    #[test]
    fn age_is_judged_in_serial_arithmetic() {
        for (why, stamp_s, now_s, want) in [
            ("now", 1_000, 1_000, Age::Fresh),
            ("half an hour", 1_000, 2_800, Age::Fresh),
            ("a second more", 1_000, 2_801, Age::Old),
            ("an hour", 1_000, 4_600, Age::Old),
            ("over an hour", 1_000, 4_601, Age::Over),
            ("another server's clock is ahead", 1_300, 1_000, Age::Fresh),
            ("too far ahead", 1_301, 1_000, Age::Over),
            ("across the wrap of 2106", u32::MAX - 9, 10, Age::Fresh),
        ] {
            assert_eq!(age(stamp_s, now_s), want, "{why}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        assert!(!CookieKeys::default().are_set());
        assert_eq!(std::format!("{:?}", keys(KEY, "")), "CookieKeys(set)");
    }
}
