//! Tests of the settings.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: RunArgs,
}

fn host() -> HostFacts {
    let address = |text: &str| text.parse().expect("address");
    HostFacts {
        hostname: "Node7.example.net".into(),
        default_interface: Some("eth0".into()),
        addresses: vec![
            ("lo".into(), address("127.0.0.1")),
            ("eth0".into(), address("192.0.2.7")),
            ("eth0".into(), address("2001:db8::7")),
        ],
        domain_variable: None,
        clients_max: 1_000,
        speeds_mbits: vec![("eth0".into(), 100)],
        files: Vec::new(),
    }
}

fn check(line: &str, host: &HostFacts) -> Result<Config, Vec<ConfigError>> {
    let words = std::iter::once("run").chain(line.split_whitespace());
    Config::from_args(&Line::parse_from(words).args, host)
}

#[test]
fn one_flag_is_enough_on_an_ordinary_host() {
    let config = check("--domain Radio.Example.com.", &host()).expect("valid");
    assert_eq!(config.domain, "radio.example.com");
    assert_eq!(config.name.as_str(), "node7");
    assert_eq!(config.interface.as_deref(), Some("eth0"));
    assert_eq!(config.addresses.len(), 2);
    assert_eq!(config.dns_listen.len(), 2);
    assert_eq!((config.http_ports.as_slice(), config.icecast_port), ([80].as_slice(), 8000));
    assert_eq!((config.xdp, config.lease_ttl_s), (XdpChoice::Auto, 3));
}

#[test]
fn a_node_counts_as_full_before_it_is() {
    for (why, line, listeners, bits_per_second) in [
        ("four fifths of what the host has, less what listeners leave", "", 700, 80_000_000),
        ("more than it has", "--max-clients 5000", 700, 80_000_000),
        ("without the front in between", "--enable-icecast-proxy=false", 800, 80_000_000),
        ("four fifths of what was given", "--max-clients 100 --bwlimit 20", 80, 16_000_000),
        ("all of it", "--max-clients 100 --full-at 100", 100, 100_000_000),
        ("an unknown interface", "--interface eth7", 700, 800_000_000),
    ] {
        let config = check(&format!("--domain a.b {line}"), &host()).expect(why);
        assert_eq!(config.capacity, Capacity { listeners, bits_per_second }, "{why}");
    }
}

#[test]
fn listeners_never_take_all_places_of_the_front_however_many_descriptors_there_are() {
    for (clients_max, want) in [(1, 1), (8, 7), (448, 392), (262_080, 130_816), (u32::MAX, 130_816)]
    {
        let host = HostFacts { clients_max, ..host() };
        let config = check("--domain a.b", &host).expect("valid");
        assert_eq!(config.capacity_whole.listeners, want, "{clients_max}");
    }
}

#[test]
fn behind_a_nat_peers_use_the_interfaces_own_address() {
    for (why, line, want) in [
        ("a public address of this host", "--address 192.0.2.7", "192.0.2.7"),
        ("a public address of the router", "--address 203.0.113.9", "192.0.2.7"),
        ("both", "--address 203.0.113.9,2001:db8::7", "2001:db8::7"),
    ] {
        let config = check(&format!("--domain a.b {line}"), &host()).expect(why);
        assert_eq!(config.peer_address.to_string(), want, "{why}");
    }
}

#[test]
fn peers_are_told_the_address_that_was_given_and_etcd_listens_where_it_can() {
    for (why, line, told, listens) in [
        ("this host's own", "", "192.0.2.7", "192.0.2.7"),
        ("another of its own", "--peer-address 2001:db8::7", "2001:db8::7", "2001:db8::7"),
        ("the router's", "--peer-address 203.0.113.9", "203.0.113.9", "0.0.0.0"),
        ("the router's, IPv6", "--peer-address 2001:db8:f::9", "2001:db8:f::9", "::"),
        ("on one host", "--peer-address 127.0.0.2", "127.0.0.2", "127.0.0.2"),
    ] {
        let config = check(&format!("--domain a.b {line}"), &host()).expect(why);
        let got = (config.peer_address.to_string(), config.etcd_listen.to_string());
        assert_eq!(got, (told.to_owned(), listens.to_owned()), "{why}");
    }
    for wrong in ["0.0.0.0", "224.0.0.1", "router"] {
        let errors = check(&format!("--domain a.b --peer-address {wrong}"), &host());
        assert!(errors.expect_err(wrong)[0].to_string().contains("--peer-address"), "{wrong}");
    }
}

#[test]
fn the_kernel_answers_where_dns_listens_on_port_53() {
    for (why, line, want) in [
        ("everywhere", "", vec!["192.0.2.7", "2001:db8::7"]),
        ("behind a NAT", "--address 203.0.113.9", vec!["203.0.113.9", "192.0.2.7", "2001:db8::7"]),
        ("one address", "--dns-listen 192.0.2.7", vec!["192.0.2.7"]),
        ("one family", "--dns-listen ::", vec!["2001:db8::7"]),
        ("another port", "--dns-port 5353", vec![]),
    ] {
        let config = check(&format!("--domain a.b {line}"), &host()).expect(why);
        let addresses: Vec<_> = config.kernel_addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, want, "{why}");
    }
}

#[test]
fn dns_is_limited_generously_unless_told_otherwise() {
    for (why, line, want) in [
        ("as it comes", "", RateLimit::per_second(1_000, 2)),
        ("off", "--dns-rrl off", RateLimit::per_second(0, 2)),
        ("strict", "--dns-rrl 5 --dns-rrl-slip 0", RateLimit::per_second(5, 0)),
        ("the most", "--dns-rrl 1000000 --dns-rrl-slip 10", RateLimit::per_second(1_000_000, 10)),
    ] {
        let config = check(&format!("--domain a.b {line}"), &host()).expect(why);
        assert_eq!(config.dns_rate, want, "{why}");
    }
    let config = check("--domain a.b", &host()).expect("valid");
    assert_eq!(config.dns_select, DnsSelect::Random);
    assert_eq!(config.bpf_dir.to_str(), Some("/sys/fs/bpf/autoradio"));
    let config = check("--domain a.b --dns-select sticky --bpf-dir /run/bpf", &host());
    let config = config.expect("valid");
    assert_eq!(config.dns_select, DnsSelect::Sticky);
    assert_eq!(config.bpf_dir.to_str(), Some("/run/bpf"));
}

#[test]
fn paths_do_not_depend_on_where_a_child_runs() {
    let config = check("--domain a.b --state-dir here", &host()).expect("valid");
    assert!(config.state_dir.is_absolute() && config.state_dir.ends_with("here"));
}

#[test]
fn the_port_in_urls_is_80_where_it_is_open() {
    for (line, want) in [("--http-port 8080,80", 80), ("--http-port 8081,8082", 8081)] {
        let config = check(&format!("--domain a.b --admin-listen 127.0.0.1:9 {line}"), &host());
        assert_eq!(config.expect("valid").public_port(), want, "{line}");
    }
}

#[test]
fn the_originals_domain_variable_is_understood() {
    let host = HostFacts { domain_variable: Some("radio.example.org".into()), ..host() };
    assert_eq!(check("", &host).expect("valid").domain, "radio.example.org");
}

#[test]
fn every_mistake_is_found_in_one_go() {
    let line = "--name x_ --address nowhere --xdp warp --dns-listen 1.2.3 --dns-port 0 --dns-answers 17 \
        --nameservers a..b --http-port eighty --icecast-port 70000 --admin-listen 8080 --etcd-client-port x \
        --etcd-peer-port y --master-election-ttl 1 --log-format xml --log =";
    let errors = check(line, &host()).expect_err("mistakes");
    let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for flag in [
        "--domain",
        "--name",
        "--address",
        "--xdp",
        "--dns-listen",
        "--dns-port",
        "--dns-answers",
        "--nameservers",
        "--http-port",
        "--icecast-port",
        "--admin-listen",
        "--etcd-client-port",
        "--etcd-peer-port",
        "--master-election-ttl",
        "--log-format",
        "--log ",
    ] {
        let count = text.iter().filter(|line| line.starts_with(flag)).count();
        assert!(count >= 1, "{flag} in {text:#?}");
    }
    assert_eq!(errors.len(), 16, "{text:#?}");
}

#[test]
fn mistakes_say_what_would_be_right() {
    let bare = HostFacts::default();
    for (why, line, host, want) in [
        ("no address known", "--domain a.b --name n", &bare, "--address is missing"),
        (
            "no interface known",
            "--domain a.b --name n --address 192.0.2.1 --xdp native",
            &bare,
            "--interface is missing",
        ),
        ("group address", "--domain a.b --address 224.0.0.1", &host(), "no host's address"),
        (
            "the zone is too long",
            &format!("--domain {}", "abcdefg.".repeat(24)),
            &host(),
            "1 to 182 characters",
        ),
        ("no folder", "--domain a.b --state-dir=", &host(), "a folder"),
        ("no folder for BPF", "--domain a.b --bpf-dir=", &host(), "a whole path"),
        ("a BPF folder from here", "--domain a.b --bpf-dir bpf", &host(), "/sys/fs/bpf/autoradio"),
        ("no answers at all", "--domain a.b --dns-rrl 0", &host(), "1 to 1000000, or off"),
        ("too many answers", "--domain a.b --dns-rrl 1000001", &host(), "1 to 1000000, or off"),
        ("no number", "--domain a.b --dns-rrl many", &host(), "--dns-rrl \"many\""),
        ("slip is too rare", "--domain a.b --dns-rrl-slip 11", &host(), "from 0 to 10"),
        ("no such choice", "--domain a.b --dns-select best", &host(), "random or sticky"),
        (
            "XDP nowhere",
            "--domain a.b --xdp native --dns-listen 127.0.0.1",
            &host(),
            "none is left",
        ),
        ("XDP elsewhere", "--domain a.b --xdp generic --dns-port 54", &host(), "port 53 only"),
        (
            "port twice",
            "--domain a.b --http-port 8000",
            &host(),
            "port 8000 is given to both --http-port and --icecast-port",
        ),
    ] {
        let errors = check(line, host).expect_err(why);
        assert_eq!(errors.len(), 1, "{why}: {errors:?}");
        assert!(errors[0].to_string().contains(want), "{why}: {}", errors[0]);
    }
}

fn with_files(facts: [FileFact; 3]) -> HostFacts {
    let names = ["etcd_ca.pem", "etcd_client.pem", "etcd_client.key"];
    let paths = names.map(|name| format!("/etc/autoradio/{name}").into());
    HostFacts { files: paths.into_iter().zip(facts).collect(), ..host() }
}

#[test]
fn an_etcd_of_ones_own_is_the_default_and_certificates_are_found() {
    use FileFact::Readable;
    let alone = EtcdChoice::Managed { join: Vec::new(), insecure: false };
    let config = check("--domain a.b", &host()).expect("valid");
    assert_eq!((config.etcd, config.etcd_tls), (alone, None));

    let line = "--domain a.b --join fra1.example.com,192.0.2.1:12379,2001:db8::1";
    let config = check(line, &with_files([Readable, Readable, Readable])).expect("valid");
    let join = ["fra1.example.com:2379", "192.0.2.1:12379", "[2001:db8::1]:2379"];
    let want = EtcdChoice::Managed { join: join.map(str::to_owned).into(), insecure: false };
    assert_eq!(config.etcd, want);
    assert!(config.etcd_tls.expect("found").key.ends_with("etcd_client.key"));

    let config = check("--domain a.b --join b --insecure-etcd", &host()).expect("valid");
    let want = EtcdChoice::Managed { join: vec!["b:2379".into()], insecure: true };
    assert_eq!(config.etcd, want);
}

#[test]
fn an_etcd_that_runs_elsewhere_is_taken_as_it_is() {
    use FileFact::Readable;
    let files = with_files([Readable, Readable, Readable]);
    for (why, line, host) in [
        ("on this host", "--etcd http://127.0.0.1:2379,http://[::1]:2379", &host()),
        ("at one's own risk", "--etcd http://192.0.2.1:2379 --insecure-etcd", &host()),
        ("with certificates", "--etcd https://192.0.2.1:2379", &files),
    ] {
        let config = check(&format!("--domain a.b {line}"), host).expect(why);
        assert!(matches!(config.etcd, EtcdChoice::External { .. }), "{why}");
    }
}

#[test]
fn nothing_about_etcd_is_insecure_by_accident() {
    use FileFact::{Missing, Readable, Unreadable};
    let all = with_files([Readable, Readable, Readable]);
    for (why, line, host, want) in [
        ("joining in the clear", "--join b", &host(), "--insecure-etcd"),
        ("elsewhere in the clear", "--etcd http://192.0.2.1:2379", &host(), "--insecure-etcd"),
        ("TLS without certificates", "--etcd https://b:2379", &host(), "--etcd-ca"),
        ("plain in spite of them", "--etcd http://127.0.0.1:2379", &all, "https:// only"),
        ("both", "--insecure-etcd", &all, "leave one of the two out"),
        ("both etcds", "--etcd http://[::1]:2 --join b --insecure-etcd", &host(), "one of the two"),
        ("no URL", "--etcd here", &host(), "must be a URL"),
        ("no host", "--insecure-etcd --join a:b:c", &host(), "must be a host"),
        (
            "one file is missing",
            "--join b",
            &with_files([Readable, Missing, Readable]),
            "--etcd-cert \"/etc/autoradio/etcd_client.pem\": there is no such file",
        ),
        (
            "one cannot be read",
            "",
            &with_files([Readable, Readable, Unreadable("denied".into())]),
            "--etcd-key \"/etc/autoradio/etcd_client.key\": cannot be read: denied",
        ),
        ("a named one is missing", "--etcd-ca /x", &host(), "--etcd-ca \"/x\": there is no"),
    ] {
        let errors = check(&format!("--domain a.b {line}"), host).expect_err(why);
        assert_eq!(errors.len(), 1, "{why}: {errors:?}");
        assert!(errors[0].to_string().contains(want), "{why}: {}", errors[0]);
    }
}
