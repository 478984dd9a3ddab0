//! What applying a plan would do: it is applied to a copy of the engine, and what moves there is told.
//!
//! So nothing is told that the engine would not do. Only what follows at once is in it: what comes later (a service that fails, the
//! restart of a dependent when its dependency is back) depends on what the world says.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use crate::causes::{Actor, Cause};
use crate::code::coded_enum;
use crate::image::{ChangedPart, Image, Key, changed_parts, told_keys};
use crate::life::{Apply, CommandId, GroupPhase, GroupStatus, LifeEffect, PlanRefusal, Status, TrialNews, Want};
use crate::time::{Moment, Span};
use crate::{Effect, Engine, Event, ReadError};

coded_enum! {
    /// What a plan would do about a service.
    pub enum Act {
        /// It is new, and wanted: it starts.
        Start = 1, "start";
        /// Its run ends; another begins at most when another service has ended ([`Touch::waits_for`]).
        Stop = 2, "stop";
        /// Its run ends, and another begins.
        Restart = 3, "restart";
        /// It is described otherwise, and what runs goes on.
        Update = 4, "update";
        /// It is new, and not wanted.
        Add = 5, "add";
        /// It is forgotten; it has no run.
        Remove = 6, "remove";
    }
}

/// What a plan would do about one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// What.
    pub act: Act,
    /// Its slot, in the copy.
    pub slot: u32,
    /// It is wanted, and comes up no sooner than this one has ended, which would run on: they conflict, or what it requires does.
    pub waits_for: Option<u32>,
    /// Why it is wanted as it would be; of [`Act::Update`], [`Act::Add`], [`Act::Remove`]: nothing.
    pub cause: Option<Cause>,
    /// The keys in which it differs from what it was.
    pub keys: Vec<Key>,
}

/// A group that would have another active target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetChange {
    /// The group; empty for the one without a name.
    pub group: String,
    /// The target that is active; `None`: the group is new.
    pub from: Option<String>,
    /// The target that would be.
    pub to: String,
}

/// What applying a plan would do.
#[derive(Debug)]
pub struct Preview {
    /// The copy, after it: to look up what a slot is called there.
    pub engine: Engine,
    /// What is described otherwise beside the services.
    pub parts: Vec<ChangedPart>,
    /// The groups whose active target would be another one.
    pub targets: Vec<TargetChange>,
    /// What would move, in the order of the names.
    pub touches: Vec<Touch>,
}

/// Why nothing can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPreview {
    /// The plan would be refused.
    Refused(PlanRefusal),
    /// The copy could not be made.
    Uncopied(ReadError),
}

impl Engine {
    /// Tries a plan on a copy. Takes memory, and time for as long as there are services: for questions, not for steps.
    ///
    /// # Errors
    /// See [`NoPreview`].
    pub fn preview(&self, image: &Image, from: Option<u64>) -> Result<Preview, NoPreview> {
        let mut bytes = Vec::new();
        self.save(&mut bytes);
        let held = |digest| self.images().iter().map(|(_, image)| image).find(|it| it.digest() == digest).cloned();
        let mut copy = Engine::restore(&bytes, &held).map_err(NoPreview::Uncopied)?;
        let apply = Apply {
            id: CommandId(u64::MAX),
            image: image.clone(),
            from,
            by: Actor::default(),
            arrive_by: Moment::NEVER,
            // So that it does not end in the copy, and who was removed is known still.
            confirm_within: Some(Span::FOREVER),
        };
        let mut refusal = None;
        for effect in copy.step(self.now(), Event::Apply(apply)) {
            if let Effect::Life(LifeEffect::Trial { news: TrialNews::Refused(why), .. }) = effect {
                refusal = Some(why);
            }
        }
        if let Some(why) = refusal {
            return Err(NoPreview::Refused(why));
        }
        let apart = copy.kept_apart();
        let touch = |after: Status| {
            let waits_for = apart.get(&after.service.slot).copied();
            self.touch(&copy, image, &after, waits_for)
        };
        let touches = copy.services().filter_map(touch).collect();
        let parts = changed_parts(self.plan(), image);
        let targets = copy.groups().filter_map(|after| self.target_change(&copy, &after)).collect();
        Ok(Preview { engine: copy, parts, targets, touches })
    }

    fn target_change(&self, copy: &Engine, after: &GroupStatus) -> Option<TargetChange> {
        let described = copy.group_description(after.group.slot)?;
        let before = self.find_group(described.name()).and_then(|group| {
            let status = self.group_status(group.slot)?;
            Some(self.group_description(group.slot)?.target(status.target).name().to_owned())
        });
        let to = described.target(after.target).name();
        (before.as_deref() != Some(to)).then(|| TargetChange {
            group: described.name().to_owned(),
            from: before,
            to: to.to_owned(),
        })
    }

    fn touch(&self, copy: &Engine, image: &Image, after: &Status, waits_for: Option<u32>) -> Option<Touch> {
        let slot = after.service.slot;
        let name = copy.name(slot);
        let before = self.find(name).and_then(|service| self.status(service.slot));
        let was_live = before.is_some_and(|before| before.phase.is_live());
        let new = image.find(name).map(|at| image.service(at));
        let old = before.and_then(|before| self.description(before.service.slot));
        let keys: Vec<Key> = match (&old, &new) {
            (Some(old), Some(new)) => told_keys(old, new).collect(),
            (None, _) | (_, None) => Vec::new(),
        };
        let is_next = copy.is_next_in_its_group(slot);
        let is_wanted = after.want != Want::Down || is_next;
        // It ends already, for a switch that would not have started it again.
        let turns_back = is_next && !before.is_some_and(|before| self.is_next_in_its_group(before.service.slot));
        let turns_back = turns_back && after.want == Want::Down;
        let moves = copy.is_touched(slot);
        let act = match (before.is_some(), new.is_some()) {
            (false, _) if is_wanted => Act::Start,
            (false, _) => Act::Add,
            (true, false) if was_live => Act::Stop,
            (true, false) => Act::Remove,
            (true, true) if was_live && !is_wanted && moves => Act::Stop,
            (true, true) if was_live && is_wanted && moves && waits_for.is_some() => Act::Stop,
            (true, true) if was_live && is_wanted && (moves || turns_back) => Act::Restart,
            (true, true) if !was_live && is_wanted && (moves || after.want == Want::Down) => Act::Start,
            (true, true) if !keys.is_empty() => Act::Update,
            (true, true) => return None,
        };
        let cause = match act {
            Act::Start | Act::Stop | Act::Restart => copy.why_wanted(slot).map(|(cause, _)| cause),
            Act::Update | Act::Add | Act::Remove => None,
        };
        let waits_for = waits_for.filter(|_| matches!(act, Act::Start | Act::Stop));
        Some(Touch { act, slot, waits_for, cause, keys })
    }

    /// Whether a group that is ending services first will want this one then.
    fn is_next_in_its_group(&self, slot: u32) -> bool {
        let name = self.name(slot);
        self.groups().filter(|group| group.phase == GroupPhase::Stopping).any(|group| {
            let Some(described) = self.group_description(group.group.slot) else { return false };
            let Some(image) = self.images().get(group.home.image) else { return false };
            image.find(name).is_some_and(|member| described.target(group.target).has(member))
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::sync::Arc;
    use alloc::vec;

    use super::*;
    use crate::desk::{Desk, image, service};
    use crate::image::{Group, Plan, Service, Target, build};

    fn requiring(name: &str, need: &str) -> Service {
        Service { requires: vec![need.into()], ..service(name) }
    }

    fn told(desk: &Desk, services: Vec<Service>) -> String {
        let preview = desk.engine.preview(&image(services), None).unwrap();
        let lines = preview.touches.iter().map(|touch| {
            let keys: Vec<&str> = touch.keys.iter().map(|key| key.name).collect();
            let cause = touch.cause.map_or(String::new(), |cause| {
                let on = cause.link().map(|link| format!(" {}", preview.engine.name(link.slot)));
                format!(" ({}{})", cause.word(), on.unwrap_or_default())
            });
            let waits = touch.waits_for.map(|on| format!(", waits for {}", preview.engine.name(on)));
            let (name, waits) = (preview.engine.name(touch.slot), waits.unwrap_or_default());
            format!("{} {name}{cause}{waits} {}", touch.act, keys.join(","))
        });
        lines.map(|line| String::from(line.trim_end())).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_service_is_told_as_what_would_be_done_about_it() {
        let idle = |name: &str| Service { autostart: false, ..service(name) };
        let mut desk =
            Desk::new(vec![service("db"), requiring("web", "db"), service("log"), idle("old"), service("gone")]);
        desk.spawned("db").spawned("web").spawned("log").spawned("gone").forget();
        assert_eq!(
            told(&desk, vec![service("db"), requiring("web", "db"), service("log"), idle("old"), service("gone")]),
            ""
        );
        let mut db = service("db");
        db.nice = Some(1);
        db.start_timeout = crate::time::Span(5);
        let log = Service { give_up_after: 3, ..service("log") };
        let new = vec![db, requiring("web", "db"), log, requiring("new", "helper"), idle("helper"), idle("spare")];
        assert_eq!(
            told(&desk, new.clone()),
            "restart db (redescribed) nice,start_timeout\n\
             stop gone (removed)\n\
             start helper (needed new)\n\
             update log give_up_after\n\
             start new (asked)\n\
             remove old\n\
             add spare\n\
             restart web (restarted-with db)"
        );
        // Nothing has happened; and what was told is what comes.
        assert_eq!((desk.engine.trial(), desk.engine.len()), (None, 5));
        desk.apply(new, None);
        assert!(desk.said().contains("planned +3 ~2 -2"));
        let refused = desk.engine.preview(&image(vec![service("x")]), None).unwrap_err();
        assert_eq!(refused, NoPreview::Refused(PlanRefusal::OnTrial));
    }

    #[test]
    fn who_has_to_wait_for_the_end_of_another_is_not_told_to_restart_or_to_start() {
        let with = |it: Service| Service { conflicts: vec!["db".into()], ..it };
        let both = vec![service("db"), service("sim"), requiring("view", "sim")];
        let up = || {
            let mut desk = Desk::new(both.clone());
            desk.spawned("db").spawned("sim").spawned("view").forget();
            desk
        };
        let mut desk = up();
        let new = vec![service("db"), with(service("sim")), requiring("view", "sim"), with(service("toy"))];
        assert_eq!(
            told(&desk, new.clone()),
            "update db conflicts\n\
             stop sim (conflicts db), waits for db conflicts\n\
             start toy (asked), waits for db\n\
             stop view (restarted-with sim), waits for db"
        );
        // And so it comes.
        desk.plan(new).exits("view", 0).exits("sim", 0);
        assert_eq!(desk.phases(), "db running, sim waiting, toy waiting, view waiting");
        // It would have another run anyhow.
        let other = Service { nice: Some(1), ..with(service("sim")) };
        assert_eq!(
            told(&up(), vec![service("db"), other.clone(), requiring("view", "sim")]),
            "update db conflicts\n\
             stop sim (redescribed), waits for db nice,conflicts\n\
             stop view (restarted-with sim), waits for db"
        );
        // Where the other goes too, that end is not waited for long.
        let pulled = || Service { autostart: false, ..service("db") };
        let mut desk = Desk::new(vec![pulled(), service("sim"), requiring("web", "db")]);
        desk.spawned("db").spawned("sim").spawned("web").forget();
        assert_eq!(
            told(&desk, vec![pulled(), other, service("web")]),
            "stop db (asked) conflicts\n\
             restart sim (redescribed) nice,conflicts\n\
             update web requires"
        );
    }

    #[test]
    fn who_ends_for_a_switch_that_the_plan_turns_back_has_another_run() {
        let target = |name: &str, members: &[&str]| Target {
            name: name.into(),
            services: members.iter().map(|it| (*it).into()).collect(),
            ..Target::default()
        };
        let plan = |targets: Vec<Target>| {
            let services = ["a", "s", "z"].map(|name| Service { autostart: false, ..service(name) });
            let group = Group { targets, initial: "x".into(), ..Group::default() };
            Plan { services: services.into(), groups: vec![group], ..Plan::default() }
        };
        let x = || target("x", &["a", "s"]);
        let told = |desk: &Desk, plan: &Plan| {
            let image = Image::verify(Arc::new(build(plan).unwrap())).unwrap();
            let preview = desk.engine.preview(&image, None).unwrap();
            let touches = preview.touches.iter();
            touches.map(|it| format!("{} {}", it.act, preview.engine.name(it.slot))).collect::<Vec<_>>().join(", ")
        };
        let mut desk = Desk::new(Vec::new());
        desk.plan_whole(&plan(vec![x(), target("y", &["a", "z"])])).spawned("a").spawned("s").switch("y");
        assert_eq!(desk.phases(), "a running, s stopping, z down");
        assert_eq!(told(&desk, &plan(vec![x()])), "restart s");
        // What the switch does by itself is not the plan's.
        desk.switch("x");
        assert_eq!(told(&desk, &plan(vec![x()])), "");
        desk.plan_whole(&plan(vec![x()])).exits("s", 0).spawned("s");
        assert_eq!(desk.phases(), "a running, s running, z down");
    }

    #[test]
    fn what_is_no_service_is_told_too_and_which_target_would_be_active() {
        let target =
            |name: &str, member: &str| Target { name: name.into(), services: vec![member.into()], ..Target::default() };
        let plan = |targets: Vec<Target>, initial: &str| Plan {
            services: ["a", "b"].map(|name| Service { autostart: false, ..service(name) }).into(),
            groups: vec![Group { name: "car".into(), targets, initial: initial.into(), ..Group::default() }],
            ..Plan::default()
        };
        let preview = |desk: &Desk, plan: &Plan| {
            let image = Image::verify(Arc::new(build(plan).unwrap())).unwrap();
            let preview = desk.engine.preview(&image, None).unwrap();
            let parts = preview.parts.iter().map(|part| format!("{} {} {}", part.edit, part.name, part.keys.join(",")));
            let targets = preview.targets.iter().map(|it| format!("{}: {:?} -> {}", it.group, it.from, it.to));
            parts.chain(targets).map(|line| String::from(line.trim_end())).collect::<Vec<_>>().join("\n")
        };
        let mut desk = Desk::new(Vec::new());
        let both = plan(vec![target("drive", "a"), target("park", "b")], "drive");
        let new = "add car\nadd car/Off\nadd car/drive\nadd car/park\ncar: None -> drive";
        assert_eq!(preview(&desk, &both), new);
        desk.plan_whole(&both);
        assert_eq!(preview(&desk, &both), "");
        // Only what is described otherwise of a target that is not active; then the active one is gone.
        let other = plan(vec![target("drive", "a"), target("park", "a")], "drive");
        assert_eq!(preview(&desk, &other), "update car/park services");
        let gone = plan(vec![target("park", "b")], "park");
        let told = "update car initial_target\nremove car/drive\ncar: Some(\"drive\") -> park";
        assert_eq!(preview(&desk, &gone), told);
        assert_eq!(desk.engine.trial(), None);
    }
}
