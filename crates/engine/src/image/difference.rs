//! What one image has that another has not, by name.

use super::view::Image;

/// What became of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only the new image has it; its number there.
    Added {
        /// Number in the new image.
        new: u32,
    },
    /// Both have it, and something about it differs.
    Changed {
        /// Number in the old image.
        old: u32,
        /// Number in the new image.
        new: u32,
    },
    /// Both have it, and it is the same.
    Kept {
        /// Number in the old image.
        old: u32,
        /// Number in the new image.
        new: u32,
    },
    /// Only the old image has it; its number there.
    Removed {
        /// Number in the old image.
        old: u32,
    },
}

/// Merges two images in the order of their names.
pub fn difference<'i>(old: &'i Image, new: &'i Image) -> impl Iterator<Item = Change> + 'i {
    let (mut at_old, mut at_new) = (0, 0);
    core::iter::from_fn(move || {
        let old_name = (at_old < old.len()).then(|| old.service(at_old).name());
        let new_name = (at_new < new.len()).then(|| new.service(at_new).name());
        let (take_old, take_new) = match (old_name, new_name) {
            (None, None) => return None,
            (Some(_), None) => (true, false),
            (None, Some(_)) => (false, true),
            (Some(old_name), Some(new_name)) => (old_name <= new_name, new_name <= old_name),
        };
        let (was, is) = (at_old, at_new);
        at_old += u32::from(take_old);
        at_new += u32::from(take_new);
        Some(match (take_old, take_new) {
            (true, true) if old.service(was).digest() == new.service(is).digest() => Change::Kept { old: was, new: is },
            (true, true) => Change::Changed { old: was, new: is },
            (true, false) => Change::Removed { old: was },
            (false, _) => Change::Added { new: is },
        })
    })
}
