//! TCP.

use std::io::{Read, Write, stdout};
use std::net::{Ipv4Addr, TcpStream};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::rig::{
    Server, assert_answered_over_tcp, assert_answers, framed, query, read_reply, resident_bytes,
    tcp_client,
};

fn client(server: &Server) -> TcpStream {
    tcp_client(Ipv4Addr::LOCALHOST, server.tcp).expect("connected")
}

#[test]
fn queries_sent_together_are_answered_in_order() {
    let server = Server::on_loopback();
    let mut client = client(&server);
    // More than one read brings, and more replies than one write takes.
    client.write_all(&framed((0..1_000).map(query))).expect("sent");
    for id in 0..1_000 {
        assert_answers(&read_reply(&mut client).expect("a reply"), id);
    }
}

#[test]
fn a_query_that_comes_byte_by_byte_is_answered() {
    let server = Server::on_loopback();
    let mut client = client(&server);
    client.set_nodelay(true).expect("set");
    for byte in framed([query(3), query(4)]) {
        client.write_all(&[byte]).expect("sent");
    }
    assert_answers(&read_reply(&mut client).expect("a reply"), 3);
    assert_answers(&read_reply(&mut client).expect("a reply"), 4);
}

#[test]
fn a_client_that_ends_after_its_query_gets_its_answer() {
    let server = Server::on_loopback();
    let mut client = client(&server);
    client.write_all(&framed([query(3)])).expect("sent");
    client.shutdown(std::net::Shutdown::Write).expect("ended");
    assert_answers(&read_reply(&mut client).expect("a reply"), 3);
    assert_eq!(client.read(&mut [0]).expect("the end"), 0);
}

#[test]
fn who_is_no_dns_client_is_closed() {
    let server = Server::on_loopback();
    let mut response = query(1);
    response[2] |= 0x80;
    for (why, bytes) in [
        ("a response", framed([response])),
        ("less than a header", framed([vec![0; 11]])),
        ("an empty message", framed([vec![]])),
        ("longer than any query", vec![0xff; 2]),
    ] {
        let mut client = client(&server);
        client.write_all(&bytes).expect("sent");
        // Closed, or reset if bytes were left unread; a timeout would be an error of another kind.
        match client.read(&mut [0]) {
            Ok(bytes) => assert_eq!(bytes, 0, "{why}"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{why}"),
        }
    }
}

#[test]
fn queries_before_what_is_none_are_answered() {
    let server = Server::on_loopback();
    let mut response = query(1);
    response[2] |= 0x80;
    for (why, bytes) in [
        ("a response", framed([response])),
        ("less than a header", framed([vec![0; 11]])),
        ("longer than any query", vec![0xff; 2]),
    ] {
        let mut client = client(&server);
        client.write_all(&[framed([query(3), query(4)]), bytes].concat()).expect("sent");
        for id in [3, 4] {
            assert_answers(&read_reply(&mut client).expect(why), id);
        }
        assert_eq!(client.read(&mut [0]).expect(why), 0, "{why}");
    }
}

/// Descriptors for the servers' side of the clients, and for tests that run beside this one.
const DESCRIPTORS_LEFT: u64 = 3_000;

/// As many descriptors as this process may have.
fn descriptors() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("raised");
    hard
}

/// What the idle clients have sent: nothing, half a length, a length alone, half a message.
const HALVES: [&[u8]; 4] = [b"", b"\x00", b"\x00\x1d", b"\x00\x1d\x00\x01\x01\x00\x00\x01"];

#[test]
fn ten_thousand_idle_clients_shut_nobody_out() {
    let descriptors = descriptors();
    let clients = 10_000.min(descriptors.saturating_sub(DESCRIPTORS_LEFT));
    let line = format!("{clients} idle clients, of 10000: {descriptors} descriptors at most");
    writeln!(stdout(), "{line}").expect("printed");
    assert!(clients >= 1_000, "{line}; raise the hard limit (ulimit -Hn)");
    let server = Server::on_loopback();
    assert_answered_over_tcp(server.tcp);
    let before = resident_bytes();
    let mut idle = Vec::new();
    for number in 0..clients {
        // Twenty of each /24, below the limit of a prefix, so that all places are taken.
        let (prefix, host) = (number / 20, 1 + number % 20);
        let source = Ipv4Addr::new(127, 1 + (prefix >> 8) as u8, prefix as u8, host as u8);
        let mut client = tcp_client(source, server.tcp).expect("connected");
        // Whoever had to give way already cannot send any more.
        let _ = client.write_all(HALVES[number as usize % HALVES.len()]);
        idle.push(client);
    }
    assert_answered_over_tcp(server.tcp);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 * 1024 * 1024, "grown by {grown} bytes");
}

#[test]
fn one_network_full_of_idle_clients_shuts_neither_itself_nor_others_out() {
    let server = Server::on_loopback();
    let idle: Vec<_> = (0..200).map(|_| client(&server)).collect();
    assert_answered_over_tcp(server.tcp);
    let mut other = tcp_client(Ipv4Addr::new(127, 9, 9, 9), server.tcp).expect("connected");
    other.write_all(&framed([query(2)])).expect("sent");
    assert_answers(&read_reply(&mut other).expect("a reply"), 2);
    drop(idle);
}
