//! Arguments that one service writes and another gets: that the one has always ended well before the other begins.

use std::collections::BTreeSet;

use verger_engine::image::{Condition, Plan, Service, Source};

use crate::complaint::{Findings, Said, quoted};
use crate::keys::Names;
use crate::places::Places;
use crate::sources::Place;

/// Complains of services whose arguments nobody writes in time, and of memory that several write to.
pub(crate) fn check(plan: &Plan, places: &Places, names: &Names, found: &mut Findings) {
    if names.incomplete || plan.services.iter().all(|service| service.arguments_from.is_empty()) {
        return;
    }
    let writes = |service: &Service, handle: &str| {
        service.descriptors.iter().any(|it| matches!(&it.source, Source::Handle(name) if name == handle))
    };
    let mut read_in_force = BTreeSet::new();
    for service in plan.services.iter().filter(|service| !service.arguments_from.is_empty()) {
        // One of the plan in force was looked at when that was read, but for those who have come to write beside its own.
        let Some(place) = places.key(&service.name, "arguments_from") else {
            read_in_force.insert(service.arguments_from.as_str());
            continue;
        };
        let handle = quoted(&service.arguments_from);
        let mut writers = plan.services.iter().filter(|other| writes(other, &service.arguments_from));
        let Some(writer) = writers.next() else {
            found.error(place, || {
                Said::new(format!("nobody writes to `{handle}`, from which `{}` has arguments", quoted(&service.name)))
                    .hint(format!("give it to a service that ends: stdout = \"{handle}\""))
            });
            continue;
        };
        if let Some(second) = writers.next() {
            complain_of_two(place, writer, second, &service.arguments_from, found);
            continue;
        }
        let has_ended = |condition: Condition| matches!(condition, Condition::Completed | Condition::Exited(_));
        let waits = service.requires.iter().any(|need| need.service == writer.name && has_ended(need.condition));
        if !waits {
            let writer = quoted(&writer.name);
            found.error(place, || {
                Said::new(format!(
                    "`{}` does not wait until `{writer}` has written its arguments",
                    quoted(&service.name)
                ))
                .hint(format!("write requires = [{{ service = \"{writer}\", condition = \"completed\" }}]"))
            });
        }
    }
    for handle in read_in_force {
        let (new, known): (Vec<&Service>, Vec<&Service>) =
            plan.services.iter().filter(|it| writes(it, handle)).partition(|it| places.service(&it.name).is_some());
        let first = known.first().or(new.first());
        for second in new.iter().filter(|new| first.is_some_and(|first| first.name != new.name)) {
            if let (Some(first), Some(place)) = (first, place_of_writing(second, handle, places)) {
                complain_of_two(place, first, second, handle, found);
            }
        }
    }
}

/// Where a service was given a handle to write to.
fn place_of_writing(service: &Service, handle: &str, places: &Places) -> Option<Place> {
    let given = service.descriptors.iter().find(|it| matches!(&it.source, Source::Handle(name) if name == handle))?;
    let key = match given.number {
        1 => places.key(&service.name, "stdout"),
        2 => places.key(&service.name, "stderr"),
        _ => None,
    };
    key.or_else(|| places.key(&service.name, "descriptors")).or_else(|| places.service(&service.name))
}

fn complain_of_two(place: Place, one: &Service, other: &Service, handle: &str, found: &mut Findings) {
    found.error(place, || {
        let (one, other, handle) = (quoted(&one.name), quoted(&other.name), quoted(handle));
        Said::new(format!("`{one}` and `{other}` both write to `{handle}`"))
            .expected("one service that does")
            .hint("what is in it is only what the one wrote that began last")
    });
}
