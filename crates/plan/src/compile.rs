//! From the plan to the image, and what the image's builder has to say in the words of a complaint.

use verger_engine::image::{BuildError, Need, Origin, Plan, build};

use crate::complaint::{Complaint, Findings, Said, Severity};
use crate::places::Places;
use crate::sources::Place;

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

/// Compiles a plan that seems to be in order, in case the builder knows better.
pub(crate) fn check(plan: &Plan, places: &Places, found: &mut Findings) {
    let Err(error) = build(plan) else { return };
    if let BuildError::TwoWays { service, wanted } = &error
        && let [(key, place), (other_key, other), ..] = ways(plan, places, service, wanted).as_slice()
    {
        return found.error(*place, || {
            Said::new(error.to_string())
                .also(*other, "the other way")
                .hint(format!("`{key}` and `{other_key}` do not go together: leave it out of one of the two"))
        });
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
