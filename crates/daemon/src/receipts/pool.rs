//! Things that come and go, in memory that was reserved and is touched only as far as it was used once.

/// At most so many things. Places that are free again are chained to each other: each table more would touch two pages of its own.
#[derive(Debug)]
pub(super) struct Pool<T> {
    places: Vec<Place<T>>,
    free: Option<u32>,
    room: usize,
}

#[derive(Debug)]
enum Place<T> {
    Free { next: Option<u32> },
    Taken(T),
}

impl<T> Pool<T> {
    pub(super) fn new(room: usize) -> Pool<T> {
        Pool { places: Vec::with_capacity(room), free: None, room }
    }

    pub(super) fn is_full(&self) -> bool {
        self.free.is_none() && self.places.len() == self.room
    }

    /// `None`: there is no room.
    pub(super) fn put(&mut self, thing: T) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        let Some(at) = self.free else {
            self.places.push(Place::Taken(thing));
            return Some(self.places.len() as u32 - 1);
        };
        let place = self.places.get_mut(at as usize)?;
        if let Place::Free { next } = std::mem::replace(place, Place::Taken(thing)) {
            self.free = next;
        }
        Some(at)
    }

    pub(super) fn take(&mut self, at: u32) -> Option<T> {
        let place = self.places.get_mut(at as usize).filter(|place| matches!(place, Place::Taken(_)))?;
        let taken = std::mem::replace(place, Place::Free { next: self.free });
        self.free = Some(at);
        if let Place::Taken(thing) = taken { Some(thing) } else { None }
    }

    pub(super) fn get(&self, at: u32) -> Option<&T> {
        if let Place::Taken(thing) = self.places.get(at as usize)? { Some(thing) } else { None }
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        if let Place::Taken(thing) = self.places.get_mut(at as usize)? { Some(thing) } else { None }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| if let Place::Taken(thing) = place { Some(thing) } else { None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_before_new_ones() {
        let mut pool = Pool::new(3);
        assert_eq!([pool.put('a'), pool.put('b'), pool.put('c'), pool.put('d')], [Some(0), Some(1), Some(2), None]);
        assert_eq!((pool.take(1), pool.take(1), pool.take(9), pool.take(0)), (Some('b'), None, None, Some('a')));
        assert_eq!((pool.get(1), pool.get(2), pool.is_full()), (None, Some(&'c'), false));
        assert_eq!([pool.put('e'), pool.put('f'), pool.put('g')], [Some(0), Some(1), None]);
        assert_eq!(pool.all().collect::<String>(), "efc");
        *pool.get_mut(0).unwrap() = 'h';
        assert_eq!((pool.get(0), pool.is_full()), (Some(&'h'), true));
    }
}
