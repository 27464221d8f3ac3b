//! A fan-out thread: writes to its share of the listeners, a mount at a time, in ticks.
//!
//! It never blocks on a socket and holds no lock while it writes. One write costs much the same however many bytes it has, so
//! with many listeners the ticks are longer. Mounts have their ticks at different moments.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use autoradio_common::limits::{
    STREAM_MOVE_MS_MAX, STREAM_TICK_LISTENERS, STREAM_TICK_MS_MAX, STREAM_TICK_MS_MIN,
};
use metrics::Counter;
use tokio::sync::mpsc;
use tracing::warn;

use super::listener::{Listener, Why};
use crate::clock;
use crate::stream::channel::{Channel, Ended, Phase, Use};

/// Pause of a thread without listeners, unless it is told something.
const IDLE_MS: u64 = 3_600_000;
/// Listeners that are taken in between two looks at the clock.
const JOINS_MAX: usize = 64;

/// What a thread is told.
pub(in crate::stream) enum Command {
    /// One more listener, of its channel.
    Join(Box<Listener>),
    /// Its listeners of one channel go to another one.
    Move(Arc<Channel>, Use),
    /// All its listeners are closed, and it ends.
    Stop,
}

/// The thread's listeners of one channel.
struct Group {
    channel: Arc<Channel>,
    listeners: Vec<Listener>,
    /// When the next tick is due, in milliseconds of the boot-time clock.
    due_ms: u64,
    /// Where they go as soon as it plays, until when that is tried.
    moving: Option<(Use, u64)>,
}

/// Runs until it is told to stop, or nobody is left to tell it.
pub(super) fn run(commands: &Receiver<Command>, ended: Option<&mpsc::Sender<Ended>>) {
    let mut shard = Shard { groups: Vec::new(), counters: Counters::new(), ended };
    loop {
        let now_ms = clock::boot_ms();
        let due_ms = shard.groups.iter().map(|group| group.due_ms).min();
        let pause_ms = due_ms.map_or(IDLE_MS, |due_ms| due_ms.saturating_sub(now_ms));
        match commands.recv_timeout(Duration::from_millis(pause_ms)) {
            Ok(command) => {
                let more = commands.try_iter().take(JOINS_MAX);
                for command in std::iter::once(command).chain(more) {
                    match command {
                        Command::Join(listener) => shard.join(*listener),
                        Command::Move(from, to) => shard.plan_move(&from, to),
                        Command::Stop => return shard.close_all(),
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return shard.close_all(),
        }
        shard.tick();
    }
}

struct Shard<'a> {
    groups: Vec<Group>,
    counters: Counters,
    ended: Option<&'a mpsc::Sender<Ended>>,
}

/// Handles to what is counted at every tick.
struct Counters {
    bytes: Counter,
    skips: Counter,
}

impl Counters {
    fn new() -> Self {
        Self {
            bytes: metrics::counter!("autoradio_http_listener_bytes_total"),
            skips: metrics::counter!("autoradio_stream_skips_total"),
        }
    }
}

impl Shard<'_> {
    fn join(&mut self, listener: Listener) {
        let channel = listener.member.channel().clone();
        self.group(&channel).listeners.push(listener);
    }

    fn group(&mut self, channel: &Arc<Channel>) -> &mut Group {
        let known = self.groups.iter().position(|group| Arc::ptr_eq(&group.channel, channel));
        let index = known.unwrap_or_else(|| {
            self.groups.push(Group {
                channel: channel.clone(),
                listeners: Vec::new(),
                due_ms: first_tick_ms(channel, clock::boot_ms()),
                moving: None,
            });
            self.groups.len() - 1
        });
        &mut self.groups[index]
    }

    fn plan_move(&mut self, from: &Arc<Channel>, to: Use) {
        let until_ms = clock::boot_ms() + STREAM_MOVE_MS_MAX;
        if let Some(group) = self.groups.iter_mut().find(|it| Arc::ptr_eq(&it.channel, from)) {
            group.moving = Some((to, until_ms));
        }
    }

    /// Has every group do its tick that is due.
    fn tick(&mut self) {
        let listeners = self.groups.iter().map(|group| group.listeners.len()).sum();
        let tick_ms = tick_ms(listeners);
        let mut moved = Vec::new();
        for group in &mut self.groups {
            let now_ms = clock::boot_ms();
            if group.due_ms > now_ms {
                continue;
            }
            // One that is late does not catch up: the next write has more.
            group.due_ms = (group.due_ms + tick_ms).max(now_ms + tick_ms / 2);
            group.write(now_ms, &self.counters, self.ended);
            moved.extend(group.move_on(now_ms));
        }
        for listener in moved {
            self.join(listener);
        }
        self.groups.retain(|group| !group.listeners.is_empty());
    }

    fn close_all(self) {
        for listener in self.groups.into_iter().flat_map(|group| group.listeners) {
            end(listener, Why::StreamEnded, self.ended);
        }
    }
}

impl Group {
    /// Writes what is new to every listener, and closes those that are to go.
    fn write(&mut self, now_ms: u64, counters: &Counters, ended: Option<&mpsc::Sender<Ended>>) {
        // In this order: what was appended before the end is written.
        let over = self.channel.has_ended();
        let view = self.channel.view.load_full();
        let burst_bytes = self.channel.burst_bytes.load(std::sync::atomic::Ordering::Relaxed);
        let (mut bytes, mut skips, mut index) = (0, 0, 0);
        while let Some(listener) = self.listeners.get_mut(index) {
            let ticked = listener.tick(&view, burst_bytes, now_ms);
            bytes += ticked.bytes;
            skips += u64::from(ticked.skipped);
            match ticked.over.or(over.then_some(Why::StreamEnded)) {
                None => index += 1,
                Some(why) => {
                    let listener = self.listeners.swap_remove(index);
                    // The last of them counts for all.
                    if self.listeners.is_empty() {
                        listener.seat.sent(std::mem::take(&mut bytes));
                    }
                    end(listener, why, ended);
                }
            }
        }
        if let Some(any) = self.listeners.first() {
            any.seat.sent(bytes);
        }
        counters.bytes.increment(bytes);
        counters.skips.increment(skips);
    }

    /// The listeners, if they go to another channel and it plays. They end their frames first.
    fn move_on(&mut self, now_ms: u64) -> Vec<Listener> {
        let Some((to, until_ms)) = self.moving.take() else { return Vec::new() };
        let (from, phase) = (&self.channel, to.0.phase.borrow().clone());
        let why = match (phase, from.told.get()) {
            (Phase::Playing(head), Some(told)) if told.is_like(&head) => None,
            (Phase::Playing(_), _) => Some("it is of another type"),
            _ if now_ms >= until_ms => Some("it does not play"),
            _ => {
                self.moving = Some((to, until_ms));
                return Vec::new();
            }
        };
        if let Some(why) = why {
            warn!(from = %from.mount, to = %to.0.mount, why, "listeners stay with their mount");
            return Vec::new();
        }
        let view = from.view.load_full();
        let mut moved = std::mem::take(&mut self.listeners);
        for listener in &mut moved {
            listener.cursor.leave(&view);
            listener.member.move_to(to.again());
            listener.seat.move_to(&to.0.mount);
        }
        moved
    }
}

/// Closes a listener, counted and logged.
fn end(listener: Listener, why: Why, ended: Option<&mpsc::Sender<Ended>>) {
    metrics::counter!("autoradio_stream_closed_total", "why" => why.label()).increment(1);
    listener.member.log(ended, clock::now(), clock::unix_s());
    listener.close();
}

/// Time between two ticks for so many listeners, in milliseconds.
fn tick_ms(listeners: usize) -> u64 {
    let share = listeners as u64 * STREAM_TICK_MS_MIN / STREAM_TICK_LISTENERS;
    share.clamp(STREAM_TICK_MS_MIN, STREAM_TICK_MS_MAX)
}

/// A moment of its own within the tick for each mount.
fn first_tick_ms(channel: &Channel, now_ms: u64) -> u64 {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&channel.mount);
    let phase_ms = hash % STREAM_TICK_MS_MIN;
    let next_ms = now_ms - now_ms % STREAM_TICK_MS_MIN + phase_ms;
    if next_ms < now_ms { next_ms + STREAM_TICK_MS_MIN } else { next_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_longer_for_a_crowd_and_mounts_have_theirs_at_different_moments() {
        for (listeners, want_ms) in
            [(0, 250), (500, 250), (1_000, 500), (2_000, 1_000), (9_000, 1_000)]
        {
            assert_eq!(tick_ms(listeners), want_ms, "{listeners}");
        }
        let first = |path: &str| {
            let channel = Channel::new(path.parse().expect("a mount path"));
            let due_ms = first_tick_ms(&channel, 10_100);
            assert!((10_100..10_100 + STREAM_TICK_MS_MIN).contains(&due_ms), "{due_ms}");
            due_ms
        };
        let moments: std::collections::HashSet<u64> =
            (0..20).map(|number| first(&format!("/{number}"))).collect();
        assert!(moments.len() > 10, "{moments:?}");
    }
}
