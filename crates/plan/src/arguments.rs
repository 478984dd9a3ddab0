//! Arguments that one service writes and another gets: that the one has always ended well before the other begins.

use verger_engine::image::{Condition, Plan, Service, Source};

use crate::complaint::{Findings, Said, quoted};
use crate::keys::Names;
use crate::places::Places;

/// Complains of services whose arguments nobody writes in time, and of memory that several write to.
pub(crate) fn check(plan: &Plan, places: &Places, names: &Names, found: &mut Findings) {
    if names.incomplete || plan.services.iter().all(|service| service.arguments_from.is_empty()) {
        return;
    }
    let writes = |service: &Service, handle: &str| {
        service.descriptors.iter().any(|it| matches!(&it.source, Source::Handle(name) if name == handle))
    };
    for service in plan.services.iter().filter(|service| !service.arguments_from.is_empty()) {
        // One of the plan in force was looked at when that was read.
        let Some(place) = places.key(&service.name, "arguments_from") else { continue };
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
            found.error(place, || {
                let (one, other) = (quoted(&writer.name), quoted(&second.name));
                Said::new(format!("`{one}` and `{other}` both write to `{handle}`"))
                    .expected("one service that does")
                    .hint("what is in it is only what the one wrote that began last")
            });
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
}
