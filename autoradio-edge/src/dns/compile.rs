//! The zone compiler: turns a [`Placement`] into the [`Zone`] that the kernel and userspace answer from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use autoradio_common::limits::VARIANTS_PER_NAME_MAX;

use super::DnsError;
use super::name::WireName;
use super::record::{Owner, Soa, push_address, push_any_hinfo, push_ns, push_soa};
use super::slots::share_out;
use super::zone::{Answer, NameSets, RecordSet, Zone, rcode};
use crate::cluster::{MountPath, NodeName};
use crate::placement::{PlacedMount, PlacedNode, Placement, WEIGHT_FULL};

/// Seconds that an answer which follows the cluster's state may be kept.
pub const TTL_DYNAMIC: u32 = 10;
/// Seconds that a name server or a node's own address may be kept.
pub const TTL_STATIC: u32 = 3_600;
/// Name servers of the zone, unless the operator names them: few, so that glue stays true.
const NAMESERVERS_DEFAULT: usize = 3;
/// The label above the mounts' names.
const SOURCE_LABEL: &str = "source";

/// What the operator decides about the zone.
#[derive(Clone, Debug)]
pub struct ZoneSettings {
    /// The zone's name.
    pub apex: WireName,
    /// Most addresses in one answer, 1 and up.
    pub answers_max: usize,
    /// Name servers; empty: the first three nodes in name order.
    pub nameservers: Vec<WireName>,
}

impl ZoneSettings {
    /// Checks and reads the operator's words.
    pub fn new(domain: &str, answers_max: usize, servers: &[String]) -> Result<Self, DnsError> {
        let nameservers =
            servers.iter().map(|name| WireName::parse(name)).collect::<Result<_, _>>()?;
        Ok(Self { apex: WireName::parse(domain)?, answers_max, nameservers })
    }
}

/// A family of addresses.
#[derive(Clone, Copy)]
struct Family {
    holds: fn(&IpAddr) -> bool,
}

const V4: Family = Family { holds: IpAddr::is_ipv4 };
const V6: Family = Family { holds: IpAddr::is_ipv6 };

/// A node that may stand in an answer: its first address of a family, and its weight.
struct Candidate {
    address: IpAddr,
    weight: u32,
}

/// Compiles the zone. Never fails: a placement without nodes gives a zone without addresses.
pub fn compile(placement: &Placement, settings: &ZoneSettings) -> Zone {
    let mut builder = Builder::new(placement, settings);
    builder.add_apex();
    for (name, node) in &placement.nodes {
        builder.add_node(name, node);
    }
    let source = settings.apex.child(SOURCE_LABEL);
    builder.name(&source);
    for (path, mount) in &placement.mounts {
        let master = mount.master.as_ref().and_then(|master| placement.nodes.get(&master.node));
        builder.add_source(&source.child(&path.label()), master);
    }
    builder.finish()
}

/// Whether both placements compile to the same zone but for its serial number. Much cheaper than to compile both.
pub fn same_zone(before: &Placement, after: &Placement) -> bool {
    let same_node = |((name, node), (other_name, other)): (NodeEntry<'_>, NodeEntry<'_>)| {
        name == other_name
            && node.weight == other.weight
            && node.draining == other.draining
            && node.record.addresses == other.record.addresses
    };
    let same_mount = |((path, mount), (other_path, other)): (MountEntry<'_>, MountEntry<'_>)| {
        path == other_path && master_of(mount) == master_of(other)
    };
    before.nodes.len() == after.nodes.len()
        && before.mounts.len() == after.mounts.len()
        && before.nodes.iter().zip(&after.nodes).all(same_node)
        && before.mounts.iter().zip(&after.mounts).all(same_mount)
}

fn master_of(mount: &PlacedMount) -> Option<&NodeName> {
    mount.master.as_ref().map(|master| &master.node)
}

type NodeEntry<'a> = (&'a NodeName, &'a PlacedNode);
type MountEntry<'a> = (&'a MountPath, &'a PlacedMount);

struct Builder<'a> {
    settings: &'a ZoneSettings,
    soa: Soa,
    nameservers: Vec<WireName>,
    names: HashMap<WireName, NameSets>,
    /// What all names share that mean any node: made once, since each variant of it is bytes of its own.
    crowd: NameSets,
}

impl<'a> Builder<'a> {
    fn new(placement: &Placement, settings: &'a ZoneSettings) -> Self {
        let apex = &settings.apex;
        let mut nameservers = settings.nameservers.clone();
        if nameservers.is_empty() {
            let first = placement.nodes.keys().take(NAMESERVERS_DEFAULT);
            nameservers = first.map(|node| apex.child(node.as_str())).collect();
        }
        let soa = Soa {
            primary: nameservers.first().unwrap_or(apex).clone(),
            mailbox: apex.child("hostmaster"),
            // Serial numbers wrap (RFC 1982); the low bits of the revision are as good as any.
            serial: (placement.revision & 0xffff_ffff) as u32,
            negative_ttl: TTL_DYNAMIC,
        };
        let crowd = crowd(placement, settings.answers_max);
        Self { settings, soa, nameservers, names: HashMap::new(), crowd }
    }

    /// What is answered about a name, which exists from now on.
    fn name(&mut self, name: &WireName) -> &mut NameSets {
        self.names.entry(name.clone()).or_default()
    }

    fn add_apex(&mut self) {
        let mut soa = Answer { answers: 1, ..Answer::default() };
        push_soa(&mut soa.bytes, Owner::Question, TTL_STATIC, &self.soa);
        let mut ns = Answer { answers: self.nameservers.len() as u16, ..Answer::default() };
        for server in &self.nameservers {
            push_ns(&mut ns.bytes, Owner::Question, TTL_STATIC, server);
        }
        let (apex, crowd) = (&self.settings.apex, self.crowd.clone());
        *self.name(apex) = NameSets { ns: fixed(ns), soa: fixed(soa), ..crowd };
    }

    fn add_node(&mut self, name: &NodeName, node: &PlacedNode) {
        let name = self.settings.apex.child(name.as_str());
        *self.name(&name) = addresses(&node.record.addresses, TTL_STATIC);
    }

    /// A mount's source name: its master, or any node while nobody holds the mount, since every front takes sources.
    fn add_source(&mut self, name: &WireName, master: Option<&PlacedNode>) {
        let of_master = |node: &PlacedNode| addresses(&node.record.addresses, TTL_DYNAMIC);
        let sets = master.map_or_else(|| self.crowd.clone(), of_master);
        *self.name(name) = sets;
    }

    fn finish(self) -> Zone {
        let mut any = Answer { answers: 1, ..Answer::default() };
        push_any_hinfo(&mut any.bytes, TTL_STATIC);
        let negative = |rcode| {
            let mut answer = Answer { rcode, authorities: 1, ..Answer::default() };
            let owner = Owner::Name(&self.settings.apex);
            push_soa(&mut answer.bytes, owner, TTL_DYNAMIC, &self.soa);
            answer
        };
        Zone {
            apex: self.settings.apex.clone(),
            serial: self.soa.serial,
            any: RecordSet::fixed(any),
            no_data: negative(rcode::NO_ERROR),
            nx_domain: negative(rcode::NX_DOMAIN),
            names: self.names,
        }
    }
}

/// A set with one answer, unless that has no records.
fn fixed(answer: Answer) -> Option<Arc<RecordSet>> {
    (answer.answers > 0).then(|| Arc::new(RecordSet::fixed(answer)))
}

/// All addresses of a node.
fn addresses(addresses: &[IpAddr], ttl: u32) -> NameSets {
    let set = |family: Family| {
        let mut answer = Answer::default();
        for address in addresses.iter().filter(|address| (family.holds)(address)) {
            push_address(&mut answer.bytes, Owner::Question, ttl, *address);
            answer.answers += 1;
        }
        fixed(answer)
    };
    NameSets { a: set(V4), aaaa: set(V6), ..NameSets::default() }
}

/// The addresses that listeners get: nodes drawn by weight.
fn crowd(placement: &Placement, answers_max: usize) -> NameSets {
    let set = |family: Family| {
        let candidates = candidates(placement, family);
        (!candidates.is_empty()).then(|| Arc::new(weighted_set(&candidates, answers_max)))
    };
    NameSets { a: set(V4), aaaa: set(V6), ..NameSets::default() }
}

/// The nodes that may stand in such an answer: none without weight, and of too many the heaviest.
///
/// Fails open for each family by itself, since whoever has only IPv4 is not helped by a node with headroom on IPv6: if nobody
/// in the family has weight, its nodes that do not drain weigh the same; if all drain, all do.
fn candidates(placement: &Placement, family: Family) -> Vec<Candidate> {
    let of_family: Vec<(IpAddr, &PlacedNode)> = placement
        .nodes
        .values()
        .filter_map(|node| {
            let address = node.record.addresses.iter().copied().find(|a| (family.holds)(a))?;
            Some((address, node))
        })
        .collect();
    let chosen = |weight: fn(&PlacedNode) -> u32| -> Vec<Candidate> {
        let candidate = |(address, node): &(IpAddr, &PlacedNode)| Candidate {
            address: *address,
            weight: weight(node),
        };
        of_family.iter().map(candidate).filter(|one| one.weight > 0).collect()
    };
    let mut candidates = chosen(|node| node.weight);
    if candidates.is_empty() {
        candidates = chosen(|node| if node.draining { 0 } else { WEIGHT_FULL });
    }
    if candidates.is_empty() {
        candidates = chosen(|_| WEIGHT_FULL);
    }
    // A stable sort: equal weights stay in name order on every node.
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.weight));
    candidates.truncate(VARIANTS_PER_NAME_MAX);
    candidates
}

/// One variant per candidate: the candidate first, then those behind it in the ring, up to `answers_max`.
fn weighted_set(candidates: &[Candidate], answers_max: usize) -> RecordSet {
    let count = answers_max.min(candidates.len());
    let variant = |first: usize| {
        let mut answer = Answer { answers: count as u16, ..Answer::default() };
        for offset in 0..count {
            let candidate = &candidates[(first + offset) % candidates.len()];
            push_address(&mut answer.bytes, Owner::Question, TTL_DYNAMIC, candidate.address);
        }
        answer
    };
    let weights: Vec<u32> = candidates.iter().map(|candidate| candidate.weight).collect();
    RecordSet { variants: (0..candidates.len()).map(variant).collect(), slots: share_out(&weights) }
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
