//! Which services are meant: names, patterns, all.

use verger_client::Connection;
use verger_wire::message::Service;

use crate::reach;
use crate::setting::Setting;
use crate::trouble::Trouble;
use verger_plan::glob;

/// The services that somebody means, by what was typed; in the order of the services.
pub(crate) fn pick<'s>(services: &'s [Service], typed: &[String]) -> (Vec<&'s Service>, Vec<Trouble>) {
    let means = |typed: &str, service: &Service| match glob::is_pattern(typed) {
        true => glob::matches(typed, &service.name),
        false => typed == service.name,
    };
    let picked = services.iter().filter(|service| typed.is_empty() || typed.iter().any(|one| means(one, service)));
    let nobody = typed.iter().filter(|one| !services.iter().any(|service| means(one, service)));
    (picked.collect(), nobody.map(|one| unknown(one, services)).collect())
}

/// There is no such service; which one may have been meant.
pub(crate) fn unknown(typed: &str, services: &[Service]) -> Trouble {
    if glob::is_pattern(typed) {
        return Trouble::new(format!("no service matches `{typed}`")).hint("`verger status` lists all there are");
    }
    let trouble = Trouble::new(format!("there is no service `{typed}`"));
    if let Some(hint) = instances_of(typed, services) {
        return trouble.hint(hint);
    }
    match verger_plan::nearest(typed, services.iter().map(|service| service.name.as_str())) {
        Some(near) => trouble.hint(format!("did you mean `{near}`?")),
        None => trouble.hint("`verger status` lists all there are"),
    }
}

/// There is no such condition, nor a service of that name; which conditions there are.
pub(crate) fn unknown_condition(typed: &str, services: &[Service]) -> Trouble {
    let trouble = Trouble::new(format!("there is no condition `{typed}`"));
    let all: Vec<&str> = services.iter().filter(|it| it.set.is_some()).map(|it| it.name.as_str()).collect();
    if let Some(near) = verger_plan::nearest(typed, all.iter().copied()) {
        return trouble.hint(format!("did you mean `{near}`?"));
    }
    if all.is_empty() {
        return trouble.hint("the plan has none: `conditions = [{ set = \"NAME\" }]` in a service makes one");
    }
    trouble.hint(format!("the plan has {}", few(&all)))
}

/// So many are named where there may be many.
const NAMED_MAX: usize = 4;

/// The first of them, in a row.
fn few(all: &[&str]) -> String {
    let more = if all.len() > NAMED_MAX { ", …" } else { "" };
    format!("{}{more}", all.get(..NAMED_MAX).unwrap_or(all).join(", "))
}

/// What the instances of a template are called, if that is what was typed.
fn instances_of(typed: &str, services: &[Service]) -> Option<String> {
    let template = format!("{}@", typed.strip_suffix('@').unwrap_or(typed));
    let names = services.iter().map(|service| service.name.as_str());
    let all: Vec<&str> = names.filter(|name| name.starts_with(&template) && !name.contains(':')).collect();
    (!all.is_empty()).then(|| format!("its instances are {}; the pattern `{template}*` means all of them", few(&all)))
}

/// Whether a pattern means a service, where something is done to it. What a service has beside it (`SERVICE:path`, `SERVICE:recovery`)
/// is not meant by `*`: a repair is not run by the way. A pattern with a `:` means those.
fn means(pattern: &str, name: &str) -> bool {
    glob::matches(pattern, name) && (pattern.contains(':') || !name.contains(':'))
}

/// The names that are meant, for calls to the daemon: patterns are made out, plain names left for it to judge.
pub(crate) fn expand(setting: &Setting, connection: &mut Connection, typed: &[String]) -> Result<Vec<String>, Trouble> {
    if !typed.iter().any(|one| glob::is_pattern(one)) {
        return Ok(typed.to_vec());
    }
    let services = connection.list(None).map_err(|error| reach::trouble(setting, None, &error))?;
    let mut names: Vec<String> = Vec::new();
    for one in typed {
        let matching: Vec<&Service> = match glob::is_pattern(one) {
            true => services.iter().filter(|service| means(one, &service.name)).collect(),
            false => services.iter().filter(|service| service.name == *one).collect(),
        };
        if matching.is_empty() {
            return Err(unknown(one, &services));
        }
        for service in matching {
            if !names.contains(&service.name) {
                names.push(service.name.clone());
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::samples::web;
    use verger_engine::life::PhaseKind;

    #[test]
    fn what_a_service_has_beside_it_is_meant_only_when_that_is_said() {
        for (pattern, name, meant) in [
            ("cam@*", "cam@l", true),
            ("cam@*", "cam@l:recovery", false),
            ("*", "cam@l:path.2", false),
            ("*:recovery", "cam@l:recovery", true),
            ("*:*", "cam@l", false),
        ] {
            assert_eq!(means(pattern, name), meant, "{pattern} {name}");
        }
    }

    #[test]
    fn who_names_a_template_is_told_its_instances() {
        let services: Vec<Service> = ["cam@l", "cam@l:tcp", "cam@r", "w@1", "w@2", "w@3", "w@4", "w@5"]
            .map(|name| Service { name: name.to_owned(), ..web(PhaseKind::Down) })
            .into();
        let told = |typed: &str| unknown(typed, &services).hints.join(" ");
        let cameras = "its instances are cam@l, cam@r; the pattern `cam@*` means all of them";
        assert_eq!((told("cam@").as_str(), told("cam").as_str()), (cameras, cameras));
        assert_eq!(told("w@"), "its instances are w@1, w@2, w@3, w@4, …; the pattern `w@*` means all of them");
    }

    #[test]
    fn names_and_patterns_pick_services() {
        let services: Vec<Service> =
            ["cam-1", "cam-2", "db"].map(|name| Service { name: name.to_owned(), ..web(PhaseKind::Down) }).into();
        for (typed, picked, missing) in [
            (vec![], "cam-1 cam-2 db", ""),
            (vec!["db", "cam-*"], "cam-1 cam-2 db", ""),
            (vec!["cam-?", "cam-1"], "cam-1 cam-2", ""),
            (vec!["bd"], "", "there is no service `bd`: did you mean `db`?"),
            (vec!["x*", "db"], "db", "no service matches `x*`: `verger status` lists all there are"),
            (vec!["nothing-like-it"], "", "there is no service `nothing-like-it`: `verger status` lists all there are"),
        ] {
            let typed: Vec<String> = typed.into_iter().map(str::to_owned).collect();
            let (found, troubles) = pick(&services, &typed);
            let names: Vec<&str> = found.iter().map(|service| service.name.as_str()).collect();
            assert_eq!(names.join(" "), picked);
            let said: Vec<String> =
                troubles.iter().map(|trouble| format!("{}: {}", trouble.words, trouble.hints.join(" "))).collect();
            assert_eq!(said.join(" "), missing);
        }
    }
}
