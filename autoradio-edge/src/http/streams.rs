//! What plays on the whole cluster, put together from what nodes report. Pure.

use std::collections::BTreeMap;

use crate::cluster::{MountPath, MountRecord};
use crate::placement::{PlacedMount, Placement};

/// A mount that plays, as the cluster has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Playing<'a> {
    /// The mount.
    pub(super) mount: &'a MountPath,
    /// The operator's settings.
    pub(super) record: &'a MountRecord,
    /// Since when, in seconds of Unix time.
    pub(super) since_unix_s: u64,
    /// What describes it, by Icecast's names.
    pub(super) fields: BTreeMap<&'a str, &'a str>,
    /// Listeners on all nodes.
    pub(super) listeners: u64,
    /// Of them, those that differ in address or `User-Agent`; one who listens at two nodes counts twice.
    pub(super) unique: u64,
    /// The most at one time since it began.
    pub(super) peak: u64,
}

impl Playing<'_> {
    /// Its media type without parameters, in lower case.
    pub(super) fn media_type(&self) -> String {
        let text = self.fields.get("server_type").copied().unwrap_or_default();
        let bare = text.split(';').next().unwrap_or_default();
        bare.trim().to_ascii_lowercase()
    }
}

/// All mounts that play, by path.
pub(super) fn all(placement: &Placement) -> Vec<Playing<'_>> {
    let counts = Counts::of(placement);
    let mounts = placement.mounts.iter();
    mounts.filter_map(|(mount, placed)| playing(placement, mount, placed, &counts)).collect()
}

/// One mount, if it plays.
pub(super) fn one<'a>(placement: &'a Placement, mount: &MountPath) -> Option<Playing<'a>> {
    let (mount, placed) = placement.mounts.get_key_value(mount)?;
    playing(placement, mount, placed, &Counts::of(placement))
}

/// Figures summed over all nodes that live: one pass, however many mounts there are.
#[derive(Default)]
struct Counts<'a> {
    listeners: BTreeMap<&'a MountPath, u64>,
    /// How many of them are the same as another one.
    repeated: BTreeMap<&'a MountPath, u64>,
    peaks: BTreeMap<&'a MountPath, u64>,
}

impl<'a> Counts<'a> {
    fn of(placement: &'a Placement) -> Self {
        let mut counts = Self::default();
        for load in placement.loads() {
            for (mount, listeners) in &load.mounts {
                *counts.listeners.entry(mount).or_default() += listeners;
                let unique = load.unique.get(mount).unwrap_or(listeners);
                *counts.repeated.entry(mount).or_default() += listeners.saturating_sub(*unique);
            }
            for (mount, peak) in &load.peaks {
                let most = counts.peaks.entry(mount).or_default();
                *most = (*most).max(*peak);
            }
        }
        counts
    }
}

fn playing<'a>(
    placement: &'a Placement,
    mount: &'a MountPath,
    placed: &'a PlacedMount,
    counts: &Counts<'_>,
) -> Option<Playing<'a>> {
    let (since_unix_s, mut fields) = described(placement, mount, placed)?;
    let record = &*placed.record;
    for (name, text) in [
        ("server_name", &record.name),
        ("server_description", &record.description),
        ("genre", &record.genre),
        ("server_url", &record.url),
    ] {
        if let Some(text) = text {
            fields.insert(name, text);
        }
    }
    let count = |map: &BTreeMap<&MountPath, u64>| map.get(mount).copied().unwrap_or(0);
    let listeners = count(&counts.listeners);
    let unique = listeners.saturating_sub(count(&counts.repeated));
    let peak = count(&counts.peaks).max(listeners);
    Some(Playing { mount, record, since_unix_s, fields, listeners, unique, peak })
}

/// What the master's Icecast says of the stream. Before it does, or where it had too much to say, what the front that has the source
/// knows, with Icecast's words for the rest.
fn described<'a>(
    placement: &'a Placement,
    mount: &MountPath,
    placed: &'a PlacedMount,
) -> Option<(u64, BTreeMap<&'a str, &'a str>)> {
    if let Some(stream) = placement.stream(mount) {
        let fields = stream.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        return Some((stream.since_unix_s, fields.collect()));
    }
    let source = &placed.source.as_ref()?.record;
    let fields = [
        ("genre", "various"),
        ("server_description", "Unspecified description"),
        ("server_name", "Unspecified name"),
        ("server_type", source.content_type.as_str()),
    ];
    Some((source.since_unix_s, fields.into()))
}
