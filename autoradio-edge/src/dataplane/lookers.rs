//! Who looks at queries, and what the kernel is told of them. Pure.

use std::collections::BTreeMap;

use autoradio_common::settings::TraceFilter;
use autoradio_common::zone::NAME_KEY_BYTES;

use super::DataplaneError;
use crate::dns::WireName;

/// A name as the kernel compares it, zero-filled; all zero: every one.
pub type TracedName = [u8; NAME_KEY_BYTES];

/// Most who look at one time: each is an operator at a terminal.
const LOOKERS_MAX: usize = 16;

/// Everybody who looks, by number, with the name each looks for.
#[derive(Debug, Default)]
pub struct Lookers {
    last: u64,
    names: BTreeMap<u64, TracedName>,
}

impl Lookers {
    /// Lets one more look; its number, unless there are too many.
    pub fn enter(&mut self, name: TracedName) -> Option<u64> {
        if self.names.len() >= LOOKERS_MAX {
            return None;
        }
        self.last += 1;
        self.names.insert(self.last, name);
        Some(self.last)
    }

    /// Lets one go.
    pub fn leave(&mut self, number: u64) {
        self.names.remove(&number);
    }

    /// Whether nobody looks.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// What the kernel shows: the one name that all look for, or every name where they differ; nothing to nobody.
    pub fn filter(&self, until_ns: u64) -> TraceFilter {
        let mut names = self.names.values();
        let first = names.next().copied();
        let name_lower = first.filter(|first| names.all(|name| name == first));
        TraceFilter {
            until_ns: if first.is_some() { until_ns } else { 0 },
            name_lower: name_lower.unwrap_or([0; NAME_KEY_BYTES]),
        }
    }
}

/// A name as people write it, as the kernel compares it; none: every one.
///
/// [`DataplaneError::TracedName`] where it is no name, or longer than those that the kernel looks at.
pub fn traced_name(name: Option<&str>) -> Result<TracedName, DataplaneError> {
    let mut traced = [0; NAME_KEY_BYTES];
    let Some(text) = name else { return Ok(traced) };
    let wrong = || DataplaneError::TracedName { name: text.to_owned() };
    let wire = WireName::parse(text).map_err(|_| wrong())?;
    let bytes = wire.as_bytes();
    // The last byte of a key is not the name's; the root alone would mean every name.
    if bytes.len() >= NAME_KEY_BYTES || bytes.len() < 2 {
        return Err(wrong());
    }
    traced[..bytes.len()].copy_from_slice(bytes);
    Ok(traced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_shows_what_all_who_look_have_in_common() {
        let name = |text| traced_name(Some(text)).expect("a name");
        let mut lookers = Lookers::default();
        assert_eq!(lookers.filter(7).until_ns, 0, "nobody looks");
        let first = lookers.enter(name("Radio.test")).expect("room");
        assert_eq!(lookers.filter(7), TraceFilter { until_ns: 7, name_lower: name("radio.test") });
        let same = lookers.enter(name("radio.test.")).expect("room");
        assert_eq!(lookers.filter(8).name_lower, name("radio.test"), "two for one name");
        let other = lookers.enter(name("other.test")).expect("room");
        assert_eq!(lookers.filter(9).name_lower, [0; NAME_KEY_BYTES], "every name");
        lookers.leave(first);
        lookers.leave(same);
        assert_eq!(lookers.filter(9).name_lower, name("other.test"));
        lookers.leave(other);
        assert!(lookers.is_empty());
        for _ in 0..LOOKERS_MAX {
            assert!(lookers.enter(name("a")).is_some());
        }
        assert_eq!(lookers.enter(name("a")), None, "too many");
    }

    #[test]
    fn names_that_the_kernel_never_sees_are_refused() {
        assert_eq!(traced_name(None).expect("every name"), [0; NAME_KEY_BYTES]);
        let label = "x".repeat(30);
        assert!(traced_name(Some(&format!("{label}.{label}"))).is_ok(), "63 bytes");
        for name in [format!("{label}.{label}y"), "a..b".to_owned(), ".".to_owned(), String::new()]
        {
            let refused = traced_name(Some(&name)).expect_err(&name).to_string();
            assert!(refused.contains("61 characters"), "{refused}");
        }
    }
}
