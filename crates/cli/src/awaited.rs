//! Conditions of a plan that somebody has to set. For `check`: no plan says whether anybody does.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};
use verger_engine::image::{Ready, Service};
use verger_plan::Reading;

use crate::words;

/// More services than these are counted and not named.
const NAMED_MAX: usize = 3;

/// A condition by name, and who waits for it.
pub(crate) struct Awaited<'r> {
    named: &'r Service,
    column: u32,
    /// The services that wait, in the order of the plan.
    by: Vec<&'r str>,
}

/// All that a plan has, in the order of their names.
pub(crate) fn awaited(reading: &Reading) -> Vec<Awaited<'_>> {
    let services = reading.plan.as_ref().map_or(&[][..], |plan| &plan.services);
    let mut found: BTreeMap<&str, Awaited<'_>> = BTreeMap::new();
    for named in services.iter().filter(|service| service.ready == Ready::Set) {
        let place = reading.places.service(&named.name);
        let column = place.map_or(0, |place| reading.sources.line_column(place).column);
        found.insert(&named.name, Awaited { named, column, by: Vec::new() });
    }
    for service in services {
        // Who waits in the place of a service is called after that.
        let owner = service.name.rsplit_once(':').filter(|_| service.ready == Ready::Needs);
        let name = owner.map_or(service.name.as_str(), |(owner, _)| owner);
        for need in service.requires.iter().chain(&service.wants) {
            if let Some(awaited) = found.get_mut(need.service.as_str()).filter(|it| it.by.last() != Some(&name)) {
                awaited.by.push(name);
            }
        }
    }
    found.into_values().collect()
}

impl Awaited<'_> {
    pub(crate) fn as_json(&self) -> Value {
        let Service { name, origin, .. } = self.named;
        json!({
            "condition": name, "file": origin.file, "line": origin.line, "column": self.column, "waited_for_by": self.by,
        })
    }
}

/// `robot.toml:12:16: `map-loaded`, which planner waits for, is so only when somebody says it: …`
impl fmt::Display for Awaited<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Service { name, origin, .. } = self.named;
        let who = match self.by.as_slice() {
            [one] => format!("{one} waits"),
            [others @ .., last] if others.len() < NAMED_MAX => format!("{} and {last} wait", others.join(", ")),
            many => format!("{} wait", words::count(many.len(), "service")),
        };
        write!(f, "{}:{}:{}: {who} for `{name}` until somebody sets it: ", origin.file, origin.line, self.column)?;
        write!(f, "`verger condition set {name}`, or a program that may operate")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_with_who_waits_for_it() {
        let waits = |name: &str, more: &str| {
            format!("[service.{name}]\ncommand = 'x'\nconditions = [{{ set = 'map' }}{more}]\n")
        };
        let said = |plan: String| {
            let reading = verger_plan::read_bytes("x.toml", plan.as_bytes(), &verger_plan::NoFiles);
            assert!(reading.plan.is_some(), "{:?}", reading.complaints);
            awaited(&reading).iter().map(Awaited::to_string).collect::<Vec<String>>()
        };
        let set = |name: &str| {
            format!("until somebody sets it: `verger condition set {name}`, or a program that may operate")
        };
        assert_eq!(said("[service.a]\ncommand = 'a'\nconditions = [{ path = '/x' }]\n".to_owned()), [""; 0]);
        assert_eq!(said(waits("a", "")), [format!("x.toml:3:23: a waits for `map` {}", set("map"))]);
        let two = waits("a", ", { set = 'gps', on_failure = 'continue' }") + &waits("b", "");
        let gps = format!("x.toml:3:40: a waits for `gps` {}", set("gps"));
        assert_eq!(said(two.clone()), [gps, format!("x.toml:3:23: a and b wait for `map` {}", set("map"))]);
        // Also who requires it as a service, and no more of them are named than anybody reads.
        let direct = "[service.c]\ncommand = 'c'\nrequires = ['map', 'b']\n";
        let three = format!("x.toml:3:23: a, b and c wait for `map` {}", set("map"));
        assert_eq!(said(two.clone() + direct)[1], three);
        let many = two + direct + &waits("d", "") + &waits("e", "");
        assert_eq!(said(many)[1], format!("x.toml:3:23: 5 services wait for `map` {}", set("map")));
    }
}
