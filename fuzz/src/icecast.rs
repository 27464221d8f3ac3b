//! What an Icecast says of its listeners and sources.

use autoradio_edge::icecast::{listener_addresses, listeners_by_mount, sources};

/// Any XML is read or refused, and every mount that is told has listeners.
pub(crate) fn stats(data: &[u8]) {
    let Ok(xml) = std::str::from_utf8(data) else {
        return;
    };
    for (mount, listeners) in listeners_by_mount(xml).unwrap_or_default() {
        assert!(listeners > 0, "{mount} without listeners");
    }
    for (mount, _) in sources(xml).unwrap_or_default() {
        assert!(mount.as_str().starts_with('/'), "{mount}");
    }
    for address in listener_addresses(xml).unwrap_or_default() {
        assert_eq!(address, address.to_canonical(), "addresses are told in one form");
    }
}
