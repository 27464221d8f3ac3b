//! Icecast's configuration as text. Pure.

use std::fmt::{Display, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use autoradio_common::limits::{HTTP_HEAD_MS_MAX, ICECAST_RELAYS_MAX, MOUNTS_MAX};
use quick_xml::escape::escape;

use super::relay_credentials::RELAY_USER;
use crate::api::{LISTENER_AUTH_PATH, SOURCE_AUTH_PATH};
use crate::cluster::{HttpUrl, IcecastSecrets, MountPath, NodeName, NodeRecord};
use crate::placement::{PlacedMount, Placement};

/// What a listener may lag behind before Icecast drops it, in bytes.
const QUEUE_BYTES: u32 = 1024 * 1024;
/// What a listener gets at once on connecting, in bytes (Icecast's own default).
const BURST_BYTES: u32 = 64 * 1024;
/// Silence after which a source is dropped, in seconds.
const SOURCE_TIMEOUT_S: u32 = 10;
/// Silence after which a client is dropped, in seconds.
const CLIENT_TIMEOUT_S: u32 = 30;

/// Pause before a stream that could not be pulled, or has ended, is asked for again, in seconds. Icecast's own is two minutes.
const PULL_INTERVAL_S: u32 = 5;

/// What does not change while the daemon runs.
#[derive(Clone, Debug)]
pub struct IcecastSettings {
    /// The program, `icecast2` by default.
    pub program: PathBuf,
    /// The daemon's state directory; the configuration goes to `icecast/` in it. Others must be able to pass
    /// through it (mode 0711 or wider), since Icecast does not run as root.
    pub state_dir: PathBuf,
    /// Address to listen on; all addresses when absent.
    pub listen_address: Option<IpAddr>,
    /// Port to listen on.
    pub port: u16,
    /// This node.
    pub node: NodeName,
    /// Whether what this node is not master of is relayed: only where listeners come straight to Icecast. A relay whose
    /// master's host has died holds its mount for tens of seconds, against any source, should this node be the next master.
    pub relays: bool,
    /// The daemon's admin port, where Icecast asks whether a source may come in.
    pub admin: SocketAddr,
    /// Name that Icecast calls itself in its pages and playlists.
    pub hostname: String,
    /// Connections that Icecast holds at one time: listeners, sources and relays together.
    pub clients_max: u32,
    /// Icecast's pages: `/usr/share/icecast2/web` on Debian.
    pub web_root: PathBuf,
    /// Icecast's admin pages: `/usr/share/icecast2/admin` on Debian.
    pub admin_root: PathBuf,
}

impl IcecastSettings {
    /// Settings with everything as Debian's package has it.
    pub fn debian(
        state_dir: PathBuf,
        (node, admin): (NodeName, SocketAddr),
        port: u16,
        hostname: String,
        clients_max: u32,
    ) -> Self {
        Self {
            program: "icecast2".into(),
            state_dir,
            listen_address: None,
            port,
            node,
            relays: true,
            admin: reachable(admin),
            hostname,
            clients_max,
            web_root: "/usr/share/icecast2/web".into(),
            admin_root: "/usr/share/icecast2/admin".into(),
        }
    }
}

/// An address to reach a local listener at: one that listens on all addresses is on loopback too.
fn reachable(listens: SocketAddr) -> SocketAddr {
    let loopback = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(loopback, listens.port())
}

/// Icecast's whole configuration. The same placement always gives the same text.
pub fn render(
    settings: &IcecastSettings,
    secrets: &IcecastSecrets,
    placement: &Placement,
) -> String {
    let mut xml = Xml::default();
    xml.element("icecast", |xml| {
        limits(xml, settings);
        authentication(xml, secrets);
        // Icecast complains at every start without these two.
        xml.text("location", "autoradio");
        xml.text("admin", format_args!("hostmaster@{}", settings.hostname));
        xml.text("hostname", &settings.hostname);
        listen_socket(xml, settings);
        http_headers(xml);
        all_mounts(xml, settings);
        for path in protected(placement) {
            protected_mount(xml, settings, path);
        }
        let pulled = pulled(&settings.node, placement);
        if !pulled.is_empty() {
            xml.text("master-update-interval", PULL_INTERVAL_S);
        }
        for (path, url) in pulled {
            pull(xml, path, &url);
        }
        if settings.relays {
            for (path, master) in relayed(&settings.node, placement) {
                relay(xml, secrets, path, master);
            }
        }
        xml.text("fileserve", 0);
        paths_and_logging(xml, settings);
    });
    xml.out
}

fn limits(xml: &mut Xml, settings: &IcecastSettings) {
    xml.element("limits", |xml| {
        xml.text("clients", settings.clients_max);
        xml.text("sources", MOUNTS_MAX);
        xml.text("queue-size", QUEUE_BYTES);
        xml.text("burst-size", BURST_BYTES);
        xml.text("client-timeout", CLIENT_TIMEOUT_S);
        xml.text("header-timeout", HTTP_HEAD_MS_MAX / 1000);
        xml.text("source-timeout", SOURCE_TIMEOUT_S);
    });
}

fn authentication(xml: &mut Xml, secrets: &IcecastSecrets) {
    xml.element("authentication", |xml| {
        xml.text("source-password", &secrets.source_password);
        xml.text("relay-user", RELAY_USER);
        xml.text("relay-password", &secrets.relay_password);
        xml.text("admin-user", "admin");
        xml.text("admin-password", &secrets.admin_password);
    });
}

fn listen_socket(xml: &mut Xml, settings: &IcecastSettings) {
    xml.element("listen-socket", |xml| {
        xml.text("port", settings.port);
        if let Some(address) = settings.listen_address {
            xml.text("bind-address", address);
        }
    });
}

/// What browsers want to see before a page of another site may play (Fetch §3.2, CORS).
fn http_headers(xml: &mut Xml) {
    xml.element("http-headers", |xml| {
        for (name, value) in [
            ("Access-Control-Allow-Origin", "*"),
            (
                "Access-Control-Expose-Headers",
                "icy-br, icy-description, icy-genre, icy-metaint, icy-name, icy-url",
            ),
        ] {
            xml.line(format_args!(r#"<header name="{name}" value="{value}" />"#));
        }
    });
}

/// What holds for every mount. One entry for all of them: each with an authentication of its own would cost Icecast 2.4
/// a thread that wakes seven times a second, and 10 000 of them hold up a reload for a minute.
fn all_mounts(xml: &mut Xml, settings: &IcecastSettings) {
    xml.element_with("mount", r#"type="default""#, |xml| {
        // Directories are told about the cluster's name, never about one node's port.
        xml.text("public", 0);
        asked_at(xml, settings, &[("stream_auth", SOURCE_AUTH_PATH)]);
    });
}

/// Mounts that are not open to all: the few that may cost Icecast a thread each.
fn protected(placement: &Placement) -> impl Iterator<Item = &MountPath> {
    let protected = placement.mounts.iter().filter(|(_, placed)| placed.record.asks_listeners());
    protected.map(|(path, _)| path)
}

/// A mount whose listeners Icecast asks about as well: those who come straight to it must not get round the front.
fn protected_mount(xml: &mut Xml, settings: &IcecastSettings, path: &MountPath) {
    xml.element_with("mount", r#"type="normal""#, |xml| {
        xml.text("mount-name", path);
        xml.text("public", 0);
        asked_at(
            xml,
            settings,
            &[
                ("stream_auth", SOURCE_AUTH_PATH),
                ("listener_add", LISTENER_AUTH_PATH),
                ("listener_remove", LISTENER_AUTH_PATH),
            ],
        );
    });
}

/// Has Icecast ask the daemon.
fn asked_at(xml: &mut Xml, settings: &IcecastSettings, questions: &[(&str, &str)]) {
    let admin = settings.admin;
    xml.element_with("authentication", r#"type="url""#, |xml| {
        for (name, path) in questions {
            xml.line(format_args!(r#"<option name="{name}" value="http://{admin}{path}" />"#));
        }
    });
}

/// The mounts that this node pulls from elsewhere, being their master. A URL that is none is left out: it is checked where it is set.
fn pulled<'a>(own: &NodeName, placement: &'a Placement) -> Vec<(&'a MountPath, HttpUrl)> {
    let of = |(path, placed): (&'a MountPath, &'a PlacedMount)| {
        placed.master.as_ref().filter(|master| master.node == *own)?;
        Some((path, placed.record.relay_url.as_ref()?.parse().ok()?))
    };
    placement.mounts.iter().filter_map(of).take(ICECAST_RELAYS_MAX).collect()
}

/// Plays what `url` plays, always. No source can take its place: the gate refuses them.
fn pull(xml: &mut Xml, path: &MountPath, url: &HttpUrl) {
    xml.element("relay", |xml| {
        xml.text("server", &url.host);
        xml.text("port", url.port);
        xml.text("mount", &url.target);
        xml.text("local-mount", path);
        xml.text("on-demand", 0);
        xml.text("relay-shoutcast-metadata", 1);
        if let Some((user, password)) = &url.credentials {
            xml.text("username", user);
            xml.text("password", password);
        }
    });
}

/// The mounts that this node relays: all that somebody else is master of. Of more than [`ICECAST_RELAYS_MAX`], those
/// whose source is known to be connected come first, then those whose path does. The order is that of the paths: a source
/// that comes or goes makes no Icecast read its configuration again.
fn relayed<'a>(own: &NodeName, placement: &'a Placement) -> Vec<(&'a MountPath, &'a NodeRecord)> {
    let mut relayed: Vec<_> = placement
        .mounts
        .iter()
        .filter_map(|(path, placed)| {
            let master = placed.master.as_ref().filter(|master| master.node != *own)?;
            Some((path, placed, &*placement.nodes.get(&master.node)?.record))
        })
        .collect();
    if relayed.len() > ICECAST_RELAYS_MAX {
        relayed.sort_by_key(|(_, placed, _)| placed.source.is_none());
        relayed.truncate(ICECAST_RELAYS_MAX);
        relayed.sort_by_key(|(path, ..)| *path);
    }
    relayed.into_iter().map(|(path, _, master)| (path, master)).collect()
}

/// Plays what the mount's master plays, while anybody listens here.
fn relay(xml: &mut Xml, secrets: &IcecastSecrets, path: &MountPath, master: &NodeRecord) {
    // Icecast's relay puts the path into its request as it is written here.
    let remote = path.to_url_path();
    xml.element("relay", |xml| {
        xml.text("server", master.peer_address);
        xml.text("port", master.icecast_port);
        xml.text("mount", remote);
        xml.text("local-mount", path);
        xml.text("on-demand", 1);
        xml.text("relay-shoutcast-metadata", 1);
        xml.text("username", RELAY_USER);
        xml.text("password", &secrets.relay_password);
    });
}

fn paths_and_logging(xml: &mut Xml, settings: &IcecastSettings) {
    xml.element("paths", |xml| {
        xml.text("webroot", settings.web_root.display());
        xml.text("adminroot", settings.admin_root.display());
    });
    // "-" is stderr, from where the supervisor takes it. 3 is "info".
    xml.element("logging", |xml| {
        xml.text("accesslog", "-");
        xml.text("errorlog", "-");
        xml.text("loglevel", 3);
    });
}

/// XML as text, indented by depth.
#[derive(Default)]
struct Xml {
    out: String,
    depth: usize,
}

impl Xml {
    fn element(&mut self, name: &str, inner: impl FnOnce(&mut Self)) {
        self.line(format_args!("<{name}>"));
        self.rest_of(name, inner);
    }

    fn element_with(&mut self, name: &str, attribute: &str, inner: impl FnOnce(&mut Self)) {
        self.line(format_args!("<{name} {attribute}>"));
        self.rest_of(name, inner);
    }

    fn rest_of(&mut self, name: &str, inner: impl FnOnce(&mut Self)) {
        self.depth += 1;
        inner(self);
        self.depth -= 1;
        self.line(format_args!("</{name}>"));
    }

    /// An element that holds a text. Characters that no XML document may hold are left out: one of them would make
    /// Icecast refuse the whole file (XML 1.0 §2.2).
    fn text(&mut self, name: &str, text: impl Display) {
        let text: String = text.to_string().chars().filter(|c| is_xml(*c)).collect();
        self.line(format_args!("<{name}>{}</{name}>", escape(text)));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.out, "{:indent$}{line}", "", indent = 2 * self.depth);
    }
}

fn is_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::cluster::{Master, MountRecord, SourceRecord};
    use crate::placement::tests::one_node_snapshot;
    use crate::placement::{PlacedSource, place};

    fn settings() -> IcecastSettings {
        let own = ("own".parse().unwrap(), ([127, 0, 0, 1], 8080).into());
        let (dir, name) = ("/var/lib/autoradio".into(), "fra1.radio.test".into());
        IcecastSettings::debian(dir, own, 8000, name, 20_000)
    }

    fn secrets() -> IcecastSecrets {
        IcecastSecrets {
            source_password: "s&cret".into(),
            relay_password: "relay".into(),
            admin_password: "admin".into(),
        }
    }

    fn placed(path: &str, master: &str, playing: bool) -> (MountPath, PlacedMount) {
        let path: MountPath = path.parse().unwrap();
        let source = PlacedSource {
            node: "a".parse().unwrap(),
            record: SourceRecord { since_unix_s: 1, content_type: "audio/mpeg".to_owned() },
        };
        let placed = PlacedMount {
            record: Arc::new(MountRecord::new(path.clone(), "source", "$argon2id$x".to_owned())),
            master: Some(Master { node: master.parse().unwrap(), epoch: 1 }),
            title: None,
            source: playing.then_some(source),
        };
        (path, placed)
    }

    /// Node `own` is this one, `a` a peer at an IPv6 address; `dead` is no node.
    fn placement(mounts: impl IntoIterator<Item = (MountPath, PlacedMount)>) -> Placement {
        let mut snapshot = one_node_snapshot();
        let mut record = NodeRecord::clone(snapshot.nodes.values().next().unwrap());
        record.name = "a".parse().unwrap();
        record.peer_address = "fd00::1".parse().unwrap();
        record.icecast_port = 8001;
        snapshot.nodes.insert(record.name.clone(), Arc::new(record));
        Placement { mounts: mounts.into_iter().collect(), ..place(&snapshot) }
    }

    fn rendered(placement: &Placement) -> String {
        render(&settings(), &secrets(), placement)
    }

    #[test]
    fn limits_are_those_of_a_radio_and_not_of_icecasts_example() {
        let xml = rendered(&Placement::default());
        for line in [
            "<clients>20000</clients>",
            "<sources>10000</sources>",
            "<burst-size>65536</burst-size>",
            "<source-timeout>10</source-timeout>",
            "<port>8000</port>",
            "<hostname>fra1.radio.test</hostname>",
            "<source-password>s&amp;cret</source-password>",
            "<fileserve>0</fileserve>",
            "<errorlog>-</errorlog>",
        ] {
            assert!(xml.contains(line), "{line} is missing in\n{xml}");
        }
        assert!(!xml.contains("bind-address"), "all addresses");
    }

    #[test]
    fn every_source_is_asked_about_at_the_admin_port() {
        let url = "value=\"http://127.0.0.1:8080/v1/icecast/source-auth\"";
        let few = rendered(&placement([placed("/m", "own", true)]));
        assert!(few.contains(url), "{few}");
        // However many mounts there are, there is one entry for all.
        assert_eq!(few, rendered(&Placement::default()));
        for (listens, want) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1")] {
            assert_eq!(reachable(listens.parse().unwrap()), want.parse().unwrap());
        }
    }

    #[test]
    fn what_a_living_peer_is_master_of_is_relayed_from_it() {
        let xml = rendered(&placement([
            placed("/peers & more.mp3", "a", false),
            placed("/mine", "own", false),
            placed("/dead", "dead", false),
        ]));
        assert_eq!(xml.matches("<relay>").count(), 1, "{xml}");
        for line in [
            "<server>fd00::1</server>",
            "<port>8001</port>",
            "<mount>/peers%20%26%20more.mp3</mount>",
            "<local-mount>/peers &amp; more.mp3</local-mount>",
            "<on-demand>1</on-demand>",
            "<username>relay</username>",
            "<password>relay</password>",
        ] {
            assert!(xml.contains(line), "{line} is missing in\n{xml}");
        }
        assert!(!xml.contains("argon2"));
    }

    #[test]
    fn where_fronts_serve_the_listeners_nothing_is_relayed() {
        let settings = IcecastSettings { relays: false, ..settings() };
        let xml = render(&settings, &secrets(), &placement([placed("/peers.mp3", "a", true)]));
        assert!(!xml.contains("<relay>"), "{xml}");
    }

    #[test]
    fn a_mount_with_a_url_is_pulled_by_its_master_alone() {
        let pulls = |master: &str, url: &str| {
            let (path, mut placed) = placed("/pulled & on", master, false);
            Arc::make_mut(&mut placed.record).relay_url = Some(url.to_owned());
            rendered(&placement([(path, placed)]))
        };
        let xml = pulls("own", "http://jo:p%40&s@[2001:db8::1]:81/x?a=1&b=2");
        for line in [
            "<server>2001:db8::1</server>",
            "<port>81</port>",
            "<mount>/x?a=1&amp;b=2</mount>",
            "<local-mount>/pulled &amp; on</local-mount>",
            "<on-demand>0</on-demand>",
            "<username>jo</username>",
            "<password>p@&amp;s</password>",
            "<master-update-interval>5</master-update-interval>",
        ] {
            assert!(xml.contains(line), "{line} is missing in\n{xml}");
        }
        let elsewhere = pulls("a", "http://h/x");
        assert!(!elsewhere.contains("<server>h<"), "{elsewhere}");
        let (_, bare) = placed("/m", "own", false);
        assert!(bare.record.relay_url.is_none());
        for xml in [pulls("own", "https://h/x"), rendered(&placement([placed("/m", "own", true)]))]
        {
            assert!(!xml.contains("<relay>") && !xml.contains("master-update"), "{xml}");
        }
    }

    #[test]
    fn who_comes_straight_to_icecast_is_asked_about_where_the_front_would_ask() {
        let (path, mut placed) = placed("/private", "own", true);
        Arc::make_mut(&mut placed.record).listener_users = Some(std::collections::BTreeMap::new());
        let xml = rendered(&placement([(path, placed)]));
        assert!(xml.contains("<mount-name>/private</mount-name>"), "{xml}");
        for (question, times) in [("stream_auth", 2), ("listener_add", 1), ("listener_remove", 1)] {
            assert_eq!(xml.matches(question).count(), times, "{question} in\n{xml}");
        }
        let url = "http://127.0.0.1:8080/v1/icecast/listener-auth";
        assert_eq!(xml.matches(url).count(), 2, "{xml}");
    }

    #[test]
    fn of_too_many_mounts_those_that_play_are_relayed() {
        let many =
            (0..=ICECAST_RELAYS_MAX).map(|number| placed(&format!("/{number:05}"), "a", false));
        let placement = placement(many.chain([placed("/z", "a", true)]));
        let own = settings().node;
        let relayed = relayed(&own, &placement);
        assert_eq!(relayed.len(), ICECAST_RELAYS_MAX);
        let (first, last) = (relayed.first().unwrap().0, relayed.last().unwrap().0);
        assert_eq!((first.as_str(), last.as_str()), ("/00000", "/z"));
    }

    #[test]
    fn a_source_that_comes_or_goes_changes_nothing_for_icecast() {
        let of = |playing| placement([placed("/a", "a", false), placed("/b", "a", playing)]);
        assert_eq!(rendered(&of(true)), rendered(&of(false)));
    }

    #[test]
    fn nasty_paths_stay_inside_their_elements() {
        for (why, path, want) in [
            ("markup", "/<b>&'\"", "<local-mount>/&lt;b&gt;&amp;&apos;&quot;</local-mount>"),
            ("an end tag", "/</relay>", "<local-mount>/&lt;/relay&gt;</local-mount>"),
            ("not ASCII", "/café ☂", "<local-mount>/café ☂</local-mount>"),
            ("a CDATA end", "/]]>", "<local-mount>/]]&gt;</local-mount>"),
        ] {
            let xml = rendered(&placement([placed(path, "a", false)]));
            assert!(xml.contains(want), "{why}: {want} is missing in\n{xml}");
        }
        let mut xml = Xml::default();
        xml.text("a", "x\u{0}\u{1b}\u{ffff}y");
        assert_eq!(xml.out, "<a>xy</a>\n", "no XML characters");
    }
}
