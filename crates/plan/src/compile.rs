//! From the plan to the image, and what the image's builder has to say in the words of a complaint.

use std::collections::{BTreeMap, BTreeSet};

use verger_engine::image::{BuildError, Need, Origin, Plan, Service, build};

use crate::complaint::{Complaint, Findings, Said, Severity};
use crate::places::Places;
use crate::sources::{FileId, Place};

/// Compiles a plan into an image.
///
/// # Errors
/// What the image cannot hold, at the service's line. A plan that was read here was compiled once already, so it comes
/// through unless it was changed since.
pub fn compile(plan: &Plan) -> Result<Vec<u8>, Box<Complaint>> {
    build(plan).map_err(|error| {
        let service = service_of(&error).and_then(|name| plan.services.iter().find(|service| service.name == name));
        let origin = service.map(|service| service.origin.clone()).unwrap_or_else(|| Origin {
            file: plan.services.first().map(|service| service.origin.file.clone()).unwrap_or_default(),
            line: 0,
        });
        Box::new(Complaint {
            severity: Severity::Error,
            file: origin.file,
            span: 0..0,
            line: origin.line,
            column: u32::from(origin.line > 0),
            message: error.to_string(),
            expected: None,
            hint: None,
            also: None,
        })
    })
}

/// Complains of conflicts with who is needed too: with all else that is wrong, since the builder sees plans only that are in order.
pub(crate) fn check_conflicts(plan: &Plan, places: &Places, found: &mut Findings) {
    let services: BTreeMap<&str, &Service> = plan.services.iter().map(|it| (it.name.as_str(), it)).collect();
    // Instances of one template say the same in the same place.
    let mut told: BTreeSet<(FileId, u32)> = BTreeSet::new();
    for service in &plan.services {
        for name in &service.conflicts {
            let other = services.get(name.as_str()).filter(|other| other.name != service.name);
            let (one, other) = match other {
                Some(_) if needs(service, name) => (&service.name, name),
                Some(other) if needs(other, &service.name) => (name, &service.name),
                Some(_) | None => continue,
            };
            let ways = ways(plan, places, one, other);
            if ways.first().is_some_and(|(_, place)| told.insert((place.file, place.start))) {
                complain_of_ways(BuildError::TwoWays { service: one.clone(), wanted: other.clone() }, &ways, found);
            }
        }
    }
}

/// Whether a service is to come after another one, for whatever reason.
fn needs(service: &Service, other: &str) -> bool {
    let needs = service.requires.iter().chain(&service.wants).chain(&service.any_of);
    needs.map(|need| &need.service).chain(&service.after).any(|name| name == other)
}

/// Says which two keys name the same service and do not go together; whether it could be said.
fn complain_of_ways(error: BuildError, ways: &[(&str, Place)], found: &mut Findings) -> bool {
    let [(key, place), (other_key, other), ..] = ways else { return false };
    found.error(*place, || {
        Said::new(error.to_string())
            .also(*other, "the other way")
            .hint(format!("`{key}` and `{other_key}` do not go together: leave it out of one of the two"))
    });
    true
}

/// Compiles a plan that seems to be in order, in case the builder knows better.
pub(crate) fn check(plan: &Plan, places: &Places, found: &mut Findings) {
    let Err(error) = build(plan) else { return };
    if let BuildError::TwoWays { service, wanted } = &error
        && complain_of_ways(error.clone(), &ways(plan, places, service, wanted), found)
    {
        return;
    }
    let place = service_of(&error).and_then(|name| places.service(name)).or_else(|| places.first());
    if let Some(place) = place {
        found.error(place, || Said::new(error.to_string()));
    }
}

/// The keys by which two services name each other, those first that go together with the fewest others.
fn ways(plan: &Plan, places: &Places, service: &str, other: &str) -> Vec<(&'static str, Place)> {
    let mut ways = Vec::new();
    for (name, named) in [(service, other), (other, service)] {
        let Some(service) = plan.services.iter().find(|it| it.name == name) else { continue };
        let needs = |needs: &[Need]| needs.iter().any(|need| need.service == named);
        let lists = |names: &[String]| names.iter().any(|name| name == named);
        for (key, is_way) in [
            ("conflicts", lists(&service.conflicts)),
            ("any_of", needs(&service.any_of)),
            ("requires", needs(&service.requires)),
            ("wants", needs(&service.wants)),
            ("after", lists(&service.after)),
        ] {
            ways.extend(places.key(name, key).filter(|_| is_way).map(|place| (key, place)));
        }
    }
    ways
}

/// The service that an error is about, or is called like.
fn service_of(error: &BuildError) -> Option<&str> {
    match error {
        BuildError::BadName { name, .. } | BuildError::Duplicate { name } => Some(name),
        BuildError::UnknownService { service, .. }
        | BuildError::UnknownHandle { service, .. }
        | BuildError::NotLeftAlone { service, .. }
        | BuildError::TwoWays { service, .. }
        | BuildError::NoProgram { service }
        | BuildError::OutOfRange { service, .. } => Some(service),
        BuildError::Cycle { services } => services.first().map(String::as_str),
        BuildError::NulByte { .. }
        | BuildError::BadHandle { .. }
        | BuildError::BadGroup { .. }
        | BuildError::BadRecovery { .. }
        | BuildError::TooLarge => None,
    }
}
