//! Who listens, for the operator: listed, closed, moved to another mount.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::shard::Command;
use super::upstream::Upstream;
use crate::clock;
use crate::cluster::MountPath;
use crate::stream::channel::ListenerView;
use crate::stream::hub::Hub;

impl Hub {
    /// All who listen on this node, by the time they came.
    pub fn listeners(&self) -> Vec<ListenerView> {
        let now = clock::now();
        let mut views: Vec<ListenerView> = Vec::new();
        for channel in self.all_channels() {
            views.extend(channel.members().values().map(|visit| visit.view(&channel.mount, now)));
        }
        views.sort_unstable_by_key(|view| view.id);
        views
    }

    /// Closes a listener at the next tick. False if there is none of this number.
    pub fn close(&self, id: u64) -> bool {
        self.all_channels().iter().any(|channel| {
            let members = channel.members();
            let visit = members.get(&id);
            visit.inspect(|visit| visit.close.store(true, Ordering::Relaxed)).is_some()
        })
    }

    /// Has all who listen to one mount hear another one, as soon as it plays and if it is of the same type. Says how many they
    /// are; `None` if nobody has listened to the first one, there is no such other one, or it is known to be of another type.
    pub fn move_all(self: &Arc<Self>, from: &MountPath, to: &MountPath) -> Option<usize> {
        let source = self.channels().get(from)?.clone();
        if from == to || !self.placements.borrow().mounts.contains_key(to) {
            return None;
        }
        let (target, new) = self.channel(to);
        if new {
            let upstream = Upstream::new(self.clone(), target.0.clone());
            self.upstreams.spawn(upstream.run());
        }
        let types = source.told.get().zip(target.0.told.get());
        if types.is_some_and(|(one, other)| !one.is_like(other)) {
            return None;
        }
        self.command_all(|| Command::Move(source.clone(), target.again()));
        let listeners = source.members().len();
        Some(listeners)
    }
}
