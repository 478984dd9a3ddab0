//! Where each key of each service was given, for checks that need the machine: does the user exist, is the program
//! there? Whoever makes them can point at the place.

use std::collections::BTreeMap;

use crate::sources::Place;

/// The places of services and of their keys, and of what a native plan says about targets.
#[derive(Clone, Debug, Default)]
pub struct Places {
    services: BTreeMap<String, Service>,
    /// Targets by their groups' names and theirs.
    targets: BTreeMap<(String, String), Place>,
    initial_targets: BTreeMap<String, Place>,
}

#[derive(Clone, Debug)]
struct Service {
    name: Place,
    keys: BTreeMap<&'static str, Place>,
}

impl Places {
    pub(crate) fn add(&mut self, service: &str, name: Place, keys: BTreeMap<&'static str, Place>) {
        self.services.insert(service.to_owned(), Service { name, keys });
    }

    pub(crate) fn add_target(&mut self, group: &str, target: &str, name: Place) {
        self.targets.insert((group.to_owned(), target.to_owned()), name);
    }

    pub(crate) fn add_initial_target(&mut self, group: &str, value: Place) {
        self.initial_targets.insert(group.to_owned(), value);
    }

    /// Where a target of a group got its name, in a native plan.
    pub fn target(&self, group: &str, target: &str) -> Option<Place> {
        self.targets.get(&(group.to_owned(), target.to_owned())).copied()
    }

    /// The value of a group's `initial_target`, in a native plan. `None` where it is not mentioned.
    pub fn initial_target(&self, group: &str) -> Option<Place> {
        self.initial_targets.get(group).copied()
    }

    /// Where a service got its name.
    pub fn service(&self, service: &str) -> Option<Place> {
        Some(self.services.get(service)?.name)
    }

    /// Where the first service of all got its name.
    pub(crate) fn first(&self) -> Option<Place> {
        self.services.values().map(|service| service.name).min()
    }

    /// The value of a key (`user`, `command`, …) of a service, in its own table or in the defaults. Keys have their
    /// native names in every format. `None` when neither mentions it.
    pub fn key(&self, service: &str, key: &str) -> Option<Place> {
        self.services.get(service)?.keys.get(key).copied()
    }
}
