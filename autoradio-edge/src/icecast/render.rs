//! Icecast's configuration as text. Pure.

use std::fmt::{Display, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use autoradio_common::limits::{HTTP_HEAD_MS_MAX, MOUNTS_MAX};
use quick_xml::escape::escape;

use crate::cluster::{IcecastSecrets, MountPath};
use crate::placement::{PlacedMount, Placement};

/// What a listener may lag behind before Icecast drops it, in bytes.
const QUEUE_BYTES: u32 = 1024 * 1024;
/// What a listener gets at once on connecting, in bytes (Icecast's own default).
const BURST_BYTES: u32 = 64 * 1024;
/// Silence after which a source is dropped, in seconds.
const SOURCE_TIMEOUT_S: u32 = 10;
/// Silence after which a client is dropped, in seconds.
const CLIENT_TIMEOUT_S: u32 = 30;

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
    pub fn debian(state_dir: PathBuf, port: u16, hostname: String, clients_max: u32) -> Self {
        Self {
            program: "icecast2".into(),
            state_dir,
            listen_address: None,
            port,
            hostname,
            clients_max,
            web_root: "/usr/share/icecast2/web".into(),
            admin_root: "/usr/share/icecast2/admin".into(),
        }
    }
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
        for (path, placed) in &placement.mounts {
            mount(xml, path, placed);
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
        xml.text("relay-user", "relay");
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

fn mount(xml: &mut Xml, path: &MountPath, placed: &PlacedMount) {
    let record = &placed.record;
    xml.element("mount", |xml| {
        xml.text("mount-name", path);
        if let Some(name) = &record.name {
            xml.text("stream-name", name);
        }
        if let Some(description) = &record.description {
            xml.text("stream-description", description);
        }
        // Directories are told about the cluster's name, never about one node's port.
        xml.text("public", 0);
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

    fn settings() -> IcecastSettings {
        IcecastSettings::debian("/var/lib/autoradio".into(), 8000, "fra1.radio.test".into(), 20_000)
    }

    fn secrets() -> IcecastSecrets {
        IcecastSecrets {
            source_password: "s&cret".into(),
            relay_password: "relay".into(),
            admin_password: "admin".into(),
        }
    }

    fn with_mount(path: &str, name: &str, max_listeners: Option<u32>) -> Placement {
        let record = serde_json::json!({
            "schema": 1, "path": path, "source_username": "source", "source_password_hash": "$argon2id$x",
            "name": name, "max_listeners": max_listeners,
        });
        let placed = PlacedMount {
            record: Arc::new(serde_json::from_value(record).unwrap()),
            master: None,
            title: None,
            source: None,
        };
        Placement { mounts: [(path.parse().unwrap(), placed)].into(), ..Placement::default() }
    }

    #[test]
    fn limits_are_those_of_a_radio_and_not_of_icecasts_example() {
        let xml = render(&settings(), &secrets(), &Placement::default());
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
        assert!(!xml.contains("<mount>"));
    }

    #[test]
    fn nasty_names_stay_inside_their_elements() {
        for (why, path, name, want) in [
            (
                "markup in a path",
                "/<b>&'\"",
                "",
                "<mount-name>/&lt;b&gt;&amp;&apos;&quot;</mount-name>",
            ),
            ("an end tag", "/a", "</mount>", "<stream-name>&lt;/mount&gt;</stream-name>"),
            ("not ASCII", "/café ☂", "", "<mount-name>/café ☂</mount-name>"),
            ("a CDATA end", "/a", "]]>", "<stream-name>]]&gt;</stream-name>"),
            ("no XML character", "/a", "x\u{0}\u{1b}\u{ffff}y", "<stream-name>xy</stream-name>"),
        ] {
            let xml = render(&settings(), &secrets(), &with_mount(path, name, None));
            assert!(xml.contains(want), "{why}: {want} is missing in\n{xml}");
        }
    }

    #[test]
    fn a_mount_carries_its_name_but_neither_its_limit_nor_its_hash() {
        let xml = render(&settings(), &secrets(), &with_mount("/a", "A", Some(7)));
        // The front holds the limit, for each node; the master's Icecast would count all nodes' listeners.
        assert!(!xml.contains("max-listeners"));
        assert!(!xml.contains("argon2"));
        let xml = render(&settings(), &secrets(), &with_mount("/a", "A", None));
        assert!(!xml.contains("max-listeners"));
    }
}
