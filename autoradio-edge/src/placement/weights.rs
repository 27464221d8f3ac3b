//! Weights: what share of new listeners a node gets, and how fast that may change.

use super::WEIGHT_FULL;
use super::utilisation::WHOLE_PPM;

/// Most that a weight moves in a second: a node goes from nothing to its full share in ten, the TTL of the answers that
/// bring listeners. Faster, resolvers that still hold the last answer would make weights swing.
pub const WEIGHT_STEP_PER_S: u32 = WEIGHT_FULL / 10;
/// Least change of a weight that is worth a new zone.
pub const WEIGHT_QUANTUM: u32 = WEIGHT_FULL / 100;
/// Least time between two moves of the weights, in milliseconds: less than the second after which the next is due, so
/// that a timer that comes early loses none.
const MOVE_PAUSE_MS: u64 = 900;
/// A node that was full takes listeners again below this share of its capacity, in parts per million.
const FULL_UNTIL_PPM: u64 = 950_000;

/// Whether a node is full. One that was stays full until some of its listeners have left, so that it does not flap.
pub(super) fn is_full(used_ppm: u64, was_full: bool) -> bool {
    used_ppm >= if was_full { FULL_UNTIL_PPM } else { WHOLE_PPM }
}

/// The weight of a node with `room` where the largest node carries `scale`: `1..=WEIGHT_FULL`, 0 without room.
pub(super) fn target(room: u64, scale: u64) -> u32 {
    if room == 0 {
        return 0;
    }
    let weight = u128::from(room) * u128::from(WEIGHT_FULL) / u128::from(scale.max(1));
    u32::try_from(weight).unwrap_or(WEIGHT_FULL).clamp(1, WEIGHT_FULL)
}

/// A weight on its way from `before` to `target`, at most `step` further. Zero is reached at once.
pub(super) fn damped(before: u32, target: u32, step: u32) -> u32 {
    let near = before > 0 && before.abs_diff(target) < WEIGHT_QUANTUM;
    match target {
        0 => 0,
        _ if near => before,
        _ if target > before => target.min(before.saturating_add(step)),
        _ => target.max(before.saturating_sub(step)),
    }
}

/// Says how far weights may move, and notes when they did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    moved_at_ms: Option<u64>,
}

impl Pace {
    /// The step that is due at `now_ms`: 0 if the last was a moment ago.
    pub(super) fn step(&mut self, now_ms: u64) -> u32 {
        let Some(moved_at_ms) = self.moved_at_ms else {
            self.moved_at_ms = Some(now_ms);
            return 0;
        };
        let elapsed_ms = now_ms.saturating_sub(moved_at_ms);
        if elapsed_ms < MOVE_PAUSE_MS {
            return 0;
        }
        self.moved_at_ms = Some(now_ms);
        let step = u64::from(WEIGHT_STEP_PER_S).saturating_mul(elapsed_ms) / 1_000;
        u32::try_from(step).unwrap_or(WEIGHT_FULL).min(WEIGHT_FULL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_node_stays_full_until_some_have_left() {
        for (used_ppm, was_full, want) in [
            (999_999, false, false),
            (1_000_000, false, true),
            (950_000, true, true),
            (949_999, true, false),
        ] {
            assert_eq!(is_full(used_ppm, was_full), want, "{used_ppm} {was_full}");
        }
    }

    #[test]
    fn weights_follow_room_and_never_vanish_while_there_is_some() {
        for (room, scale, want) in
            [(0, 100, 0), (1, 1_000_000, 1), (50, 100, 500), (100, 100, 1_000), (200, 100, 1_000)]
        {
            assert_eq!(target(room, scale), want, "{room} of {scale}");
        }
    }

    #[test]
    fn small_changes_wait_until_they_matter() {
        assert_eq!(damped(500, 509, 100), 500);
        assert_eq!(damped(500, 510, 100), 510);
        assert_eq!(damped(0, 5, 100), 5, "from nothing, every bit matters");
        assert_eq!(damped(5, 0, 0), 0, "and to nothing too");
    }

    #[test]
    fn steps_come_once_a_second_and_in_proportion_to_time() {
        let mut pace = Pace::default();
        let steps = [0, 500, 1_000, 1_899, 1_900, 4_900, 1_000_000].map(|now| pace.step(now));
        assert_eq!(steps, [0, 0, 100, 0, 90, 300, 1_000]);
    }

    proptest! {
        #[test]
        fn no_weight_moves_by_more_than_the_step_except_to_zero(
            before in 0..=WEIGHT_FULL, target in 0..=WEIGHT_FULL, step in 0..=WEIGHT_FULL,
        ) {
            let after = damped(before, target, step);
            prop_assert!(target == 0 || before.abs_diff(after) <= step);
            prop_assert!(target != 0 || after == 0);
            let low = before.min(target);
            prop_assert!((low..=before.max(target)).contains(&after), "never past the target");
        }
    }
}
