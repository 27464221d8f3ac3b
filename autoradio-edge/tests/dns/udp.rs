//! UDP.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use autoradio_common::rate::RateLimit;
use autoradio_edge::clock;
use autoradio_edge::dns::{DnsError, Policy, Responder, UdpServer, ZoneSettings, compile};
use autoradio_edge::placement::Placement;
use tokio_util::sync::CancellationToken;

use crate::flood::flood;
use crate::rig::{
    DEADLINE, Server, assert_answered_over_tcp, assert_answered_over_udp, assert_answers, policy,
    query, resident_bytes, udp_client,
};

const FLOOD: Duration = Duration::from_millis(1_500);
/// A gigabit is wanted; a machine that is busy with other things too may send less.
const FLOOD_MBITS_PER_S_MIN: u128 = 200;
/// How long a resolver waits through a flood for its answer, asking again, at most.
const ANSWER_MAX: Duration = Duration::from_secs(5);
const GROWN_BYTES_MAX: u64 = 32 * 1024 * 1024;

#[test]
fn a_burst_is_answered_each_query_once_from_the_address_it_asked() {
    let server = Server::start(Ipv4Addr::UNSPECIFIED, policy());
    let client = udp_client(Ipv4Addr::UNSPECIFIED);
    let asked = |id: u16| Ipv4Addr::new(127, 0, (id / 2 % 3) as u8, 1);
    for id in 0..100 {
        let to = SocketAddr::new(asked(id).into(), server.udp.port());
        client.send_to(&query(id), to).expect("sent");
    }
    let mut answered = BTreeMap::new();
    let mut reply = [0; 1_500];
    for _ in 0..100 {
        let (bytes, from) = client.recv_from(&mut reply).expect("a reply");
        let id = u16::from_be_bytes([reply[0], reply[1]]);
        assert_answers(&reply[..bytes], id);
        assert_eq!(from, SocketAddr::new(asked(id).into(), server.udp.port()));
        assert!(answered.insert(id, from).is_none(), "{id} is answered twice");
    }
}

#[test]
fn ipv6_is_answered_from_the_address_that_was_asked() {
    let server = Server::start(Ipv6Addr::UNSPECIFIED, policy());
    let client = udp_client(Ipv6Addr::LOCALHOST);
    client.connect((Ipv6Addr::LOCALHOST, server.udp.port())).expect("connected");
    client.send(&query(5)).expect("sent");
    let mut reply = [0; 1_500];
    let bytes = client.recv(&mut reply).expect("a reply");
    assert_answers(&reply[..bytes], 5);
}

#[test]
fn a_port_that_another_server_holds_is_not_shared_even_by_one_of_our_own() {
    let server = Server::on_loopback();
    let plain = udp_client(Ipv4Addr::LOCALHOST);
    for taken in [server.udp, plain.local_addr().expect("an address")] {
        let Err(DnsError::Bind { protocol, address, source }) = UdpServer::bind(taken) else {
            panic!("{taken} is bound twice");
        };
        assert_eq!((protocol, address), ("udp", taken));
        assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
    }
}

#[test]
fn a_server_that_waits_for_queries_stops_when_told() {
    let settings = ZoneSettings::new("example.com", 3, &[]).expect("settings");
    let zone = Arc::new(compile(&Placement::default(), &settings));
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let server = UdpServer::bind(address.parse().expect("an address")).expect("a port");
        let address = server.local_address();
        let cancel = CancellationToken::new();
        let run = server.run(Responder::new(zone.clone(), policy()), cancel.clone());
        let runtime = tokio::runtime::Runtime::new().expect("runtime");
        let running = runtime.spawn(run);
        // Once it has answered, it waits for the next query.
        let client = udp_client(address.ip());
        client.send_to(&query(1), address).expect("sent");
        client.recv(&mut [0; 512]).expect("a reply");
        cancel.cancel();
        let stopped = async { tokio::time::timeout(DEADLINE, running).await };
        runtime.block_on(stopped).expect("in time").expect("without a fault");
    }
}

#[test]
fn a_client_over_its_rate_is_told_to_ask_by_tcp_and_answered_there() {
    let policy = Policy { rate: RateLimit::per_second(1, 2), ..policy() };
    let server = Server::start(Ipv4Addr::LOCALHOST, policy);
    let client = udp_client(Ipv4Addr::LOCALHOST);
    let (mut reply, start) = ([0; 1_500], clock::now());
    client.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let truncated = loop {
        client.send_to(&query(1), server.udp).expect("sent");
        match client.recv(&mut reply) {
            Ok(bytes) if reply[2] & 2 != 0 => break bytes,
            _ => assert!(start.elapsed() < DEADLINE, "never truncated"),
        }
    };
    assert_eq!(truncated, query(1).len(), "no records");
    assert_answered_over_tcp(server.tcp);
}

#[test]
fn a_flood_of_garbage_neither_grows_nor_stops_the_server() {
    let server = Server::on_loopback();
    assert_answered_over_udp(server.udp);
    let (before, start) = (resident_bytes(), clock::now());
    let end = start + FLOOD;
    let (bytes, longest) = std::thread::scope(|scope| {
        let floods: Vec<_> =
            (1..=2).map(|seed| scope.spawn(move || flood(seed, server.udp, end))).collect();
        let mut longest = Duration::ZERO;
        while clock::now() < end {
            let asked = clock::now();
            assert_answered_over_udp(server.udp);
            longest = longest.max(asked.elapsed());
        }
        let bytes = floods.into_iter().map(|flood| flood.join().expect("it floods")).sum::<u64>();
        (bytes, longest)
    });
    let mbits_per_s = u128::from(bytes) * 8 / start.elapsed().as_micros();
    let grown = resident_bytes().saturating_sub(before);
    eprintln!("{mbits_per_s} Mbit/s; an answer within {longest:?}; grown by {grown} bytes");
    assert!(mbits_per_s >= FLOOD_MBITS_PER_S_MIN, "{mbits_per_s} Mbit/s are no flood");
    assert!(longest < ANSWER_MAX, "an answer took {longest:?}");
    assert!(grown < GROWN_BYTES_MAX, "grown by {grown} bytes");
}
