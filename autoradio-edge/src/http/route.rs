//! What a request asks for. Pure: method, target and placement in, [`Route`] out.

use std::net::SocketAddr;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::FrontError;
use super::playlist::PlaylistKind;
use crate::cluster::{MountPath, MountRecord, NodeName};
use crate::peer::STATE_PATH;
use crate::placement::Placement;

/// Bytes that stand for themselves in a query.
const QUERY_ESCAPED: AsciiSet =
    NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Parameters of a metadata update that Icecast reads; no other is passed on.
const METADATA_PARAMETERS: [&str; 7] =
    ["mode", "mount", "charset", "song", "title", "artist", "url"];

/// What stands before a mount's path in the URL that another node has sent a listener to. Such a listener is never sent on.
const LANDING: &str = "/_stream";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// A source wants to stream to a mount.
    Source(MountPath),
    /// A source names a mount that is not there.
    SourceUnknown(String),
    /// Somebody wants to listen.
    Listener(MountPath),
    /// Somebody wants to listen whom another node has sent here.
    Landed(MountPath),
    /// Somebody asks what listening would give.
    ListenerHead(MountPath),
    /// A playlist that names a mount.
    Playlist(MountPath, PlaylistKind),
    /// A CORS preflight, or a client that asks for a resource's methods.
    Options,
    /// `OPTIONS *`: libshout asking whether it may upgrade to TLS.
    OptionsServer,
    /// `GET /admin/!POKE`: libshout looking at how errors look here.
    Poke,
    /// A source sets its title.
    Metadata(MetadataUpdate),
    /// A SHOUTcast source sets its title, by this query.
    ShoutcastTitle(String),
    /// A peer asks how this node stands.
    PeerState,
    /// The status page.
    Status,
    /// Everything else.
    NotFound,
    /// A page, by a method that pages do not have.
    MethodNotAllowed,
}

impl Route {
    /// The value of the metric label `route`.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Source(_) | Self::SourceUnknown(_) => "source",
            Self::Listener(_) => "listener",
            Self::Landed(_) => "listener_landed",
            Self::ListenerHead(_) => "listener_head",
            Self::Playlist(..) => "playlist",
            Self::Options | Self::OptionsServer => "options",
            Self::Poke => "poke",
            Self::Metadata(_) | Self::ShoutcastTitle(_) => "metadata",
            Self::PeerState => "peer",
            Self::Status => "status",
            Self::NotFound | Self::MethodNotAllowed => "other",
        }
    }
}

/// A metadata update, its mount resolved and its query rebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataUpdate {
    /// The mount: `Err` with what was asked for when there is no such mount, `None` when none was named.
    pub mount: Option<Result<MountPath, String>>,
    /// The query for Icecast. Each parameter stands in it once, so that Icecast and we mean the same mount.
    pub query: String,
}

/// Decides what a request asks for.
pub fn route(method: &str, target: &str, placement: &Placement) -> Route {
    if target == "*" {
        return if method == "OPTIONS" { Route::OptionsServer } else { Route::NotFound };
    }
    let (path, query) = split_target(target);
    let admin = path == "/admin" || path.starts_with("/admin/");
    match method {
        "OPTIONS" => Route::Options,
        "SOURCE" | "PUT" | "POST" if admin => Route::NotFound,
        "SOURCE" | "PUT" | "POST" => match find_mount(&path, placement) {
            Some(mount) => Route::Source(mount),
            None => Route::SourceUnknown(path),
        },
        "GET" | "HEAD" => read(method, &path, query, placement),
        _ => Route::MethodNotAllowed,
    }
}

fn read(method: &str, path: &str, query: &str, placement: &Placement) -> Route {
    match path {
        "/" => return Route::Status,
        STATE_PATH if method == "GET" => return Route::PeerState,
        "/admin/!POKE" => return Route::Poke,
        "/admin/metadata" if method == "GET" => {
            return Route::Metadata(metadata_update(query, placement));
        }
        "/admin.cgi" if method == "GET" => return Route::ShoutcastTitle(query.to_owned()),
        _ => {}
    }
    let (path, landed) = match path.strip_prefix(LANDING) {
        Some(rest) if rest.starts_with('/') => (rest, true),
        _ => (path, false),
    };
    if let Some(mount) = find_mount(path, placement) {
        return match method {
            "HEAD" => Route::ListenerHead(mount),
            _ if landed => Route::Landed(mount),
            _ => Route::Listener(mount),
        };
    }
    if landed {
        return Route::NotFound;
    }
    PlaylistKind::ALL
        .into_iter()
        .find_map(|kind| {
            let mount = find_mount(path.strip_suffix(kind.suffix())?, placement)?;
            Some(Route::Playlist(mount, kind))
        })
        .unwrap_or(Route::NotFound)
}

/// Where a listener finds a mount at a node's front, when sent there: path and query of the URL.
pub fn landing(mount: &MountPath, target: &str) -> String {
    format!("{LANDING}{}{}", mount.to_url_path(), query_of(target))
}

/// Where a listener finds a mount at a node's Icecast, which knows no landings.
pub(super) fn icecast_landing(mount: &MountPath, target: &str) -> String {
    format!("{}{}", mount.to_url_path(), query_of(target))
}

/// The query of a target with its question mark, empty if it has none. What cannot stand in a header field is left out.
fn query_of(target: &str) -> String {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let query: String = query.chars().filter(char::is_ascii_graphic).collect();
    if query.is_empty() { query } else { format!("?{query}") }
}

/// Path (with a leading slash, no doubled ones) and query of a target in origin or absolute form.
fn split_target(target: &str) -> (String, &str) {
    let origin = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            rest.find(['/', '?']).map_or("/", |at| &rest[at..])
        }
        _ => target,
    };
    let (path, query) = origin.split_once('?').unwrap_or((origin, ""));
    let mut plain = String::with_capacity(path.len() + 1);
    plain.push('/');
    for letter in path.chars() {
        if letter != '/' || !plain.ends_with('/') {
            plain.push(letter);
        }
    }
    (plain, query)
}

/// The mount a path means: itself, or what stands before a slash or a suffix of `SHOUTcast` (`;`, `;stream.mp3`, `/;`).
pub(super) fn find_mount(encoded: &str, placement: &Placement) -> Option<MountPath> {
    let known = |path: &str| {
        let mount = MountPath::from_encoded(path.trim_end_matches('/')).ok()?;
        placement.mounts.contains_key(&mount).then_some(mount)
    };
    known(encoded).or_else(|| known(encoded.split_once(';')?.0))
}

/// The record of a mount.
pub(super) fn record_of(
    placement: &Placement,
    mount: &MountPath,
) -> Result<Arc<MountRecord>, FrontError> {
    let placed = placement.mounts.get(mount);
    placed
        .map(|placed| placed.record.clone())
        .ok_or_else(|| FrontError::MountUnknown { path: mount.to_string() })
}

/// Where the Icecast of a mount's master is: `own_icecast` if that is the node `own`, whose address for its peers is a
/// router's, perhaps, that does not let it reach itself.
pub(super) fn master_of(
    placement: &Placement,
    mount: &MountPath,
    (own, own_icecast): (&NodeName, SocketAddr),
) -> Result<SocketAddr, FrontError> {
    let address = placement.master_icecast(mount).map(SocketAddr::from);
    let address = address.ok_or_else(|| FrontError::NoMaster { mount: mount.clone() })?;
    Ok(if placement.is_master(own, mount) { own_icecast } else { address })
}

/// Those parameters of a query whose names are `known`, decoded; of each the first.
pub(super) fn parameters<'a>(query: &str, known: &[&'a str]) -> Vec<(&'a str, Vec<u8>)> {
    let mut found: Vec<(&str, Vec<u8>)> = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = known.iter().find(|known| **known == name) else {
            continue;
        };
        if found.iter().all(|(seen, _)| seen != name) {
            let spaced = value.replace('+', " ");
            found.push((name, percent_decode(spaced.as_bytes()).collect()));
        }
    }
    found
}

/// What a SHOUTcast source says of its title: the login, as it would log in to stream, and the query for Icecast when it is about `mount`.
/// `None`: it says nothing of that.
///
/// Such a source never tells how its title is encoded, and Icecast takes what is not told for Latin-1.
pub(super) fn shoutcast_title(query: &str) -> Option<(String, impl Fn(&MountPath) -> String)> {
    let found = parameters(query, &["mode", "pass", "song", "url", "sid"]);
    let of = |name: &str| found.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
    if of("mode").map(Vec::as_slice) != Some(b"updinfo") {
        return None;
    }
    let (pass, song) = (String::from_utf8(of("pass")?.clone()).ok()?, of("song")?.clone());
    let sid = of("sid").and_then(|sid| std::str::from_utf8(sid).ok());
    let login = sid.map_or_else(|| pass.clone(), |sid| format!("{pass}:#{sid}"));
    let charset = if std::str::from_utf8(&song).is_ok() { "&charset=UTF-8" } else { "" };
    let url = of("url").map(|url| format!("&url={}", percent_encode(url, &QUERY_ESCAPED)));
    let update = move |mount: &MountPath| {
        let mount = percent_encode(mount.as_str().as_bytes(), &QUERY_ESCAPED);
        let song = percent_encode(&song, &QUERY_ESCAPED);
        let url = url.as_deref().unwrap_or_default();
        format!("mode=updinfo&mount={mount}{charset}&song={song}{url}")
    };
    Some((login, update))
}

fn metadata_update(query: &str, placement: &Placement) -> MetadataUpdate {
    let mut found = parameters(query, &METADATA_PARAMETERS);
    let mount = found.iter_mut().find(|(name, _)| *name == "mount");
    let mount = mount.map(|(_, value)| {
        let asked = String::from_utf8_lossy(value).into_owned();
        let path: Option<MountPath> = asked.parse().ok();
        match path.filter(|path| placement.mounts.contains_key(path)) {
            Some(path) => Ok(path),
            None => Err(asked),
        }
    });
    let query: Vec<String> = found
        .iter()
        .map(|(name, value)| format!("{name}={}", percent_encode(value, &QUERY_ESCAPED)))
        .collect();
    MetadataUpdate { mount, query: query.join("&") }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{mount_record, placement_of};
    use super::*;
    use crate::cluster::{Master, NodeRecord, Snapshot};
    use crate::placement::place;

    fn mount(path: &str) -> MountPath {
        path.parse().expect("a mount path")
    }

    #[test]
    fn every_request_has_one_meaning() {
        let placement = placement_of(&["/live.mp3", "/café/a.ogg", "/odd;name"]);
        let live = || mount("/live.mp3");
        for (method, target, want) in [
            ("SOURCE", "/live.mp3", Route::Source(live())),
            ("SOURCE", "live.mp3", Route::Source(live())),
            ("PUT", "//live.mp3", Route::Source(live())),
            ("POST", "/live.mp3?x=1", Route::Source(live())),
            ("PUT", "/no.mp3", Route::SourceUnknown("/no.mp3".to_owned())),
            ("SOURCE", "/", Route::SourceUnknown("/".to_owned())),
            ("PUT", "/admin/metadata", Route::NotFound),
            ("GET", "/live.mp3", Route::Listener(live())),
            ("GET", "/live.mp3?token=a%2f", Route::Listener(live())),
            ("GET", "/live.mp3/", Route::Listener(live())),
            ("GET", "/live.mp3;stream.mp3", Route::Listener(live())),
            ("GET", "/live.mp3;", Route::Listener(live())),
            ("GET", "/live.mp3/;", Route::Listener(live())),
            ("GET", "/l%69ve.mp3", Route::Listener(live())),
            ("GET", "/odd;name", Route::Listener(mount("/odd;name"))),
            ("GET", "/caf%C3%A9/a.ogg", Route::Listener(mount("/café/a.ogg"))),
            ("GET", "http://radio.test:80/live.mp3", Route::Listener(live())),
            ("GET", "http://radio.test", Route::Status),
            ("HEAD", "/live.mp3", Route::ListenerHead(live())),
            ("GET", "/_stream/live.mp3", Route::Landed(live())),
            ("GET", "/_stream/live.mp3?t=1", Route::Landed(live())),
            ("GET", "//_stream//live.mp3", Route::Landed(live())),
            ("HEAD", "/_stream/live.mp3", Route::ListenerHead(live())),
            ("GET", "/_stream/no.mp3", Route::NotFound),
            ("GET", "/_stream/_stream/live.mp3", Route::NotFound),
            ("GET", "/_stream/live.mp3.m3u", Route::NotFound),
            ("GET", "/_streamlive.mp3", Route::NotFound),
            ("GET", "/_stream", Route::NotFound),
            ("GET", "/_stream/", Route::NotFound),
            ("PUT", "/_stream/live.mp3", Route::SourceUnknown("/_stream/live.mp3".to_owned())),
            ("GET", "/live.mp3.m3u", Route::Playlist(live(), PlaylistKind::M3u)),
            ("HEAD", "/live.mp3.pls", Route::Playlist(live(), PlaylistKind::Pls)),
            ("GET", "/live.mp3.xspf", Route::Playlist(live(), PlaylistKind::Xspf)),
            ("GET", "/no.mp3.m3u", Route::NotFound),
            ("GET", "/live.mp3.m3u8", Route::NotFound),
            ("GET", "/", Route::Status),
            ("GET", "/?x", Route::Status),
            ("GET", "/no.mp3", Route::NotFound),
            ("GET", "/;", Route::NotFound),
            ("GET", "/%ff", Route::NotFound),
            ("GET", "/_peer/state", Route::PeerState),
            ("HEAD", "/_peer/state", Route::NotFound),
            ("GET", "/admin/!POKE", Route::Poke),
            ("GET", "/admin/stats", Route::NotFound),
            ("GET", "/admin.cgi?mode=x", Route::ShoutcastTitle("mode=x".to_owned())),
            ("PUT", "/admin.cgi", Route::SourceUnknown("/admin.cgi".to_owned())),
            ("OPTIONS", "*", Route::OptionsServer),
            ("OPTIONS", "/live.mp3", Route::Options),
            ("DELETE", "/live.mp3", Route::MethodNotAllowed),
        ] {
            assert_eq!(route(method, target, &placement), want, "{method} {target}");
        }
    }

    #[test]
    fn a_listener_who_is_sent_on_keeps_the_query() {
        let mount = mount("/café/a b.ogg");
        for (target, want) in [
            ("/x", "/_stream/caf%C3%A9/a%20b.ogg"),
            ("/x?", "/_stream/caf%C3%A9/a%20b.ogg"),
            ("/x?t=a%2f&u=?", "/_stream/caf%C3%A9/a%20b.ogg?t=a%2f&u=?"),
            ("http://h?q=\u{e9}1", "/_stream/caf%C3%A9/a%20b.ogg?q=1"),
        ] {
            assert_eq!(landing(&mount, target), want, "{target}");
        }
        assert_eq!(icecast_landing(&mount, "/x?t=1"), "/caf%C3%A9/a%20b.ogg?t=1");
    }

    #[test]
    fn a_title_names_its_mount_decoded_and_once() {
        let placement = placement_of(&["/gst.mp3"]);
        for (query, want_mount, want_query) in [
            (
                "mode=updinfo&mount=%2fgst%2emp3&charset=UTF-8&song=a+b%26",
                Some(Ok(mount("/gst.mp3"))),
                "mode=updinfo&mount=%2Fgst.mp3&charset=UTF-8&song=a%20b%26",
            ),
            (
                "mount=/gst.mp3&mount=/other.mp3&pass=x",
                Some(Ok(mount("/gst.mp3"))),
                "mount=%2Fgst.mp3",
            ),
            ("mount=/no", Some(Err("/no".to_owned())), "mount=%2Fno"),
            ("song=%e9", None, "song=%E9"),
        ] {
            let target = format!("/admin/metadata?{query}");
            let want = MetadataUpdate { mount: want_mount, query: want_query.to_owned() };
            assert_eq!(route("GET", &target, &placement), Route::Metadata(want), "{query}");
        }
    }

    #[test]
    fn a_shoutcast_title_becomes_icecasts_and_is_utf_8_only_if_it_can_be() {
        let mount = mount("/a b");
        for (query, want) in [
            (
                "mode=updinfo&pass=hackme&song=A+%2d+%c3%a9",
                Some(("hackme", "mode=updinfo&mount=%2Fa%20b&charset=UTF-8&song=A%20-%20%C3%A9")),
            ),
            (
                "pass=dj%3ax&mode=updinfo&song=%e9&url=&sid=2",
                Some(("dj:x:#2", "mode=updinfo&mount=%2Fa%20b&song=%E9&url=")),
            ),
            ("mode=updinfo&pass=hackme", None),
            ("mode=updinfo&song=x", None),
            ("mode=viewxml&pass=hackme&song=x", None),
            ("pass=%ff&mode=updinfo&song=x", None),
            ("", None),
        ] {
            let got = shoutcast_title(query).map(|(login, update)| (login, update(&mount)));
            let want = want.map(|(login, update)| (login.to_owned(), update.to_owned()));
            assert_eq!(got, want, "{query}");
        }
    }

    #[test]
    fn a_node_reaches_its_own_icecast_without_its_router() {
        let record = |name: &str, peer_address: &str| -> Arc<NodeRecord> {
            let json = serde_json::json!({
                "schema": 1, "name": name, "domain": "radio.test", "addresses": [peer_address],
                "peer_address": peer_address, "http_port": 80, "icecast_port": 8000, "version": "0",
            });
            Arc::new(serde_json::from_value(json).expect("a record"))
        };
        let mut snapshot = Snapshot::default();
        for (name, peer_address) in [("node1", "203.0.113.7"), ("node2", "198.51.100.8")] {
            let node: NodeName = name.parse().expect("a name");
            snapshot.nodes.insert(node.clone(), record(name, peer_address));
            let mount = mount_record(&format!("/{name}.mp3"), "source", "hackme");
            snapshot.masters.insert(mount.path.clone(), Master { node, epoch: 3 });
            snapshot.mounts.insert(mount.path.clone(), Arc::new(mount));
        }
        let nobodys = mount_record("/nobodys.mp3", "source", "hackme");
        snapshot.mounts.insert(nobodys.path.clone(), Arc::new(nobodys));
        let (placement, own) = (place(&snapshot), "node1".parse().expect("a name"));
        let own_icecast: SocketAddr = "127.0.0.1:8001".parse().expect("an address");
        let found = |path| master_of(&placement, &mount(path), (&own, own_icecast)).ok();
        assert_eq!(found("/node1.mp3"), Some(own_icecast));
        assert_eq!(found("/node2.mp3"), "198.51.100.8:8000".parse().ok());
        assert_eq!(found("/nobodys.mp3"), None);
    }
}
