//! The daemon as its operator meets it: every mistake it names, and one node on loopback from start to stop.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it stands")]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use nix::sys::signal::Signal;
use support::{PATIENCE, free_ports, lives, radioctl, signal, state_dir, until};
use tempfile::TempDir;

/// The daemon with a clean environment, so that the tester's settings do not count.
fn daemon(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_autoradio-edge"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.arg("run").args(args).stdin(Stdio::null());
    command
}

/// Ends the daemon, with its children, when a test fails before it did.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.try_wait().unwrap().is_none() {
            signal(i32::try_from(self.0.id()).unwrap(), Signal::SIGTERM);
            let _ = self.0.wait();
        }
    }
}

/// What a daemon that cannot start says, and its exit code. One that starts after all is stopped, and the test fails.
fn refusal(mut command: Command) -> (Option<i32>, String) {
    let mut running = Running(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut stderr = running.0.stderr.take().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = stderr.read_to_string(&mut text);
        sender.send(read.map(|_| text))
    });
    let text = receiver.recv_timeout(PATIENCE).expect("the daemon ends by itself").unwrap();
    (running.0.wait().unwrap().code(), text)
}

/// Flags of a node on loopback without a kernel program, with ports and state of its own.
struct Loopback {
    dir: TempDir,
    dns: u16,
    http: u16,
    icecast: u16,
    admin: u16,
    etcd: [u16; 2],
}

impl Loopback {
    fn new() -> Self {
        let [dns, http, icecast, admin, client, peer] = free_ports();
        Self { dir: state_dir(), dns, http, icecast, admin, etcd: [client, peer] }
    }

    fn flags(&self) -> Vec<String> {
        let pairs = [
            ("--domain", "radio.test".to_owned()),
            ("--name", "node1".to_owned()),
            ("--address", "127.0.0.1".to_owned()),
            ("--xdp", "off".to_owned()),
            ("--dns-listen", "127.0.0.1".to_owned()),
            ("--dns-port", self.dns.to_string()),
            ("--http-port", self.http.to_string()),
            ("--icecast-port", self.icecast.to_string()),
            ("--admin-listen", format!("127.0.0.1:{}", self.admin)),
            ("--etcd-client-port", self.etcd[0].to_string()),
            ("--etcd-peer-port", self.etcd[1].to_string()),
            ("--state-dir", self.dir.path().display().to_string()),
        ];
        pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }

    fn command(&self, more: &[&str]) -> Command {
        let flags = self.flags();
        let flags: Vec<&str> =
            flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
        daemon(&flags)
    }

    fn log(&self) -> std::path::PathBuf {
        self.dir.path().join("daemon.log")
    }

    fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd[0])
    }
}

/// The whole answer of an HTTP/1.0 exchange on loopback, empty when nobody answers.
fn exchange(port: u16, request: &str) -> String {
    let mut answer = Vec::new();
    if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_end(&mut answer);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(port: u16, path: &str) -> String {
    exchange(port, &format!("GET {path} HTTP/1.0\r\n\r\n"))
}

#[test]
fn all_wrong_settings_are_told_at_once_with_exit_code_2() {
    let wrong = ["--xdp", "warp", "--http-port", "eighty", "--dns-answers", "0"];
    let (code, said) = refusal(daemon(&wrong));
    assert_eq!(code, Some(2));
    for flag in ["--domain", "--xdp", "--http-port", "--dns-answers"] {
        assert!(said.contains(flag), "{flag} in {said}");
    }
}

#[test]
fn a_missing_interface_is_named_with_exit_code_1() {
    let node = Loopback::new();
    let auto = |flag: String| if flag == "off" { "auto".to_owned() } else { flag };
    let flags: Vec<String> = node.flags().into_iter().map(auto).collect();
    let flags: Vec<&str> =
        flags.iter().map(String::as_str).chain(["--interface", "nosuch0"]).collect();
    let (code, said) = refusal(daemon(&flags));
    assert_eq!(code, Some(1));
    assert!(said.contains("no network interface nosuch0") && said.contains("ip link"), "{said}");
}

#[test]
fn a_taken_port_is_named_with_its_remedy_and_exit_code_1() {
    for (why, flag, port_of) in [
        ("front", "--http-port", (|node| node.http) as fn(&Loopback) -> u16),
        ("DNS", "--dns-port", |node| node.dns),
        ("admin", "--admin-listen", |node| node.admin),
        ("Icecast", "--icecast-port", |node| node.icecast),
        ("etcd", "", |node| node.etcd[0]),
    ] {
        let node = Loopback::new();
        let port = port_of(&node);
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (code, said) = refusal(node.command(&[]));
        assert_eq!(code, Some(1), "{why}: {said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(last.contains(&port.to_string()) && last.contains(flag), "{why}: {last}");
    }
}

/// The loopback node with a kernel program wanted on `lo`, but without the capabilities that BPF takes.
fn without_bpf(node: &Loopback, xdp: &str, address: &str) -> Command {
    let mut flags = node.flags();
    // An address of its own, so that port 53 (the only one that the kernel serves) is free.
    for (flag, value) in
        [("--xdp", xdp), ("--address", address), ("--dns-listen", address), ("--dns-port", "53")]
    {
        let at = flags.iter().position(|it| it == flag).unwrap();
        value.clone_into(&mut flags[at + 1]);
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-bpf,-perfmon,-net_admin,-sys_admin,-sys_resource", "--"]);
    command.arg(env!("CARGO_BIN_EXE_autoradio-edge")).args(["run", "--interface", "lo"]);
    command.args(flags).stdin(Stdio::null());
    command
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn without_permission_for_bpf_a_wanted_kernel_program_is_an_error_with_its_remedy() {
    let (code, said) = refusal(without_bpf(&Loopback::new(), "generic", "127.0.53.1"));
    assert_eq!(code, Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("no permission for BPF") && last.contains("--xdp off"), "{last}");
}

#[tokio::test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
async fn without_permission_for_bpf_userspace_answers_when_the_choice_is_left_to_the_node() {
    let node = Loopback::new();
    let _running = start_as(&node, without_bpf(&node, "auto", "127.0.53.2")).await;
    assert_eq!(status_of(&node)["xdp"]["mode"], "off");
    let log = std::fs::read_to_string(node.log()).unwrap();
    assert!(log.contains("no permission for BPF"), "{log}");
}

/// A directory with links to some programs, to be the whole of `PATH`.
fn programs(names: &[&str]) -> TempDir {
    let dir = state_dir();
    for name in names {
        let found = ["/usr/bin", "/usr/sbin"].map(|at| Path::new(at).join(name));
        let found = found.iter().find(|path| path.exists()).unwrap();
        std::os::unix::fs::symlink(found, dir.path().join(name)).unwrap();
    }
    dir
}

#[test]
fn a_missing_program_is_named_with_its_package_and_exit_code_1() {
    for (missing, present, package) in
        [("etcd", vec![], "etcd-server"), ("icecast2", vec!["etcd"], "icecast2")]
    {
        let path = programs(&present);
        let node = Loopback::new();
        let mut command = node.command(&[]);
        command.env("PATH", path.path());
        let (code, said) = refusal(command);
        assert_eq!(code, Some(1), "{missing}: {said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(last.contains(missing) && last.contains(package), "{missing}: {last}");
        let left = node.dir.path().join("run/etcd.pid").exists();
        assert!(!left, "{missing}: what was started has been stopped in order");
    }
}

fn pid_from(node: &Loopback, child: &str) -> i32 {
    let pid_file =
        std::fs::read_to_string(node.dir.path().join(format!("run/{child}.pid"))).unwrap();
    let digits: String = pid_file.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn dns_query(name: &str, edns: bool) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = 7;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    if edns {
        message.set_edns(hickory_proto::op::Edns::new());
    }
    message.to_vec().unwrap()
}

fn ask_udp(port: u16, query: &[u8]) -> Message {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(query, SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
    let mut reply = [0; 2_048];
    let bytes = socket.recv(&mut reply).unwrap();
    Message::from_vec(&reply[..bytes]).unwrap()
}

/// Asks twice on one connection (RFC 7766 §6.2.1) and gives the second reply.
fn ask_tcp_twice(port: u16, query: &[u8]) -> Message {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let framed = [&(query.len() as u16).to_be_bytes(), query].concat();
    stream.write_all(&[framed.clone(), framed].concat()).unwrap();
    let mut reply = Vec::new();
    for _ in 0..2 {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        reply = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut reply).unwrap();
    }
    Message::from_vec(&reply).unwrap()
}

#[tokio::test]
async fn a_strict_umask_keeps_nothing_from_the_children() {
    let node = Loopback::new();
    // A folder that the daemon makes itself.
    let state_dir = node.dir.path().join("made");
    let mut flags = node.flags();
    let at = flags.iter().position(|flag| flag == "--state-dir").unwrap();
    flags[at + 1] = state_dir.display().to_string();
    let mut command = Command::new("sh");
    let daemon = env!("CARGO_BIN_EXE_autoradio-edge");
    command.args(["-c", "umask 077; exec \"$0\" run \"$@\"", daemon]).args(flags);
    let _running = start_as(&node, command).await;
    let config = std::fs::metadata(state_dir.join("icecast/icecast.xml")).unwrap();
    assert_eq!(config.permissions().mode() & 0o777, 0o640, "passwords are for Icecast only");
}

/// Starts a node and waits until it says that it is ready.
async fn start(node: &Loopback) -> Running {
    start_as(node, node.command(&[])).await
}

async fn start_as(node: &Loopback, mut command: Command) -> Running {
    let log = std::fs::File::options().create(true).append(true).open(node.log()).unwrap();
    let mut running = Running(command.stderr(log).spawn().unwrap());
    until("the node is ready", PATIENCE, async || {
        let ended = running.0.try_wait().unwrap();
        let log = || std::fs::read_to_string(node.log()).unwrap();
        assert!(ended.is_none(), "the daemon ended: {ended:?}\n{}", log());
        get(node.admin, "/readyz").starts_with("HTTP/1.0 200").then_some(())
    })
    .await;
    running
}

fn status_of(node: &Loopback) -> serde_json::Value {
    let answer = get(node.admin, "/v1/status");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn one_node_answers_takes_mounts_and_stops_cleanly() {
    let node = Loopback::new();
    let mut running = start(&node).await;
    for edns in [false, true] {
        let reply = ask_udp(node.dns, &dns_query("radio.test", edns));
        assert_eq!(reply.answers.len(), 1);
        assert_eq!(reply.edns.is_some(), edns);
        assert_eq!(ask_tcp_twice(node.dns, &dns_query("radio.test", edns)), reply);
    }
    let refused = ask_udp(node.dns, &dns_query("example.com", true));
    assert_eq!(refused.metadata.response_code, ResponseCode::Refused);

    let made = radioctl(&node.etcd_url(), &["create-mount", "/live.mp3", "-o", "json"], "");
    assert!(made.status.success(), "{made:?}");
    let source = "SOURCE /live.mp3 HTTP/1.0\r\n\r\n";
    until("the mount is known", Duration::from_secs(2), async || {
        exchange(node.http, source).starts_with("HTTP/1.0 401").then_some(())
    })
    .await;
    let label = "live-mp3-";
    let shown = radioctl(&node.etcd_url(), &["show-mount", "/live.mp3"], "");
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains(label), "{shown}");
    assert!(get(node.http, "/live.mp3.m3u").contains("http://radio.test:"));

    assert!(get(node.admin, "/healthz").ends_with("ok\n"));
    assert!(get(node.admin, "/metrics").contains("autoradio_dns_replies_total"));
    let status = until("the mount has its master", Duration::from_secs(2), async || {
        let status = status_of(&node);
        (status["mounts"][0]["master"] == "node1").then_some(status)
    })
    .await;
    assert_eq!(status["xdp"]["mode"], "off");
    assert!(status["dns"]["userspace_answers"].as_u64().unwrap() >= 7);

    let children = [pid_from(&node, "etcd"), pid_from(&node, "icecast")];
    assert!(children.into_iter().all(lives), "the children run");
    // A client that never finishes its question must not keep the node from stopping.
    let mut half = TcpStream::connect((Ipv4Addr::LOCALHOST, node.admin)).unwrap();
    half.write_all(b"GET /").unwrap();
    signal(i32::try_from(running.0.id()).unwrap(), Signal::SIGTERM);
    let status = until("the daemon ends", PATIENCE, async || running.0.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(0));
    assert!(!children.into_iter().any(lives), "the children have ended");
}

/// How many leases live in the node's etcd.
fn leases(node: &Loopback) -> usize {
    let etcd = format!("--endpoints={}", node.etcd_url());
    let listing = Command::new("etcdctl").args([&etcd, "lease", "list"]).output().unwrap();
    assert!(listing.status.success(), "{listing:?}");
    // A line above says how many follow.
    String::from_utf8_lossy(&listing.stdout).lines().count() - 1
}

#[tokio::test]
async fn a_killed_daemon_starts_again_with_its_mounts() {
    let node = Loopback::new();
    let mut running = start(&node).await;
    let made = radioctl(&node.etcd_url(), &["create-mount", "/kept.ogg"], "");
    assert!(made.status.success(), "{made:?}");
    let epoch = async || {
        until("the mount has its master", PATIENCE, async || {
            let mount = status_of(&node)["mounts"][0].clone();
            assert!(mount.is_null() || mount["path"] == "/kept.ogg");
            mount["epoch"].as_i64()
        })
        .await
    };
    let before = epoch().await;
    running.0.kill().unwrap();
    running.0.wait().unwrap();
    let _running = start(&node).await;
    // The mastership outlives the killed daemon's lease.
    until("the old lease ends", PATIENCE, async || (leases(&node) == 1).then_some(())).await;
    assert_eq!(epoch().await, before, "the mount kept its master");
}

#[tokio::test]
async fn malformed_and_oversized_heads_are_refused() {
    let node = Loopback::new();
    let _running = start(&node).await;
    let huge = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    for (why, request, want) in [
        ("no HTTP", "\x16\x03\x01 hello\r\n\r\n".to_owned(), " 400 "),
        ("too large", huge, " 431 "),
        ("unknown mount", "GET /nothing.mp3 HTTP/1.0\r\n\r\n".to_owned(), " 404 "),
    ] {
        let answer = exchange(node.http, &request);
        let first = answer.lines().next().unwrap_or_default();
        assert!(first.contains(want), "{why}: {first}");
    }
}
