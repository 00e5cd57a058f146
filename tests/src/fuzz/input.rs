//! Bytes as a source of small choices. When they are used up, every choice is the first one.

/// What is left of a fuzzer's bytes.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_used_up(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// One of so many: a byte's worth of choices at most.
    pub(crate) fn below(&mut self, count: u8) -> u8 {
        self.byte() % count.max(1)
    }

    pub(crate) fn one_in(&mut self, count: u8) -> bool {
        self.below(count) == count - 1
    }

    /// A number of every size: most are small, and some are at the ends.
    pub(crate) fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => u64::from(self.byte()),
            1 => u64::from(self.byte()) << (8 * self.below(8)),
            2 => u64::MAX - u64::from(self.byte()),
            _ => self.u64(),
        }
    }

    pub(crate) fn pick<T: Copy>(&mut self, among: &[T]) -> Option<T> {
        let at = usize::from(self.byte());
        among.get(at % among.len().max(1)).copied()
    }

    pub(crate) fn bytes(&mut self, count_max: u8) -> &'a [u8] {
        let count = usize::from(self.below(count_max.saturating_add(1))).min(self.0.len());
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }
}
