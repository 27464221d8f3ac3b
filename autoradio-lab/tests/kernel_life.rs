//! The kernel program outlives the daemon, and the next daemon goes on with it: nobody who asks notices.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use autoradio_lab::prober::{DnsStream, Moment};
use autoradio_lab::status::Xdp;
use autoradio_lab::{Lab, Node, Running};
use nix::sys::signal::Signal;

const SOON: Duration = Duration::from_secs(20);
/// How long the program answers without the daemon, in milliseconds.
const LEASE_MS: u64 = 10_000;

/// A node that serves, and a client that asks it without a pause.
struct Rig {
    lab: Lab,
    stream: DnsStream,
}

impl Rig {
    fn start(mode: &str) -> Self {
        Self::start_with(mode, &[])
    }

    fn start_with(mode: &str, args: &[&str]) -> Self {
        let lab = Lab::builder().nodes(1).clients(1).xdp(mode).args(args).build().expect("a lab");
        lab.start_nodes().expect("the node is ready");
        let (server, domain) = (lab.node(1).host().v4(), lab.domain());
        let stream = DnsStream::start(lab.client(1), server, domain).expect("asking");
        let rig = Self { lab, stream };
        assert_eq!(rig.xdp(), Xdp { mode: mode.to_owned(), pinned: true, adopted: false });
        rig.wait_answered("the node answers", Moment::now(), 300);
        rig
    }

    fn node(&self) -> &Node {
        self.lab.node(1)
    }

    fn xdp(&self) -> Xdp {
        self.node().status().expect("the daemon tells its status").xdp
    }

    /// Waits until so many questions since `start` were asked, and finds every one answered.
    fn wait_answered(&self, what: &str, start: Moment, questions: usize) {
        let enough = || self.stream.since(start).questions >= questions;
        self.lab.wait_until(what, SOON, enough).expect(what);
        let (asked, silence_ms) = (self.stream.since(start), self.stream.silence_ms(start));
        assert_eq!(asked.unanswered, 0, "{what}: {asked:?}, from and to {silence_ms:?} ms");
    }

    fn wait_ms(&self, start: Moment, ms: u64) {
        let passed = || Moment::now().ms_since(start) > ms;
        self.lab.wait_until("time passes", SOON, passed).expect("time passes");
    }

    /// Kills the daemon, does `meanwhile`, and starts it again; when it was killed. A machine that is too busy to have the
    /// daemon back before its lease ends proves nothing, and gets another try.
    fn kill_and_restart(&self, meanwhile: impl Fn()) -> Moment {
        for _ in 0..3 {
            let killed = Moment::now();
            self.node().kill_daemon(SOON).expect("killed");
            self.wait_answered("the kernel answers without the daemon", killed, 200);
            meanwhile();
            self.node().start().expect("started");
            self.node().wait_ready(SOON).expect("the node is ready");
            if Moment::now().ms_since(killed) < LEASE_MS - 3_000 {
                return killed;
            }
            self.wait_answered("the node is steady", Moment::now(), 200);
        }
        panic!("no restart was faster than the lease of {LEASE_MS} ms")
    }

    fn kernel_answers(&self) -> u64 {
        self.node().status().expect("status").dns.kernel_answers
    }

    /// What is pinned for the node.
    fn pins(&self) -> Vec<PathBuf> {
        let folder = self.node().bpf_dir().join(self.node().host().name());
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    /// Nothing runs on the interface, and nothing is pinned that could.
    fn assert_nothing_left(&self) {
        let folder = self.node().bpf_dir().join(self.node().host().name());
        assert!(!folder.exists(), "{:?}", self.pins());
        let link = self.node().host().run("ip", &["link", "show", "eth0"]).expect("ip link");
        assert!(!link.contains("xdp"), "{link}");
    }

    /// Starts the daemon, which must not be running, with other arguments.
    fn start_daemon(&self, xdp: &str, state: &str, args: &[&str]) -> Running {
        let host = self.node().host();
        let daemon = self.lab.program("autoradio-edge").expect("built");
        let state = host.folder().join(state).to_string_lossy().into_owned();
        let bpf_dir = self.node().bpf_dir().to_string_lossy().into_owned();
        let (v4, v6) = (host.v4().to_string(), host.v6().to_string());
        let mut all = vec!["run", "--domain", self.lab.domain(), "--name", host.name()];
        all.extend(["--interface", "eth0", "--xdp", xdp, "--state-dir", &state]);
        all.extend(["--bpf-dir", &bpf_dir, "--address", &v4, "--address", &v6]);
        all.extend(args);
        host.spawn(&daemon, &all, "other").expect("started")
    }

    /// Starts a daemon that comes as far as to load its program: the cluster that it is to join is not reachable.
    fn start_daemon_without_etcd(&self) -> Running {
        let log = self.node().host().folder().join("other.log");
        let join = ["--join", "198.18.0.250", "--insecure-etcd"];
        let mut daemon = self.start_daemon("native", "other-state", &join);
        let mut ended = None;
        let waited = self.lab.wait_until("the other daemon has its program", SOON, || {
            ended = daemon.ended();
            let log = fs::read_to_string(&log).unwrap_or_default();
            ended.is_some() || log.contains("the kernel program is attached")
        });
        assert!(waited.is_ok() && ended.is_none(), "{ended:?}: {}", daemon.log_tail());
        daemon
    }

    fn pinned_maps(&self) -> PathBuf {
        self.pins().into_iter().find(|path| path.is_dir()).expect("a folder of maps")
    }

    fn nothing_was_lost_since(&self, killed: Moment) {
        let (asked, silence_ms) = (self.stream.since(killed), self.stream.silence_ms(killed));
        let stats = || self.node().radioctl_text(&["dns", "stats"]).expect("stats");
        assert_eq!(asked.unanswered, 0, "{asked:?}, {silence_ms:?} ms after it; {}", stats());
        assert!(asked.questions > 1_000, "{asked:?}");
    }

    /// Whether the kernel alone still answers, long after the lease of the daemon that was killed.
    fn goes_on_in_the_kernel(&self, killed: Moment) {
        self.wait_ms(killed, LEASE_MS + 1_000);
        let before = self.node().status().expect("status").dns;
        self.wait_answered("the node goes on", Moment::now(), 300);
        let after = self.node().status().expect("status").dns;
        assert!(after.kernel_answers > before.kernel_answers, "{before:?} {after:?}");
        assert_eq!(after.userspace_answers, before.userspace_answers);
    }
}

fn assert_adopted(mode: &str) {
    let rig = Rig::start(mode);
    let maps = rig.pinned_maps();
    let answers = rig.kernel_answers();
    let killed = rig.kill_and_restart(|| {});
    assert_eq!(rig.xdp(), Xdp { mode: mode.to_owned(), pinned: true, adopted: true });
    assert!(rig.kernel_answers() >= answers + 200, "counters go on");
    assert_eq!(rig.pinned_maps(), maps);
    rig.goes_on_in_the_kernel(killed);
    rig.nothing_was_lost_since(killed);
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_killed_daemon_and_its_successor_lose_no_answer_in_native_mode() {
    assert_adopted("native");
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_killed_daemon_and_its_successor_lose_no_answer_in_generic_mode() {
    assert_adopted("generic");
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_program_of_another_object_is_replaced_without_losing_an_answer() {
    let rig = Rig::start("native");
    let maps = rig.pinned_maps();
    let other = maps.with_file_name("0123456789abcdef");
    // As if another version had made them.
    let killed = rig.kill_and_restart(|| fs::rename(&maps, &other).expect("renamed"));
    assert_eq!(rig.xdp(), Xdp { mode: "native".to_owned(), pinned: true, adopted: false });
    rig.goes_on_in_the_kernel(killed);
    assert!(!other.exists() && maps.is_dir(), "{:?}", rig.pins());
    rig.nothing_was_lost_since(killed);
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_daemon_that_never_comes_back_is_answered_for_until_its_lease_ends_and_no_longer() {
    let rig = Rig::start("native");
    let killed = Moment::now();
    rig.node().kill_daemon(SOON).expect("killed");
    rig.wait_ms(killed, LEASE_MS - 3_000);
    let sure = Moment::now();
    rig.wait_ms(killed, LEASE_MS + 500);
    let over = Moment::now();
    rig.wait_ms(killed, LEASE_MS + 2_000);
    let during = rig.stream.between(killed, sure);
    assert!(during.questions > 1_000 && during.unanswered == 0, "{during:?}");
    let after = rig.stream.since(over);
    assert!(after.questions > 0 && after.unanswered == after.questions, "{after:?}");
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn after_a_clean_stop_nothing_is_pinned_or_attached() {
    let rig = Rig::start("native");
    assert_eq!(rig.pins().len(), 2, "a link and a folder of maps: {:?}", rig.pins());
    rig.node().stop(SOON).expect("stopped");
    rig.assert_nothing_left();
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_daemon_that_is_stopped_before_its_first_zone_takes_off_what_a_killed_one_left() {
    let rig = Rig::start("native");
    rig.node().kill_daemon(SOON).expect("killed");
    let mut daemon = rig.start_daemon_without_etcd();
    assert_eq!(rig.pins().len(), 2, "adopted: {:?}", rig.pins());
    rig.node().terminate().expect("told to stop");
    let ended = daemon.wait(SOON).expect("stopped");
    assert!(ended.success(), "{ended}: {}", daemon.log_tail());
    rig.assert_nothing_left();
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_daemon_that_fails_before_its_first_zone_leaves_the_program_to_its_successor() {
    let rig = Rig::start("native");
    rig.node().kill_daemon(SOON).expect("killed");
    // Nobody listens there.
    let etcd = ["--etcd", "http://127.0.0.1:9"];
    let mut daemon = rig.start_daemon("native", "other-state", &etcd);
    let ended = daemon.wait(SOON).expect("ended");
    assert!(!ended.success(), "{ended}: {}", daemon.log_tail());
    assert_eq!(rig.pins().len(), 2, "{:?}", rig.pins());
    rig.node().start().expect("started");
    rig.node().wait_ready(SOON).expect("the node is ready");
    assert_eq!(rig.xdp(), Xdp { mode: "native".to_owned(), pinned: true, adopted: true });
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn maps_of_a_successor_that_never_had_a_zone_are_not_taken_for_those_that_run() {
    let rig = Rig::start("native");
    let maps = rig.pinned_maps();
    let (other, staged) = (maps.with_file_name("0123456789abcdef"), maps.with_file_name("staged"));
    rig.node().kill_daemon(SOON).expect("killed");
    // To the next daemon, an older version's; and then that version comes back.
    fs::rename(&maps, &other).expect("renamed");
    let mut daemon = rig.start_daemon_without_etcd();
    assert!(staged.is_dir(), "{:?}", rig.pins());
    daemon.signal(Signal::SIGKILL);
    daemon.wait(SOON).expect("killed");
    assert!(staged.is_dir() && other.is_dir(), "{:?}", rig.pins());
    fs::rename(&other, &maps).expect("renamed");
    let restarted = Moment::now();
    rig.node().start().expect("started");
    rig.node().wait_ready(SOON).expect("the node is ready");
    assert_eq!(rig.xdp(), Xdp { mode: "native".to_owned(), pinned: true, adopted: true });
    assert!(!staged.exists() && maps.is_dir(), "{:?}", rig.pins());
    rig.goes_on_in_the_kernel(restarted);
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_daemon_without_a_kernel_program_takes_off_what_a_killed_one_left() {
    let rig = Rig::start("native");
    rig.node().kill_daemon(SOON).expect("killed");
    assert_eq!(rig.pins().len(), 2, "{:?}", rig.pins());
    let daemon = rig.start_daemon("off", "state", &[]);
    rig.node().wait_ready(SOON).unwrap_or_else(|error| panic!("{error}: {}", daemon.log_tail()));
    rig.assert_nothing_left();
    let before = rig.node().status().expect("status").dns;
    rig.wait_answered("userspace answers", Moment::now(), 300);
    let after = rig.node().status().expect("status").dns;
    assert!(after.userspace_answers >= before.userspace_answers + 300, "{before:?} {after:?}");
}

#[test]
#[ignore = "needs root and namespaces: cargo xtask test"]
fn a_daemon_that_is_started_twice_does_not_take_the_program_of_the_first() {
    // Each has a family of addresses of its own, so that no port is in the second one's way.
    let rig = Rig::start_with("native", &["--dns-listen", "198.18.0.11"]);
    let (node, lab) = (rig.node(), &rig.lab);
    let v6 = node.host().v6().to_string();
    let (daemon, state) = (lab.program("autoradio-edge").expect("built"), node.host().folder());
    let state = state.join("second").to_string_lossy().into_owned();
    let bpf_dir = node.bpf_dir().to_string_lossy().into_owned();
    let args = [
        "run",
        "--domain",
        lab.domain(),
        "--name",
        node.host().name(),
        "--interface",
        "eth0",
        "--xdp",
        "native",
        "--state-dir",
        &state,
        "--bpf-dir",
        &bpf_dir,
        "--dns-listen",
        &v6,
        "--http-port",
        "1080",
        "--icecast-port",
        "1800",
        "--admin-listen",
        "127.0.0.1:1081",
        "--etcd-client-port",
        "1379",
        "--etcd-peer-port",
        "1380",
    ];
    let start = Moment::now();
    let refused = node.host().run(&daemon, &args).expect_err("refused").to_string();
    assert!(refused.contains("another daemon of this node's name"), "{refused}");
    rig.wait_answered("the first goes on", start, 300);
    assert_eq!(rig.pins().len(), 2, "{:?}", rig.pins());
}
