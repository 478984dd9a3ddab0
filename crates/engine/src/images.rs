//! The images that somebody still refers to.
//!
//! A service refers to the image it is described in, a run to the one it was started from. An image that nobody refers to
//! is dropped, and its place taken again; an [`ImageId`] is good as long as its image is held.

use alloc::vec::Vec;

use crate::image::{Image, ServiceView};

/// A place in the table of held images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(pub u8);

/// Where a service is described: a record of a held image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The image.
    pub image: ImageId,
    /// The number of the record in it.
    pub record: u32,
}

/// The table of held images. All of its room is taken at the start.
#[derive(Clone, Debug)]
pub struct Images {
    held: Vec<Option<Held>>,
}

#[derive(Clone, Debug)]
struct Held {
    image: Image,
    users: u32,
}

impl Images {
    /// A table with this much room.
    pub fn new(room: u32) -> Images {
        Images { held: (0..room).map(|_| None).collect() }
    }

    /// Takes an image in; `None` when there is no room. It stays while it has users: see [`Images::retain`].
    pub fn add(&mut self, image: Image) -> Option<ImageId> {
        let at = self.held.iter().position(Option::is_none)?;
        self.held[at] = Some(Held { image, users: 0 });
        Some(ImageId(at as u8))
    }

    /// Puts an image where a saved state had it.
    pub(crate) fn put(&mut self, id: ImageId, image: Image) -> Option<()> {
        let place = self.held.get_mut(usize::from(id.0))?;
        *place = Some(Held { image, users: 0 });
        Some(())
    }

    /// A held image.
    pub fn get(&self, id: ImageId) -> Option<&Image> {
        self.held.get(usize::from(id.0))?.as_ref().map(|held| &held.image)
    }

    /// All held images with their places.
    pub fn iter(&self) -> impl Iterator<Item = (ImageId, &Image)> {
        let places = self.held.iter().enumerate();
        places.filter_map(|(at, held)| Some((ImageId(at as u8), &held.as_ref()?.image)))
    }

    /// The description of a service.
    ///
    /// # Panics
    /// If the image is not held: whoever has a [`Home`] is one of its users.
    pub fn service(&self, home: Home) -> ServiceView<'_> {
        match self.get(home.image) {
            Some(image) => image.service(home.record),
            None => panic!("an image in use has been dropped"),
        }
    }

    /// How many refer to an image.
    #[cfg(any(test, feature = "checks"))]
    pub(crate) fn users(&self, id: ImageId) -> u32 {
        self.held.get(usize::from(id.0)).and_then(Option::as_ref).map_or(0, |held| held.users)
    }

    pub(crate) fn retain(&mut self, id: ImageId) {
        if let Some(Some(held)) = self.held.get_mut(usize::from(id.0)) {
            held.users += 1;
        }
    }

    /// One user less. Drops the image with the last.
    pub(crate) fn release(&mut self, id: ImageId) {
        let Some(place) = self.held.get_mut(usize::from(id.0)) else { return };
        if let Some(held) = place {
            held.users = held.users.saturating_sub(1);
            if held.users == 0 {
                *place = None;
            }
        }
    }

    /// Drops an image that got no user at all.
    pub(crate) fn drop_unused(&mut self, id: ImageId) {
        if let Some(place) = self.held.get_mut(usize::from(id.0))
            && place.as_ref().is_some_and(|held| held.users == 0)
        {
            *place = None;
        }
    }
}
