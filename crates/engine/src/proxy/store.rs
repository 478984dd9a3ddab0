//! What belongs to one service, as text: four lists in one piece of memory.

use alloc::vec::Vec;

use super::words::Fields;

/// Which of the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Free words.
    Tags,
    /// Program and arguments.
    Args,
    /// Names of handles.
    Fds,
    /// What starts it by itself, as it was said.
    Triggers,
}

/// The lists, one after the other, each as a line has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    bytes: Vec<u8>,
    /// Where each list ends, and whether it has any field: an empty field takes no byte.
    ends: [u32; 4],
    is_some: [bool; 4],
}

impl Store {
    /// With all the room it may ever have.
    pub(super) fn with_room(bytes: usize) -> Store {
        Store { bytes: Vec::with_capacity(bytes), ..Store::default() }
    }

    /// Empties it; its room stays.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        (self.ends, self.is_some) = Default::default();
    }

    /// A list.
    pub(super) fn get(&self, list: List) -> Fields<'_> {
        let at = list as usize;
        if !self.is_some[at] {
            return Fields::NONE;
        }
        Fields::of(&self.bytes[self.begin(at)..self.ends[at] as usize])
    }

    fn begin(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }

    /// Whether a list could become this one in so much room.
    pub(super) fn fits(&self, list: List, new: Fields<'_>, room: usize) -> bool {
        let old = self.get(list).text().map_or(0, <[u8]>::len);
        self.bytes.len() - old + new.text().map_or(0, <[u8]>::len) <= room
    }

    /// A list becomes another.
    pub(super) fn set(&mut self, list: List, new: Fields<'_>) {
        let at = list as usize;
        let text = new.text().unwrap_or_default();
        let (begin, end) = (self.begin(at), self.ends[at] as usize);
        let after = self.bytes.len() - end;
        if text.len() > end - begin {
            self.bytes.resize(self.bytes.len() + text.len() - (end - begin), 0);
        }
        self.bytes.copy_within(end..end + after, begin + text.len());
        self.bytes[begin..begin + text.len()].copy_from_slice(text);
        self.bytes.truncate(begin + text.len() + after);
        for moved in &mut self.ends[at..] {
            *moved = (*moved as usize + text.len() - (end - begin)) as u32;
        }
        self.is_some[at] = new.text().is_some();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: [List; 4] = [List::Tags, List::Args, List::Fds, List::Triggers];

    #[test]
    fn four_lists_do_not_touch_each_other() {
        let texts: [Option<&[u8]>; 5] = [None, Some(b""), Some(b"a"), Some(b"a\tbb\t"), Some(b"longer\tthan\tall")];
        let mut store = Store::with_room(64);
        let mut expected = [None; 4];
        let room = store.bytes.capacity();
        // A walk that comes from every text to every other one in every list.
        for step in 0..2000usize {
            let (at, text) = (step * 7 % 4, texts[step * step % 23 % 5]);
            store.set(LISTS[at], text.map_or(Fields::NONE, Fields::of));
            expected[at] = text;
            for (list, text) in LISTS.iter().zip(expected) {
                assert_eq!(store.get(*list).text(), text);
            }
        }
        assert_eq!(store.bytes.capacity(), room, "it takes no more memory");
        assert!(store.fits(List::Tags, Fields::NONE, 64));
        store.clear();
        store.set(List::Args, Fields::of(b"12345"));
        assert!(store.fits(List::Tags, Fields::of(b"123"), 8) && !store.fits(List::Tags, Fields::of(b"1234"), 8));
        assert!(store.fits(List::Args, Fields::of(b"12345678"), 8));
    }
}
