//! Icecast's admin pages for the whole cluster: what is asked, and the XML of the answers, shaped as that of Icecast 2.4.4 (captured
//! from it). Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use quick_xml::escape::{escape, partial_escape};

use super::calendar::{iso8601, mail};
use super::stats::FrontView;
use super::status_json::About;
use super::streams::Playing;
use crate::cluster::{MountPath, NodeName};
use crate::peer::{PeerListener, parameter};

/// Name of the user that the admin pages are for.
pub(super) const ADMIN_USER: &str = "admin";

/// What is asked of the whole cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminCommand {
    /// Close a listener.
    KillClient,
    /// Close a mount's source.
    KillSource,
    /// Who listens to a mount.
    ListClients,
    /// What plays.
    ListMounts,
    /// Have the listeners of one mount hear another.
    MoveClients,
    /// Everything that is counted.
    Stats,
}

/// A request for an admin page, its parameters as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminRequest {
    /// What is asked.
    pub command: AdminCommand,
    /// The mount.
    pub mount: Option<String>,
    /// Where to.
    pub destination: Option<String>,
    /// The listener.
    pub id: Option<String>,
}

impl AdminRequest {
    /// What a path below `/admin/` asks with its query; `None` if there is no such page.
    pub(super) fn parse(page: &str, query: &str) -> Option<Self> {
        let command = match page {
            "killclient" => AdminCommand::KillClient,
            "killsource" => AdminCommand::KillSource,
            "listclients" => AdminCommand::ListClients,
            "listmounts" => AdminCommand::ListMounts,
            "moveclients" => AdminCommand::MoveClients,
            "stats" | "stats.xml" => AdminCommand::Stats,
            _ => return None,
        };
        let [mount, destination, id] =
            ["mount", "destination", "id"].map(|name| parameter(query, name));
        Some(Self { command, mount, destination, id })
    }
}

/// Why a page is refused: Icecast's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AdminRefusal {
    /// The mount is not named.
    NoMountNamed,
    /// Something else is not named.
    ParameterMissing,
    /// There is no such mount, or nothing plays on it.
    NoSource,
    /// There is no such mount to move to, or nothing plays on it.
    NoDestination,
    /// Both mounts are the same.
    Identical,
    /// Listeners of one type cannot hear another.
    OtherType,
}

impl AdminRefusal {
    /// The page that says so.
    pub(super) fn page(self) -> String {
        let words = match self {
            Self::NoMountNamed => "Unknown admin request",
            Self::ParameterMissing => "Missing parameter",
            Self::NoSource => "Source does not exist",
            Self::NoDestination => "No such destination",
            Self::Identical => "supplied mountpoints are identical",
            Self::OtherType => "the destination is of another type",
        };
        format!(
            "<html><head><title>Error 400</title></head><body><b>400 - {words}</b></body></html>\r\n"
        )
    }
}

/// A short answer: what was done, and whether it was. Nodes that did not answer make a success a doubtful one.
pub(super) fn response(message: &str, done: bool, missing: &[NodeName]) -> String {
    let mut message = text(message);
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(NodeName::as_str).collect();
        // Writing to a string cannot fail, here and below.
        let _ = write!(message, "; no answer from {}", names.join(", "));
    }
    let done = u8::from(done && missing.is_empty());
    document(&format!(
        "<iceresponse><message>{message}</message><return>{done}</return></iceresponse>"
    ))
}

/// The listeners of a mount, each with its number in the cluster.
pub(super) fn list_clients(
    mount: &MountPath,
    listeners: &[(u64, PeerListener)],
    missing: &[NodeName],
) -> String {
    let mut inside = format!("<Listeners>{}</Listeners>", listeners.len());
    for (id, listener) in listeners {
        let PeerListener { address, agent, connected_s, .. } = listener;
        let agent = text(agent.as_deref().unwrap_or("Unknown"));
        let _ = write!(
            inside,
            "<listener><IP>{address}</IP><UserAgent>{agent}</UserAgent>\
             <Connected>{connected_s}</Connected><ID>{id}</ID></listener>"
        );
    }
    icestats(&source(mount, &inside), missing)
}

/// What plays, for a look around; with `current`, all but that one, to choose where its listeners go.
pub(super) fn list_mounts(
    playing: &[Playing<'_>],
    current: Option<&MountPath>,
    now_unix_s: u64,
) -> String {
    let mut inside = String::new();
    if let Some(current) = current {
        let _ = write!(inside, "<current_source>{}</current_source>", text(current.as_str()));
    }
    for stream in playing.iter().filter(|stream| Some(stream.mount) != current) {
        let fallback = stream.record.fallback.as_ref().map_or("", MountPath::as_str);
        let connected_s = now_unix_s.saturating_sub(stream.since_unix_s);
        let told = format!(
            "<fallback>{}</fallback><listeners>{}</listeners><Connected>{connected_s}</Connected>\
             <content-type>{}</content-type>",
            text(fallback),
            stream.listeners,
            text(stream.fields.get("server_type").copied().unwrap_or_default()),
        );
        inside.push_str(&source(stream.mount, &told));
    }
    icestats(&inside, &[])
}

/// Everything that the nodes have counted, and everything that plays. `url` tells where listeners find a mount.
pub(super) fn stats(
    about: &About<'_>,
    playing: &[Playing<'_>],
    only: Option<&MountPath>,
    counts: &[FrontView],
    (nodes, missing): (u64, &[NodeName]),
    url: impl Fn(&MountPath) -> String,
) -> String {
    let sum = |of: fn(&FrontView) -> u64| counts.iter().map(of).sum::<u64>();
    let mut fields = about.fields();
    let listeners = playing.iter().map(|stream| stream.listeners).sum::<u64>();
    let sources = sum(|view| view.source_connections);
    for (name, count) in [
        ("client_connections", sum(|view| view.connections)),
        ("clients", listeners + playing.len() as u64),
        ("connections", sum(|view| view.connections)),
        ("file_connections", 0),
        ("listener_connections", sum(|view| view.listener_connections)),
        ("listeners", listeners),
        ("source_client_connections", sources),
        ("source_relay_connections", 0),
        ("source_total_connections", sources),
        ("sources", playing.len() as u64),
        ("stats", 0),
        ("stats_connections", 0),
    ] {
        fields.insert(name, count.to_string());
    }
    let mut inside: String = fields.iter().map(|(name, value)| element(name, value)).collect();
    for stream in playing.iter().filter(|stream| only.is_none_or(|only| stream.mount == only)) {
        let told = source_fields(stream, counts, nodes, url(stream.mount));
        let told: String = told.iter().map(|(name, value)| element(name, value)).collect();
        inside.push_str(&source(stream.mount, &told));
    }
    icestats(&inside, missing)
}

fn source_fields<'a>(
    stream: &Playing<'a>,
    counts: &[FrontView],
    nodes: u64,
    listenurl: String,
) -> BTreeMap<&'a str, String> {
    let mut fields: BTreeMap<&str, String> =
        stream.fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let views = counts.iter().flat_map(|view| &view.mounts);
    let of_mount = views.filter(|view| view.path == *stream.mount);
    let (read, sent) =
        of_mount.fold((0, 0), |(read, sent), it| (read + it.bytes_in, sent + it.bytes_out));
    // A mount's limit holds on each node.
    let max = stream.record.max_listeners.map(|max| (u64::from(max) * nodes).to_string());
    fields.extend([
        ("listener_peak", stream.peak.to_string()),
        ("listeners", stream.listeners.to_string()),
        ("listenurl", listenurl),
        ("max_listeners", max.unwrap_or_else(|| "unlimited".to_owned())),
        ("stream_start", mail(stream.since_unix_s)),
        ("stream_start_iso8601", iso8601(stream.since_unix_s)),
        ("total_bytes_read", read.to_string()),
        ("total_bytes_sent", sent.to_string()),
        ("unique_listeners", stream.unique.to_string()),
    ]);
    fields
}

fn element(name: &str, value: &str) -> String {
    format!("<{name}>{}</{name}>", text(value))
}

fn source(mount: &MountPath, inside: &str) -> String {
    let mount = plain(mount.as_str());
    format!("<source mount=\"{}\">{inside}</source>", escape(&mount))
}

fn icestats(inside: &str, missing: &[NodeName]) -> String {
    let nodes =
        missing.iter().fold(String::new(), |nodes, node| nodes + &element("node", node.as_str()));
    let missing = if nodes.is_empty() { nodes } else { format!("<missing>{nodes}</missing>") };
    document(&format!("<icestats>{inside}{missing}</icestats>"))
}

fn document(element: &str) -> String {
    format!("<?xml version=\"1.0\"?>\n{element}\n")
}

fn text(text: &str) -> String {
    partial_escape(plain(text)).into_owned()
}

/// The text without characters that no XML document may hold (XML 1.0 §2.2).
fn plain(text: &str) -> String {
    let allowed = |letter: &char| match letter {
        '\t' | '\n' | '\r' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        letter => *letter >= ' ',
    };
    text.chars().filter(allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::stats::MountView;
    use crate::http::streams;
    use crate::http::testing::{playing_on, stream_of};
    use crate::placement::Placement;

    fn mount(path: &str) -> MountPath {
        path.parse().expect("a mount path")
    }

    fn placement() -> Placement {
        let fields = [("server_name", "A & B"), ("server_type", "audio/mpeg")];
        playing_on(&[
            ("/a&\"b.mp3", stream_of(1_795_580_930, &fields), &[(3, 2)], 7),
            ("/z.mp3", stream_of(1_795_580_930, &fields), &[], 0),
        ])
    }

    #[test]
    fn parameters_are_taken_as_they_are_and_an_unknown_page_is_none() {
        let query = "mount=%2Flive.mp3&destination=/b+c&id=9&id=10";
        let request = AdminRequest::parse("moveclients", query).expect("a page");
        assert_eq!(request.command, AdminCommand::MoveClients);
        assert_eq!(request.mount.as_deref(), Some("/live.mp3"));
        assert_eq!(request.destination.as_deref(), Some("/b c"));
        assert_eq!(request.id.as_deref(), Some("9"));
        assert_eq!(AdminRequest::parse("listclients", "x").expect("a page").mount, None);
        for page in ["", "nothing", "listclients.xsl", "stats/"] {
            assert_eq!(AdminRequest::parse(page, ""), None, "{page}");
        }
    }

    #[test]
    fn listeners_are_listed_as_icecast_lists_them() {
        let listener = |agent: Option<&str>| PeerListener {
            id: 1,
            address: "127.0.0.1".parse().expect("an address"),
            agent: agent.map(str::to_owned),
            connected_s: 5,
        };
        let listeners = [(70, listener(Some("VLC/3 \"q\" <x>\u{1}"))), (71, listener(None))];
        assert_eq!(
            list_clients(&mount("/live.mp3"), &listeners, &[]),
            "<?xml version=\"1.0\"?>\n<icestats><source mount=\"/live.mp3\"><Listeners>2</Listeners>\
             <listener><IP>127.0.0.1</IP><UserAgent>VLC/3 \"q\" &lt;x&gt;</UserAgent><Connected>5</Connected>\
             <ID>70</ID></listener><listener><IP>127.0.0.1</IP><UserAgent>Unknown</UserAgent>\
             <Connected>5</Connected><ID>71</ID></listener></source></icestats>\n"
        );
        let missing = ["node2".parse().expect("a name")];
        assert_eq!(
            list_clients(&mount("/a"), &[], &missing),
            "<?xml version=\"1.0\"?>\n<icestats><source mount=\"/a\"><Listeners>0</Listeners></source>\
             <missing><node>node2</node></missing></icestats>\n"
        );
    }

    #[test]
    fn an_order_says_what_was_done_and_who_did_not_hear_it() {
        assert_eq!(
            response("Client 62 removed", true, &[]),
            "<?xml version=\"1.0\"?>\n<iceresponse><message>Client 62 removed</message>\
             <return>1</return></iceresponse>\n"
        );
        let missing = ["node2".parse().expect("a name")];
        let doubtful = response("Client <1> removed", true, &missing);
        let want =
            "<message>Client &lt;1&gt; removed; no answer from node2</message><return>0</return>";
        assert!(doubtful.contains(want), "{doubtful}");
    }

    #[test]
    fn mounts_are_listed_as_icecast_lists_them() {
        let placement = placement();
        let playing = streams::all(&placement);
        let z = "<source mount=\"/z.mp3\"><fallback></fallback><listeners>0</listeners><Connected>60</Connected>\
             <content-type>audio/mpeg</content-type></source>";
        let xml = list_mounts(&playing, None, 1_795_580_990);
        assert!(
            xml.contains("<source mount=\"/a&amp;&quot;b.mp3\"><fallback></fallback><listeners>3<"),
            "{xml}"
        );
        assert!(xml.ends_with(&format!("{z}</icestats>\n")), "{xml}");
        let current = mount("/a&\"b.mp3");
        let others = list_mounts(&playing, Some(&current), 1_795_580_990);
        assert_eq!(
            others,
            format!(
                "<?xml version=\"1.0\"?>\n<icestats><current_source>/a&amp;\"b.mp3</current_source>{z}</icestats>\n"
            )
        );
    }

    #[test]
    fn stats_sum_what_all_nodes_have_counted() {
        let placement = placement();
        let view = |bytes| FrontView {
            mounts: vec![MountView {
                path: mount("/z.mp3"),
                listeners: 0,
                listeners_unique: 0,
                source_connected: false,
                source_seconds: 0,
                bytes_in: bytes,
                bytes_out: 2 * bytes,
            }],
            connections: 10,
            listener_connections: 4,
            source_connections: 1,
            ..FrontView::default()
        };
        let about = About { host: "radio.test", since_unix_s: 1_795_580_919 };
        let (playing, counts) = (streams::all(&placement), [view(5), view(6)]);
        let url = |mount: &MountPath| format!("http://radio.test{}", mount.to_url_path());
        let z = mount("/z.mp3");
        let xml = stats(&about, &playing, Some(&z), &counts, (2, &[]), url);
        let server = concat!("autoradio ", env!("CARGO_PKG_VERSION"));
        let want = format!(
            "<?xml version=\"1.0\"?>\n<icestats><admin>hostmaster@radio.test</admin><client_connections>20</client_connections>\
             <clients>5</clients><connections>20</connections><file_connections>0</file_connections><host>radio.test</host>\
             <listener_connections>8</listener_connections><listeners>3</listeners><location>autoradio</location>\
             <server_id>{server}</server_id><server_start>Wed, 25 Nov 2026 04:28:39 +0000</server_start>\
             <server_start_iso8601>2026-11-25T04:28:39+0000</server_start_iso8601>\
             <source_client_connections>2</source_client_connections><source_relay_connections>0</source_relay_connections>\
             <source_total_connections>2</source_total_connections><sources>2</sources><stats>0</stats>\
             <stats_connections>0</stats_connections><source mount=\"/z.mp3\"><listener_peak>0</listener_peak>\
             <listeners>0</listeners><listenurl>http://radio.test/z.mp3</listenurl><max_listeners>unlimited</max_listeners>\
             <server_name>A &amp; B</server_name><server_type>audio/mpeg</server_type>\
             <stream_start>Wed, 25 Nov 2026 04:28:50 +0000</stream_start>\
             <stream_start_iso8601>2026-11-25T04:28:50+0000</stream_start_iso8601><total_bytes_read>11</total_bytes_read>\
             <total_bytes_sent>22</total_bytes_sent><unique_listeners>0</unique_listeners></source></icestats>\n"
        );
        assert_eq!(xml, want);
    }
}
