//! Makes frames: most of them queries that a resolver might send, the rest everything that can go wrong on the way.

use std::net::IpAddr;

use autoradio_common::cookie::{self, CookieClient, CookieKeys};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

/// What frames are made of.
pub(crate) struct Material<'a> {
    /// Wire names that exist, the zone's own first.
    pub(crate) names: &'a [Vec<u8>],
    pub(crate) keys: CookieKeys,
    pub(crate) unix_s: u32,
    pub(crate) local_v4: [u8; 4],
    pub(crate) local_v6: [u8; 16],
}

/// Types that are asked for, those of the zone most often.
const TYPES: [u16; 24] = [
    1, 1, 1, 1, 1, 28, 28, 28, 28, 28, 6, 2, 65, 16, 15, 5, 41, 0, 127, 128, 251, 252, 255, 65_535,
];
const SIZES: [u16; 6] = [0, 511, 512, 1_232, 4_096, 65_535];

/// Frame number `number`: its length of name follows from that, so that every one is tried.
pub(crate) fn frame(number: usize, material: &Material<'_>, random: &mut StdRng) -> Vec<u8> {
    let client = Client::new(random);
    let name = name(number, material, random);
    let mut message = message(&name, material, &client, random);
    if random.random_ratio(1, 24) {
        message.truncate(random.random_range(0..=message.len()));
    }
    let mut frame = client.frame(&message, material);
    if random.random_ratio(1, 4) {
        frame.resize(frame.len() + random.random_range(0..=64), random.random());
    }
    if random.random_ratio(1, 8) {
        misroute(&mut frame, random);
    }
    if random.random_ratio(1, 12) {
        for _ in 0..random.random_range(1..=3) {
            let at = random.random_range(0..frame.len());
            frame[at] ^= 1 << random.random_range(0..8);
        }
    }
    if random.random_ratio(1, 24) {
        frame.truncate(random.random_range(14..=frame.len()));
    }
    frame
}

/// A query that is whole, for a name that exists.
pub(crate) fn query(material: &Material<'_>, random: &mut StdRng) -> (Client, Vec<u8>) {
    let client = Client::new(random);
    let name = material.names.choose(random).expect("names");
    let message = message(name, material, &client, random);
    (client, message)
}

/// Where a query comes from.
pub(crate) struct Client {
    address: IpAddr,
    port: u16,
}

impl Client {
    /// One of any network: sticky draws take every slot.
    fn new(random: &mut StdRng) -> Self {
        let address = if random.random() {
            IpAddr::from([198, random.random_range(18..20), random.random(), random.random()])
        } else {
            let mut octets: [u8; 16] = random.random();
            octets[0] = 0xfd;
            IpAddr::from(octets)
        };
        Self { address, port: random.random_range(1..=u16::MAX) }
    }

    /// The frame that carries `message` from here to us.
    pub(crate) fn frame(&self, message: &[u8], material: &Material<'_>) -> Vec<u8> {
        let udp_bytes = (8 + message.len()) as u16;
        // No checksum worth the name, as a local sender leaves it to its card.
        let words = [self.port, 53, udp_bytes, 0xbeef];
        let udp: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let (ethertype, ip) = match self.address {
            IpAddr::V4(address) => {
                let mut ip = vec![0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 57, 17, 0, 0];
                ip[2..4].copy_from_slice(&(20 + udp_bytes).to_be_bytes());
                ip.extend_from_slice(&address.octets());
                ip.extend_from_slice(&material.local_v4);
                ([0x08, 0x00], ip)
            }
            IpAddr::V6(address) => {
                let mut ip = vec![0x60, 0, 0, 0, 0, 0, 17, 57];
                ip[4..6].copy_from_slice(&udp_bytes.to_be_bytes());
                ip.extend_from_slice(&address.octets());
                ip.extend_from_slice(&material.local_v6);
                ([0x86, 0xdd], ip)
            }
        };
        let macs = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0x50];
        [&macs[..], &ethertype, &ip, &udp, message].concat()
    }

    fn for_cookies(&self) -> CookieClient {
        match self.address {
            IpAddr::V4(address) => CookieClient::V4(u32::from_le_bytes(address.octets())),
            IpAddr::V6(address) => {
                let whole = u128::from_le_bytes(address.octets());
                CookieClient::V6([whole as u64, (whole >> 64) as u64])
            }
        }
    }
}

/// A name: one that exists, one of a length that takes its turn, in the zone or not, or noise; in any case.
fn name(number: usize, material: &Material<'_>, random: &mut StdRng) -> Vec<u8> {
    let mut name = match random.random_range(0..10) {
        0..7 => material.names.choose(random).expect("names").clone(),
        7..9 => of_length(1 + number % 255, &material.names[0], random),
        _ => of_length(1 + number % 255, b"\0", random),
    };
    for byte in &mut name {
        if random.random() {
            byte.make_ascii_uppercase();
        }
    }
    name
}

/// A name of so many bytes that ends in `apex`, or in nothing where that leaves no room for it.
fn of_length(bytes: usize, apex: &[u8], random: &mut StdRng) -> Vec<u8> {
    let end: &[u8] = if bytes >= apex.len() + 2 || bytes == apex.len() { apex } else { b"\0" };
    let mut left = bytes.saturating_sub(end.len());
    let mut name = Vec::new();
    while left >= 2 {
        let mut label = random.random_range(1..left.min(64));
        if left - 1 - label == 1 {
            label = if label > 1 { label - 1 } else { label + 1 };
        }
        name.push(label as u8);
        let letters: &[u8] = match random.random_range(0..20) {
            0 => b"a\0\x01\xff.\xc0@[`{",
            _ => b"abcdefghijklmnopqrstuvwxyz0123456789-_",
        };
        name.extend((0..label).map(|_| *letters.choose(random).expect("letters")));
        left -= 1 + label;
    }
    name.extend_from_slice(end);
    name
}

fn message(name: &[u8], material: &Material<'_>, client: &Client, random: &mut StdRng) -> Vec<u8> {
    let edns = random.random_ratio(7, 10);
    let odd = |random: &mut StdRng, usual: u16| {
        if random.random_ratio(1, 60) { random.random_range(0..=2) } else { usual }
    };
    let flags = match random.random_range(0..20) {
        0 => random.random(),
        1..10 => 0x0100,
        _ => random.random::<u16>() & 0x01f0,
    };
    let counts = [1, 0, 0, u16::from(edns)].map(|count| odd(random, count));
    let mut message: Vec<u8> = [random.random(), flags, counts[0], counts[1], counts[2], counts[3]]
        .iter()
        .flat_map(|word: &u16| word.to_be_bytes())
        .collect();
    message.extend_from_slice(name);
    message.extend_from_slice(&TYPES.choose(random).expect("types").to_be_bytes());
    let class = if random.random_ratio(1, 40) { random.random() } else { 1_u16 };
    message.extend_from_slice(&class.to_be_bytes());
    if edns {
        message.extend_from_slice(&opt(material, client, random));
    }
    if random.random_ratio(1, 60) {
        message.push(random.random());
    }
    message
}

/// An OPT record, most often well-formed.
fn opt(material: &Material<'_>, client: &Client, random: &mut StdRng) -> Vec<u8> {
    let count = [0, 0, 1, 1, 1, 2, 3, 9].choose(random).copied().expect("counts");
    let mut options: Vec<u8> = (0..count).flat_map(|_| option(material, client, random)).collect();
    if random.random_ratio(1, 30) {
        options.truncate(random.random_range(0..=options.len()));
    }
    let mut opt = vec![0, 0, 41];
    opt.extend_from_slice(&SIZES.choose(random).expect("sizes").to_be_bytes());
    let version = u8::from(random.random_ratio(1, 40));
    opt.extend_from_slice(&[0, version, if random.random() { 0x80 } else { 0 }, 0]);
    opt.extend_from_slice(&(options.len() as u16).to_be_bytes());
    opt.extend_from_slice(&options);
    opt
}

fn option(material: &Material<'_>, client: &Client, random: &mut StdRng) -> Vec<u8> {
    let (code, data) = match random.random_range(0..16) {
        0..3 => (10, random.random::<[u8; 8]>().to_vec()),
        3..8 => (10, server_cookie(material, client, random)),
        8 => (10, noise(random, 44)),
        9..12 => (8, subnet(random)),
        12 => (8, noise(random, 20)),
        13 => ([3, 12].choose(random).copied().expect("codes"), noise(random, 5)),
        14 => (11, noise(random, 2)),
        _ => (random.random(), noise(random, 30)),
    };
    let head = [code, data.len() as u16].map(u16::to_be_bytes).concat();
    [head, data].concat()
}

fn noise(random: &mut StdRng, bytes_max: usize) -> Vec<u8> {
    let mut noise = vec![0; random.random_range(0..=bytes_max)];
    random.fill_bytes(&mut noise);
    noise
}

/// A cookie as one of the cluster's nodes made it, of any age, perhaps damaged.
fn server_cookie(material: &Material<'_>, client: &Client, random: &mut StdRng) -> Vec<u8> {
    let ages = [0, 1, 1_800, 1_801, 3_600, 3_601, u32::MAX - 299, u32::MAX - 300, 100_000];
    let since = ages.choose(random).copied().expect("ages");
    let stamp = cookie::stamp(material.unix_s.wrapping_sub(since));
    let keys = [material.keys.current, material.keys.current, material.keys.other, [7, 7]];
    let key = keys.choose(random).copied().expect("keys");
    let client_cookie: [u8; 8] = random.random();
    let hash = cookie::hash(key, client_cookie, stamp, client.for_cookies());
    let mut whole = [client_cookie, stamp, hash].concat();
    if random.random_ratio(1, 8) {
        whole[random.random_range(0..24)] ^= 1 << random.random_range(0..8);
    }
    whole
}

/// A client subnet, most often valid.
fn subnet(random: &mut StdRng) -> Vec<u8> {
    let (family, bits_max) =
        [(0, 0), (1, 32), (1, 32), (2, 128)].choose(random).copied().expect("families");
    let bits: u8 = random.random_range(0..=bits_max);
    let mut address = vec![0; usize::from(bits).div_ceil(8)];
    random.fill_bytes(&mut address);
    if let Some(last) = address.last_mut().filter(|_| !bits.is_multiple_of(8)) {
        *last &= 0xff << (8 - bits % 8);
    }
    let mut subnet = [vec![0, family, bits, 0], address].concat();
    if random.random_ratio(1, 6) {
        let at = random.random_range(0..subnet.len());
        subnet[at] ^= 1 << random.random_range(0..8);
    }
    subnet
}

/// Makes a frame one that is not for us, or not plain.
fn misroute(frame: &mut Vec<u8>, random: &mut StdRng) {
    let is_v4 = frame[12] == 0x08;
    let (source, local, udp) = if is_v4 { (26, 30, 34) } else { (22, 38, 54) };
    match random.random_range(0..14) {
        0 => frame[0] |= 1,
        1 => frame[6] |= 1,
        2 => drop(frame.splice(12..12, [0x81, 0x00, 0x00, 0x05])),
        3 => drop(frame.splice(12..12, [0x88, 0xa8, 0, 5, 0x81, 0, 0, 6])),
        4 => frame[source] = *[0, 127, 224, 255].choose(random).expect("sources"),
        5 => frame[local] = *[0xff, 0xe0, 0, 10].choose(random).expect("destinations"),
        6 => frame[udp..udp + 2].fill(0),
        7 => frame[udp + 2..udp + 4].copy_from_slice(&random.random::<[u8; 2]>()),
        8 => frame[udp + 5] = random.random(),
        9 => frame[if is_v4 { 17 } else { 19 }] = random.random(),
        10 if is_v4 => {
            // Options between the header and UDP; the lengths agree.
            frame[14] = 0x46;
            let total = u16::from_be_bytes([frame[16], frame[17]]).saturating_add(4);
            frame[16..18].copy_from_slice(&total.to_be_bytes());
            frame.splice(34..34, [1, 1, 1, 1]);
        }
        10 => {
            // A hop-by-hop header between IPv6 and UDP; the lengths agree.
            frame[20] = 0;
            let length = u16::from_be_bytes([frame[18], frame[19]]).saturating_add(8);
            frame[18..20].copy_from_slice(&length.to_be_bytes());
            frame.splice(54..54, [17, 0, 1, 4, 0, 0, 0, 0]);
        }
        11 if is_v4 => frame[20] ^= 0x20,
        12 if is_v4 => frame[21] = random.random(),
        _ => frame[if is_v4 { 23 } else { 20 }] = random.random(),
    }
}
