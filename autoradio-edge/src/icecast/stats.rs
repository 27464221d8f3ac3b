//! What Icecast says of its listeners, read from the XML of its admin pages. Pure.

use std::net::IpAddr;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::cluster::MountPath;

/// Listeners of each mount in `/admin/stats`, relays of other Icecasts included. Mounts without listeners are left out, and so are
/// names that no mount of the cluster can have.
pub(super) fn listeners_by_mount(xml: &str) -> Result<Vec<(MountPath, u64)>, quick_xml::Error> {
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

/// Addresses of the listeners in `/admin/listclients`, one for each connection.
pub(super) fn addresses(xml: &str) -> Result<Vec<IpAddr>, quick_xml::Error> {
    let mut addresses = Vec::new();
    visit(xml, |element, text| {
        if let Element::End("IP") = element {
            // An IPv4 client of a socket for both families has its address in the form of the other.
            addresses.extend(text.parse::<IpAddr>().map(|address| address.to_canonical()));
        }
    })?;
    Ok(addresses)
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
            Event::End(end) => {
                see(Element::End(end.name().as_ref()), text.trim());
                text.clear();
            }
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
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
    fn addresses_are_read_one_for_each_connection() {
        let xml = "<?xml version=\"1.0\"?>\n<icestats><source mount=\"/a\"><Listeners>3</Listeners>\
            <listener><IP>198.18.0.7</IP><UserAgent>x&lt;y&gt;</UserAgent><ID>1</ID></listener>\
            <listener><IP>::ffff:198.18.0.7</IP><ID>2</ID></listener>\
            <listener><IP>fd00::7</IP><ID>3</ID></listener></source></icestats>";
        let want: [IpAddr; 3] =
            ["198.18.0.7", "198.18.0.7", "fd00::7"].map(|it| it.parse().expect("address"));
        assert_eq!(addresses(xml).expect("XML"), want);
    }
}
