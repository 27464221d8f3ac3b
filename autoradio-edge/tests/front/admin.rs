//! The admin pages: from any node, for the whole cluster.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use autoradio_edge::clock;
use autoradio_edge::cluster::{AdminRecord, LoadRecord, NodeRecord, SourceRecord};

use crate::node::Node;
use crate::rig::{Client, LONGEST, Rig, frames, mount, mount_record, node_name, wait_until};

/// `admin:secret`
const ADMIN: &str = "Authorization: Basic YWRtaW46c2VjcmV0\r\n";
/// How long a listener waits for what its source has sent before more is sent.
const MOMENT: Duration = Duration::from_millis(100);
/// Longest that an answer may take while a node does not give its own.
const DOUBTFUL_MAX: Duration = Duration::from_secs(4);

/// Two nodes that know the password of the admin pages.
fn rig() -> Rig {
    let mut rig = Rig::of_nodes(2);
    let hash = mount_record("/x", "secret").source_password_hash;
    rig.snapshot.admin = Some(Arc::new(AdminRecord::new(hash)));
    rig.place();
    rig
}

fn ask(node: &Node, page: &str) -> String {
    node.send(format!("GET /admin/{page} HTTP/1.0\r\n{ADMIN}\r\n")).read_all()
}

fn listen(node: &Node, mount: &str, agent: &str) -> Client {
    let request = format!("GET {mount} HTTP/1.0\r\nUser-Agent: {agent}\r\n\r\n");
    let mut found = None;
    wait_until("the mount plays", || {
        let mut listener = node.send(&request);
        let plays = listener.read_head().starts_with("HTTP/1.0 200 ");
        found = plays.then_some(listener);
        plays
    });
    found.expect("a listener")
}

/// What stands in every element of that name.
fn texts<'a>(xml: &'a str, element: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    xml.split(open.as_str()).skip(1).filter_map(|rest| rest.split(close.as_str()).next()).collect()
}

/// Has a source send until the listener hears it.
fn hears(source: &mut Client, listener: &mut Client, letter: u8) {
    listener.stream.set_read_timeout(Some(MOMENT)).expect("a timeout");
    let mut heard = [0; 4_096];
    wait_until("the listener hears the source", || {
        source.write(&frames(letter, 20));
        let bytes = listener.stream.read(&mut heard).unwrap_or(0);
        heard[..bytes].contains(&letter)
    });
    listener.stream.set_read_timeout(Some(LONGEST)).expect("a timeout");
}

/// Tells, as the daemons do, which sources of which type there are.
fn report_sources(rig: &mut Rig, sources: &[(&str, &str)]) {
    let record = |content_type: &str| SourceRecord {
        since_unix_s: clock::unix_s(),
        content_type: content_type.to_owned(),
    };
    let sources: BTreeMap<_, _> =
        sources.iter().map(|(path, content_type)| (mount(path), record(content_type))).collect();
    let load = LoadRecord { sources, ..LoadRecord::idle() };
    rig.snapshot.loads.insert(node_name(1), Arc::new(load));
    rig.place();
}

#[test]
fn listeners_of_all_nodes_are_listed_and_closed_from_any() {
    let rig = rig();
    let mut source = rig.nodes[0].source("/live.mp3");
    source.write(&frames(b'a', 40));
    let mut one = listen(&rig.nodes[0], "/live.mp3", "one <1>");
    let mut two = listen(&rig.nodes[1], "/live.mp3", "two");
    let mut listed = String::new();
    wait_until("both are listed", || {
        listed = ask(&rig.nodes[1], "listclients?mount=/live.mp3");
        listed.contains("<Listeners>2</Listeners>")
    });
    assert!(listed.contains("\r\nContent-Type: text/xml; charset=utf-8\r\n"), "{listed}");
    assert_eq!(texts(&listed, "IP"), ["127.0.0.1", "127.0.0.1"]);
    let (agents, ids) = (texts(&listed, "UserAgent"), texts(&listed, "ID"));
    let id_of = |agent: &str| ids[agents.iter().position(|it| *it == agent).expect("listed")];
    assert_ne!(ids[0], ids[1]);

    // From the other node, and not under another mount's name.
    let id = id_of("one &lt;1&gt;");
    let wrong = ask(&rig.nodes[1], &format!("killclient?mount=/two.mp3&id={id}"));
    assert!(wrong.contains(" not found</message><return>0</return>"), "{wrong}");
    let killed = ask(&rig.nodes[1], &format!("killclient?mount=/live.mp3&id={id}"));
    let want = format!("<message>Client {id} removed</message><return>1</return>");
    assert!(killed.contains(&want), "{killed}");
    wait_until("it is closed", || one.stream_ended());
    hears(&mut source, &mut two, b'b');
    let id = id_of("two");
    let killed = ask(&rig.nodes[1], &format!("killclient?mount=/live.mp3&id={id}"));
    assert!(killed.contains("<return>1</return>"), "{killed}");
    wait_until("it is closed", || two.stream_ended());
    let again = ask(&rig.nodes[0], &format!("killclient?mount=/live.mp3&id={id}"));
    assert!(again.contains("<return>0</return>"), "{again}");
}

#[test]
fn listeners_of_all_nodes_are_moved_to_a_mount_of_the_same_type_only() {
    let mut rig = rig();
    let mut live = rig.nodes[0].source("/live.mp3");
    let mut two = rig.nodes[1].source("/two.mp3");
    live.write(&frames(b'l', 40));
    two.write(&frames(b't', 40));
    let mut listeners: Vec<_> =
        rig.nodes.iter().map(|node| listen(node, "/live.mp3", "x")).collect();
    report_sources(&mut rig, &[("/live.mp3", "audio/mpeg"), ("/two.mp3", "application/ogg")]);
    let other = ask(&rig.nodes[0], "moveclients?mount=/live.mp3&destination=/two.mp3");
    assert!(other.starts_with("HTTP/1.0 400 ") && other.contains("another type"), "{other}");
    report_sources(&mut rig, &[("/live.mp3", "audio/mpeg"), ("/two.mp3", "audio/mpeg")]);
    let choice = ask(&rig.nodes[0], "moveclients?mount=/live.mp3");
    assert!(
        choice.contains("<current_source>/live.mp3</current_source><source mount=\"/two.mp3\">")
    );
    let moved = ask(&rig.nodes[0], "moveclients?mount=/live.mp3&destination=/two.mp3");
    let want = "<message>Clients moved from /live.mp3 to /two.mp3</message><return>1</return>";
    assert!(moved.contains(want), "{moved}");
    for listener in &mut listeners {
        hears(&mut two, listener, b'T');
    }
}

#[test]
fn a_source_is_closed_from_any_node_wherever_it_came_in() {
    let rig = rig();
    for (front, asked) in [(0, 1), (1, 0), (1, 1)] {
        let mut source = rig.nodes[front].source("/live.mp3");
        let killed = ask(&rig.nodes[asked], "killsource?mount=/live.mp3");
        let want = "<message>Source Removed</message><return>1</return>";
        assert!(killed.contains(want), "{front} {asked}: {killed}");
        source.wait_closed();
    }
    wait_until("nothing is left", || {
        ask(&rig.nodes[0], "killsource?mount=/live.mp3").contains("400 - Source does not exist")
    });
}

#[test]
fn a_node_that_does_not_answer_is_named_and_not_waited_for() {
    let mut rig = rig();
    // Its kernel takes connections; nobody ever answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let record = rig.snapshot.nodes[&node_name(2)].clone();
    let name = node_name(3);
    let http_port = silent.local_addr().expect("bound").port();
    let record = NodeRecord { name: name.clone(), http_port, ..(*record).clone() };
    rig.snapshot.nodes.insert(name, Arc::new(record));
    rig.place();
    let began = clock::now();
    let listed = ask(&rig.nodes[0], "listclients?mount=/live.mp3");
    assert!(
        listed.contains("</source><missing><node>node3</node></missing></icestats>"),
        "{listed}"
    );
    let stats = ask(&rig.nodes[0], "stats");
    assert!(stats.contains("<missing><node>node3</node></missing></icestats>"), "{stats}");
    let _source = rig.nodes[0].source("/live.mp3");
    let killed = ask(&rig.nodes[1], "killsource?mount=/two.mp3");
    assert!(
        killed.contains("No source was found; no answer from node3</message><return>0<"),
        "{killed}"
    );
    assert!(clock::now() - began < 3 * DOUBTFUL_MAX);
}

#[test]
fn who_has_no_password_or_asks_nonsense_is_told_so() {
    let rig = rig();
    let wrong = "Authorization: Basic YWRtaW46d3Jvbmc=\r\n";
    for fields in ["", wrong, crate::rig::AUTHORIZATION] {
        for page in ["stats", "listclients?mount=/live.mp3", "killsource?mount=/live.mp3"] {
            let answer = rig.send(format!("GET /admin/{page} HTTP/1.0\r\n{fields}\r\n")).read_all();
            assert!(answer.starts_with("HTTP/1.0 401 "), "{page} {fields}: {answer}");
            assert!(answer.contains("\r\nWWW-Authenticate: Basic "), "{answer}");
        }
    }
    let peer = rig.send("GET /_peer/killsource?mount=/live.mp3 HTTP/1.0\r\n\r\n").read_all();
    assert!(peer.starts_with("HTTP/1.0 401 "), "{peer}");
    for (page, want) in [
        ("listclients", "400 - Unknown admin request"),
        ("listclients?mount=/no", "400 - Source does not exist"),
        ("listclients?mount=relative", "400 - Source does not exist"),
        ("stats?mount=/live.mp3", "400 - Source does not exist"),
        ("killclient", "400 - Unknown admin request"),
        ("killclient?mount=/live.mp3", "400 - Missing parameter"),
        ("killclient?mount=/live.mp3&id=a<b", "Client a&lt;b not found</message><return>0<"),
        ("killclient?mount=/live.mp3&id=99999999999999999999", " not found</message><return>0<"),
        ("killsource?mount=/no", "400 - Source does not exist"),
        ("moveclients?mount=/live.mp3&destination=/no", "400 - No such destination"),
        ("moveclients?mount=/live.mp3&destination=/two.mp3", "400 - No such destination"),
        ("moveclients?mount=/live.mp3&destination=/live.mp3", "mountpoints are identical"),
        ("nothing", "404"),
    ] {
        let answer = ask(&rig, page);
        assert!(answer.contains(want), "{page}: {answer}");
    }
}

#[test]
fn the_admin_may_set_the_title_of_any_mount() {
    let rig = rig();
    let _source = rig.nodes[0].source("/live.mp3");
    let answer = ask(&rig.nodes[1], "metadata?mode=updinfo&mount=/live.mp3&song=By+hand");
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    let kept = rig.nodes[1].titles.waiting_for(&mount("/live.mp3")).expect("kept");
    assert!(kept.query.contains("song=By%20hand"), "{}", kept.query);
}

#[test]
fn without_a_password_set_nobody_is_the_admin() {
    let rig = Rig::start();
    let answer = ask(&rig, "stats");
    assert!(
        answer.starts_with("HTTP/1.0 401 ") && answer.contains("set-admin-password"),
        "{answer}"
    );
}
