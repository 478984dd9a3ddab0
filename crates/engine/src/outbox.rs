//! A few values on their way out, first in first out, in memory of fixed size.
//!
//! Small on purpose: whoever fills it is asked to stop and let it be emptied after each decision, so that a step that
//! touches ten thousand services needs no room for ten thousand effects.

/// At most `N` values.
#[derive(Clone, Debug)]
pub(crate) struct Outbox<T, const N: usize> {
    values: [Option<T>; N],
    first: usize,
    count: usize,
}

impl<T: Copy, const N: usize> Outbox<T, N> {
    pub(crate) fn new() -> Self {
        Outbox { values: [None; N], first: 0, count: 0 }
    }

    /// Puts a value last.
    ///
    /// # Panics
    /// When it is full: the arithmetic of what one decision can say is wrong, and dropping an order would be a lie.
    pub(crate) fn put(&mut self, value: T) {
        assert!(self.count < N, "one decision said more than {N} things");
        self.values[(self.first + self.count) % N] = Some(value);
        self.count += 1;
    }

    /// Takes the first.
    pub(crate) fn take(&mut self) -> Option<T> {
        if self.count == 0 {
            return None;
        }
        let value = self.values[self.first].take();
        self.first = (self.first + 1) % N;
        self.count -= 1;
        value
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }
}
