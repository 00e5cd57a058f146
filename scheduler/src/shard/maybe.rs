//! A number that is mostly absent, in the eight bytes of a number: `Option<u64>` takes sixteen, in every head.

use core::fmt;

use crate::time::Timestamp;

/// A moment or a time in milliseconds, or none. The last number stands for none, and is told as the one before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Maybe(u64);

impl Maybe {
    pub(crate) const NONE: Self = Self(u64::MAX);

    /// As milliseconds.
    pub(crate) fn ms(self) -> Option<u64> {
        (self != Self::NONE).then_some(self.0)
    }

    /// As a moment.
    pub(crate) fn time(self) -> Option<Timestamp> {
        self.ms().map(Timestamp)
    }
}

impl From<Option<u64>> for Maybe {
    fn from(ms: Option<u64>) -> Self {
        ms.map_or(Self::NONE, |ms| Self(ms.min(u64::MAX - 1)))
    }
}

impl From<Option<Timestamp>> for Maybe {
    fn from(time: Option<Timestamp>) -> Self {
        Self::from(time.map(|time| time.0))
    }
}

impl From<Timestamp> for Maybe {
    fn from(time: Timestamp) -> Self {
        Self::from(Some(time))
    }
}

impl fmt::Debug for Maybe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.ms(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_end_of_time_is_a_moment() {
        assert_eq!(Maybe::from(Some(7)).ms(), Some(7));
        assert_eq!(Maybe::NONE.time(), None);
        assert_eq!(Maybe::from(Timestamp(u64::MAX)).time(), Some(Timestamp(u64::MAX - 1)));
    }
}
