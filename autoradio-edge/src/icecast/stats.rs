//! What Icecast says of its listeners, read from the XML of its admin pages, and what follows from it. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::cluster::MountPath;

/// Listeners of each mount in `/admin/stats`, relays of other Icecasts included. Mounts without listeners are left out, and so are
/// names that no mount of the cluster can have.
pub fn listeners_by_mount(xml: &str) -> Result<Vec<(MountPath, u64)>, quick_xml::Error> {
    let mut mounts = Vec::new();
    let mut current: Option<MountPath> = None;
    visit(xml, |element, text| match (element, text) {
        (Element::Start("source", start), _) => current = mount_of(start),
        (Element::End("source"), _) => current = None,
        // Outside of a source it is the sum of all.
        (Element::End("listeners"), text) => {
            let listeners = text.parse().unwrap_or(0);
            if let Some(mount) = current.clone().filter(|_| listeners > 0) {
                mounts.push((mount, listeners));
            }
        }
        _ => {}
    })?;
    Ok(mounts)
}

/// A source as `/admin/stats` tells of it: the mount, and what stands there by name, in Icecast's order.
pub type SourceStats = (MountPath, Vec<(String, String)>);

/// All sources in `/admin/stats`, relays of other Icecasts included; without names that no mount of the cluster can have.
pub fn sources(xml: &str) -> Result<Vec<SourceStats>, quick_xml::Error> {
    let mut sources = Vec::new();
    let mut current: Option<SourceStats> = None;
    visit(xml, |element, text| match element {
        Element::Start("source", start) => current = mount_of(start).map(|it| (it, Vec::new())),
        Element::End("source") => sources.extend(current.take()),
        Element::End(name) => {
            if let Some((_, fields)) = &mut current {
                fields.push((name.to_owned(), text.to_owned()));
            }
        }
        Element::Start(..) => {}
    })?;
    Ok(sources)
}

/// Addresses of the listeners in `/admin/listclients`, one for each connection.
pub fn listener_addresses(xml: &str) -> Result<Vec<IpAddr>, quick_xml::Error> {
    let mut addresses = Vec::new();
    visit(xml, |element, text| {
        if let Element::End("IP") = element {
            // An IPv4 client of a socket for both families has its address in the form of the other.
            addresses.extend(text.parse::<IpAddr>().map(|address| address.to_canonical()));
        }
    })?;
    Ok(addresses)
}

/// How many of each mount's listeners are relays of other nodes, as far as it was looked into.
///
/// Only a look into a mount tells, so that takes turns: in between, relays count as they did at the last look.
#[derive(Debug, Default)]
pub struct RelayCounts {
    round: u64,
    /// Relays, and the round of the last look.
    counts: BTreeMap<MountPath, (u64, u64)>,
}

impl RelayCounts {
    /// Begins a round with these mounts, largest first, and forgets all others. Gives those to look into, `looks_max` at most:
    /// first those never looked into, then those for which it is longest ago.
    pub(super) fn due(&mut self, mounts: &[(MountPath, u64)], looks_max: usize) -> Vec<MountPath> {
        self.round += 1;
        let known = std::mem::take(&mut self.counts);
        let keep = |(path, _): &(MountPath, u64)| Some((path.clone(), *known.get(path)?));
        self.counts = mounts.iter().filter_map(keep).collect();
        let mut due: Vec<&MountPath> = mounts.iter().map(|(path, _)| path).collect();
        // A stable sort: of mounts that wait equally long, the largest come first.
        due.sort_by_key(|path| self.counts.get(*path).map_or(0, |(_, round)| *round));
        due.into_iter().take(looks_max).cloned().collect()
    }

    /// Notes what a look into a mount found.
    pub(super) fn note(&mut self, mount: MountPath, relays: u64) {
        self.counts.insert(mount, (relays, self.round));
    }

    /// The listeners among all connections of a mount.
    pub(super) fn without_relays(&self, mount: &MountPath, connections: u64) -> u64 {
        let relays = self.counts.get(mount).map_or(0, |(relays, _)| *relays);
        connections.saturating_sub(relays)
    }
}

/// Begin or end of an element, by name.
enum Element<'a> {
    Start(&'a str, &'a BytesStart<'a>),
    End(&'a str),
}

/// Calls `see` at every begin and end of an element; at an end with the text since the last begin.
fn visit(xml: &str, mut see: impl FnMut(Element<'_>, &str)) -> Result<(), quick_xml::Error> {
    let mut reader = Reader::from_str(xml);
    let mut text = String::new();
    loop {
        match reader.read_event()? {
            Event::Start(start) => {
                text.clear();
                see(Element::Start(start.name().as_ref(), &start), "");
            }
            Event::Text(part) => text.push_str(&part),
            Event::GeneralRef(reference) => text.push_str(&resolved(&reference)?),
            Event::End(end) => {
                see(Element::End(end.name().as_ref()), text.trim());
                text.clear();
            }
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

/// The text that a reference stands for: `&amp;`, `&#xE9;`. One that XML does not know stands for nothing.
fn resolved(reference: &BytesRef<'_>) -> Result<String, quick_xml::Error> {
    if let Some(letter) = reference.resolve_char_ref()? {
        return Ok(letter.to_string());
    }
    Ok(resolve_predefined_entity(reference).unwrap_or_default().to_owned())
}

fn mount_of(start: &BytesStart<'_>) -> Option<MountPath> {
    let attribute = start.try_get_attribute("mount").ok()??;
    attribute.normalized_value(XmlVersion::Implicit1_0).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(path: &str) -> MountPath {
        path.parse().expect("a mount path")
    }

    #[test]
    fn listeners_are_read_by_mount_and_the_sum_of_all_is_not_taken_for_one() {
        let xml = "<?xml version=\"1.0\"?>\n<icestats><admin>a</admin><listeners>9</listeners>\
            <source mount=\"/a &amp; b.mp3\"><genre>various</genre><listener_peak>7</listener_peak>\
            <listeners>5</listeners><server_name>x &lt; y</server_name></source>\
            <source mount=\"/idle.ogg\"><listeners>0</listeners></source>\
            <source mount=\"/admin/no\"><listeners>3</listeners></source>\
            <source mount=\"/two\"><listeners>4</listeners></source></icestats>";
        let want = vec![(mount("/a & b.mp3"), 5), (mount("/two"), 4)];
        assert_eq!(listeners_by_mount(xml).expect("XML"), want);
        assert!(listeners_by_mount("<icestats><listeners>9</icestats>").is_err());
    }

    #[test]
    fn sources_are_read_with_their_texts_whole() {
        let xml = "<?xml version=\"1.0\"?>\n<icestats><admin>a</admin><listeners>9</listeners>\
            <source mount=\"/a\"><bitrate>128</bitrate><server_name>A &amp; B &#xE9; &lt;c&gt;</server_name>\
            <title></title></source><source mount=\"/admin/no\"><genre>x</genre></source></icestats>";
        let fields = [("bitrate", "128"), ("server_name", "A & B \u{e9} <c>"), ("title", "")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(sources(xml).expect("XML"), [(mount("/a"), fields)]);
    }

    #[test]
    fn addresses_are_read_one_for_each_connection() {
        let xml = "<?xml version=\"1.0\"?>\n<icestats><source mount=\"/a\"><Listeners>3</Listeners>\
            <listener><IP>198.18.0.7</IP><UserAgent>x&lt;y&gt;</UserAgent><ID>1</ID></listener>\
            <listener><IP>::ffff:198.18.0.7</IP><ID>2</ID></listener>\
            <listener><IP>fd00::7</IP><ID>3</ID></listener></source></icestats>";
        let want: [IpAddr; 3] =
            ["198.18.0.7", "198.18.0.7", "fd00::7"].map(|it| it.parse().expect("address"));
        assert_eq!(listener_addresses(xml).expect("XML"), want);
    }

    #[test]
    fn every_mount_is_looked_into_in_turn_the_largest_first() {
        let mut relays = RelayCounts::default();
        let mounts = [("/a", 9), ("/b", 8), ("/c", 7)].map(|(path, count)| (mount(path), count));
        let mut round = |mounts: &[(MountPath, u64)]| {
            let due = relays.due(mounts, 2);
            for path in &due {
                relays.note(path.clone(), 2);
            }
            due.iter().map(|path| path.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(round(&mounts), ["/a", "/b"]);
        assert_eq!(round(&mounts), ["/c", "/a"]);
        assert_eq!(round(&mounts), ["/b", "/a"]);
        assert_eq!(round(&mounts[..2]), ["/a", "/b"]);
        assert_eq!(relays.without_relays(&mount("/a"), 9), 7);
        assert_eq!(relays.without_relays(&mount("/a"), 1), 0, "they have left since");
        assert_eq!(relays.without_relays(&mount("/c"), 7), 7, "it was gone and is new");
    }
}
