//! Pages to test with. Pure.

use super::page::{Capture, capture, seal};

/// This page with a checksum that is right.
pub(in super::super) fn sealed(page: &[u8]) -> Vec<u8> {
    let mut page = page.to_vec();
    page[22..26].fill(0);
    seal(&mut page);
    page
}

/// Serial number, sequence number, flags and granule of each page, which must all be whole and right.
pub(in super::super) fn pages(bytes: &[u8]) -> Vec<(u32, u32, u8, u64)> {
    let pages: Vec<_> = super::Page::all(bytes).collect();
    assert_eq!(
        pages.iter().map(|page| page.bytes().len()).sum::<usize>(),
        bytes.len(),
        "pages only"
    );
    for page in &pages {
        assert_eq!(capture(page.bytes()), Capture::Whole(page.bytes().len()), "{:?}", page.id());
    }
    let told = pages.iter().map(|page| {
        (page.serial(), page.sequence(), page.bytes()[5], page.granule().unwrap_or(u64::MAX))
    });
    told.collect()
}
