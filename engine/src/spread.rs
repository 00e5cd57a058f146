//! How many values were how large: counts by classes that grow with the value, so that any quantile is known to a sixteenth.
//!
//! Owns the classes. What is counted by them, and when, is somebody else's.

use std::sync::atomic::{AtomicU64, Ordering};

/// Classes in each doubling: 8.
const PARTS_BITS: u32 = 3;
const PARTS: u64 = 1 << PARTS_BITS;
/// Values from two to the power of this on are one class: in microseconds, 19 hours.
const TOP_BITS: u32 = 36;
/// The last one is for what is larger than all others.
const CLASSES: usize = ((TOP_BITS - PARTS_BITS + 1) as usize) << PARTS_BITS | 1;

/// The class of a value: up to 8 each value is one, from there on an eighth of a doubling is.
fn class_of(value: u64) -> usize {
    let bits = value.checked_ilog2().unwrap_or_default();
    if bits < PARTS_BITS {
        return usize::try_from(value).unwrap_or_default();
    }
    if bits >= TOP_BITS {
        return CLASSES - 1;
    }
    let part = value >> (bits - PARTS_BITS) & (PARTS - 1);
    (((bits - PARTS_BITS + 1) << PARTS_BITS) as usize) + usize::try_from(part).unwrap_or_default()
}

/// The middle of a class.
fn middle_of(class: u16) -> u64 {
    let (class, parts) = (u64::from(class), PARTS);
    if class < parts {
        return class;
    }
    let (doubling, part) = (class / parts - 1, class % parts);
    let width = 1_u64 << doubling;
    (parts + part) * width + width / 2
}

/// Counts that many threads raise. None waits for another.
pub(crate) struct Counts([AtomicU64; CLASSES]);

impl Default for Counts {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; CLASSES])
    }
}

impl Counts {
    /// One more of this value.
    pub(crate) fn add(&self, value: u64) {
        self.0[class_of(value)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Spread {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        let classes = (0..).zip(counts).filter(|(_, count)| *count > 0);
        Spread { counts: classes.collect() }
    }
}

/// How values are spread: how many there were, and how large each part of them was. It is told with each that is one what its values
/// are, times in microseconds among them.
///
/// Counts only rise while an engine lives, so that [`since`](Self::since) tells of the time between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many there are in a class, by the class; classes with none are left out.
    counts: Vec<(u16, u64)>,
}

impl Spread {
    /// How many values there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    /// The value that this part of all, from 0 to 1, is not above: `quantile(0.99)` is that of which one in a hundred is larger. Exact up to
    /// 8, and to a sixteenth beyond; what is over 2^36 is told as that. `None`: there were none.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank among counts"
    )]
    pub fn quantile(&self, part: f64) -> Option<u64> {
        let all = self.count();
        let rank = ((all as f64 * part.clamp(0.0, 1.0)).ceil() as u64).clamp(1, all.max(1));
        let mut passed = 0;
        self.counts.iter().find_map(|(class, count)| {
            passed += count;
            (passed >= rank).then(|| middle_of(*class))
        })
    }

    /// What came after an earlier look at the same. Of another, or a later one, it says nothing of use.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |class| {
            let at = earlier.counts.binary_search_by_key(&class, |(class, _)| *class);
            at.map_or(0, |at| earlier.counts[at].1)
        };
        let more = self.counts.iter().map(|(class, count)| (*class, count.saturating_sub(before(*class))));
        Self { counts: more.filter(|(_, count)| *count > 0).collect() }
    }

    /// Both together.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut counts = self.counts.clone();
        for (class, count) in &other.counts {
            match counts.binary_search_by_key(class, |(class, _)| *class) {
                Ok(at) => counts[at].1 += count,
                Err(at) => counts.insert(at, (*class, *count)),
            }
        }
        Self { counts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Spread {
        let counts = Counts::default();
        values.into_iter().for_each(|value| counts.add(value));
        counts.read()
    }

    #[test]
    fn a_value_is_told_to_a_sixteenth_and_classes_follow_one_another() {
        let mut last = 0;
        for bits in 0..TOP_BITS {
            for value in [1 << bits, (1 << bits) + (1 << bits) / 3, (2 << bits) - 1] {
                let class = class_of(value);
                assert!(class >= last && class < CLASSES, "{value}: {class}");
                last = class;
                let told = of([value]).quantile(0.5).unwrap();
                assert!(told.abs_diff(value) * 16 <= value, "{value} is told as {told}");
            }
        }
        assert_eq!((class_of(0), class_of(7), class_of(8), class_of(9)), (0, 7, 8, 9));
        assert_eq!(class_of(u64::MAX), CLASSES - 1);
        assert_eq!(of([u64::MAX]).quantile(1.0), Some((1 << 36) + (1 << 32)));
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let spread = of(1..=1_000);
        for (part, value) in [(0.0, 1), (0.5, 500), (0.95, 950), (0.99, 990), (1.0, 1_000)] {
            let told = spread.quantile(part).unwrap();
            assert!(told.abs_diff(value) * 16 <= value, "{part}: {told} for {value}");
        }
        assert_eq!(spread.count(), 1_000);
        assert_eq!((of([]).quantile(0.5), of([]).count()), (None, 0));
    }

    #[test]
    fn what_came_since_and_what_came_before_are_all() {
        let (before, all) = (of([1, 5, 5, 900]), of([1, 5, 5, 5, 7, 900, 90_000]));
        assert_eq!(all.since(&before), of([5, 7, 90_000]));
        assert_eq!(all.since(&before).and(&before), all);
        assert_eq!(before.since(&all), of([]));
    }
}
