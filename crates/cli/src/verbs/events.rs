//! `verger events`: what has happened, and what happens.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use verger_client::{ClientError, Connection, Watch, WatchEvent};
use verger_plan::glob;
use verger_wire::message::{Call, Group, OriginKind, ReceiptInShort, Root, Service, TargetFailure, Transition, Why};
use verger_wire::view::target_name;

use crate::names;
use crate::reach;
use crate::sequence::in_order;
use crate::setting::Setting;
use crate::terminal::Paint;
use crate::trouble::Trouble;
use crate::words::{self, Clock, Tone};

/// Show what happened to services and targets, and with `--follow` what happens
///
/// The daemon keeps the last changes of each service; they are shown in the order in which they happened, among them who
/// asked to switch to a target, and what each group of targets is about. With `--follow` also each target that is
/// switched to, is active or has failed, and why. `verger replay` tells more of the past, from the recording.
#[derive(Debug, clap::Args)]
pub(super) struct Events {
    /// Services, groups or targets (GROUP/TARGET), by name or pattern (`cam-*`); none means all
    #[arg(value_name = "NAME|GLOB")]
    names: Vec<String>,
    /// Go on as things happen, until the daemon ends
    #[arg(short, long)]
    follow: bool,
    /// Print each change as a line of JSON; of a target as `group` (as it is then), or as `target_failed` and `failure`
    #[arg(long)]
    json: bool,
}

impl Events {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let failed = |error: ClientError| reach::trouble(setting, None, &error);
        let mut connection = reach::connect(setting)?;
        let groups = connection.groups().map_err(failed)?;
        let meant = Meant::of(setting, &mut connection, &groups, self.names)?;
        let names: Option<Vec<&str>> = meant.services.as_ref().map(|names| names.iter().map(String::as_str).collect());
        // Of targets hears who watches all, and what services go back to says who asked for one.
        let names = names.as_deref().filter(|_| !meant.has_targets());
        // Begun before the past is asked for, so that nothing falls between the two.
        let watch = match self.follow {
            true => Some(reach::connect(setting)?.watch(names).map_err(failed)?),
            false => None,
        };
        let services = connection.list(names).map_err(failed)?;
        let calls: Vec<Call> = services.iter().map(|it| Call::Why { name: it.name.clone() }).collect();
        let answers = connection.pipeline::<Why>(&calls).map_err(failed)?;
        let groups = connection.groups().map_err(failed)?;
        let mut journal = Journal::new(setting, self.json, meant, &services, &groups);
        journal.past(answers.into_iter().filter_map(Result::ok).collect(), &groups)?;
        match watch {
            Some(watch) => journal.follow(watch),
            None => Ok(()),
        }
    }
}

/// What somebody asked about.
struct Meant {
    /// The names of the services; `None`: all.
    services: Option<Vec<String>>,
    /// Names and patterns of groups and targets; `None`: all.
    targets: Option<Vec<String>>,
}

impl Meant {
    fn of(
        setting: &Setting,
        connection: &mut Connection,
        groups: &[Group],
        typed: Vec<String>,
    ) -> Result<Meant, Trouble> {
        if typed.is_empty() {
            return Ok(Meant { services: None, targets: None });
        }
        let is_target = |one: &String| groups.iter().any(|group| means_target_of(one, group));
        let (targets, others): (Vec<String>, Vec<String>) = typed.into_iter().partition(is_target);
        let mut services = match &others[..] {
            [] => Vec::new(),
            others => names::expand(setting, connection, others)?,
        };
        if !targets.is_empty() {
            // A service may be called as a target is.
            let all = connection.list(None).map_err(|error| reach::trouble(setting, None, &error))?;
            let also = all.into_iter().map(|service| service.name);
            let also = also.filter(|name| targets.iter().any(|one| means(one, name)));
            services.extend(also.filter(|name| !services.contains(name)).collect::<Vec<_>>());
        }
        Ok(Meant { services: Some(services), targets: Some(targets) })
    }

    fn has_targets(&self) -> bool {
        self.targets.as_ref().is_none_or(|targets| !targets.is_empty())
    }

    fn has_service(&self, name: &str) -> bool {
        self.services.as_ref().is_none_or(|names| names.iter().any(|one| one == name))
    }

    /// Whether this target (`GROUP/TARGET`) is one of them, or of a group that is.
    fn has_target(&self, target: &str) -> bool {
        let group = target.split_once('/').map(|(group, _)| group);
        let is = |one: &String| means(one, target) || group.is_some_and(|group| means(one, group));
        self.targets.as_ref().is_none_or(|typed| typed.iter().any(is))
    }
}

fn means(typed: &str, name: &str) -> bool {
    if glob::is_pattern(typed) { glob::matches(typed, name) } else { typed == name }
}

/// Whether a group, or one of its targets, is meant.
fn means_target_of(typed: &str, group: &Group) -> bool {
    let is_target = |name: &str| means(typed, &target_name(&group.name, name));
    (!group.name.is_empty() && means(typed, &group.name)) || group.targets.iter().any(|target| is_target(&target.name))
}

/// Changes, line by line, each once.
struct Journal<'s> {
    setting: &'s Setting,
    json: bool,
    meant: Meant,
    width: usize,
    /// The number of the last change shown of each service.
    shown: BTreeMap<String, u32>,
    /// Each group as it was shown last.
    groups: BTreeMap<String, Group>,
    /// The target of a group that has failed, until it is told where the group goes.
    failed: BTreeMap<String, String>,
    /// The outside events by which somebody asked for a target, as far as they were told.
    asked: BTreeSet<(u64, u64)>,
}

/// Something of the past.
enum Past<'p> {
    /// Somebody asked for a target.
    Switch(&'p Root, &'p str),
    Moved(&'p Transition, &'p Service),
    /// As a group is since then.
    Group(&'p Group),
}

impl Past<'_> {
    /// When, and of what happened in the same moment what led to the rest first.
    fn order(&self) -> (u64, u8) {
        match self {
            Past::Switch(root, _) => (root.at_us, 0),
            Past::Moved(transition, _) => (transition.at_us, 1),
            Past::Group(group) => (group.since_us, 2),
        }
    }
}

impl<'s> Journal<'s> {
    fn new(setting: &'s Setting, json: bool, meant: Meant, services: &[Service], groups: &[Group]) -> Journal<'s> {
        let targets = groups.iter().flat_map(|it| it.targets.iter().map(|target| target_name(&it.name, &target.name)));
        let targets = targets.filter(|target| meant.has_target(target)).map(|target| target.chars().count());
        let services = services.iter().filter(|service| meant.has_service(&service.name));
        let services = services.map(|service| service.name.chars().count());
        let width = services.chain(targets).max().unwrap_or(0);
        let (shown, groups, failed, asked) = Default::default();
        Journal { setting, json, meant, width, shown, groups, failed, asked }
    }

    fn past(&mut self, whys: Vec<Why>, groups: &[Group]) -> Result<(), Trouble> {
        let mut changes: Vec<(&Transition, &Service)> = Vec::new();
        for why in &whys {
            changes.extend(why.history.iter().map(|transition| (transition, &why.service)));
        }
        let changes = in_order(changes, |(transition, _)| *transition);
        let mut switches: BTreeMap<(u64, u64), &Root> = BTreeMap::new();
        let roots = changes.iter().map(|(transition, _)| &transition.root);
        for root in roots.chain(groups.iter().filter_map(|group| group.root.as_ref())) {
            if root.what.kind == OriginKind::Switch {
                switches.insert(moment(root), root);
            }
        }
        let asked = switches.values().filter_map(|root| Some(Past::Switch(root, root.what.target.as_deref()?)));
        let mut all: Vec<Past<'_>> = asked.collect();
        all.extend(changes.iter().map(|(transition, service)| Past::Moved(transition, service)));
        all.extend(groups.iter().map(Past::Group));
        // Stable: changes stay in their order.
        all.sort_by_key(Past::order);
        all.iter().try_for_each(|it| match it {
            Past::Switch(root, target) => self.switch(root, target),
            Past::Moved(transition, service) => self.show(transition, Some(service)),
            // Who is not there now was there, or not, when the group came there: the changes above and below say so.
            Past::Group(group) if !self.json => self.group(&Group { lacks: Vec::new(), ..(*group).clone() }),
            Past::Group(group) => self.group(group),
        })
    }

    fn follow(&mut self, mut watch: Watch) -> Result<(), Trouble> {
        for event in watch.by_ref() {
            match event {
                Ok(WatchEvent::Moved { transition, service }) => self.show(&transition, service.as_deref())?,
                Ok(WatchEvent::Snapshot { lost: Some(lost), .. }) => self.lost(lost)?,
                Ok(WatchEvent::Stopped(receipt)) => self.stopped(&receipt)?,
                Ok(WatchEvent::Group(group)) => self.group(&group)?,
                Ok(WatchEvent::TargetFailed { target, failure }) => self.target_failed(&target, &failure)?,
                Ok(WatchEvent::Snapshot { lost: None, .. } | WatchEvent::Changed(_) | WatchEvent::Gone(_)) => {}
                Err(error) => return Err(reach::trouble(self.setting, None, &error)),
            }
        }
        self.setting.terminal.tell("the daemon has ended");
        Ok(())
    }

    fn show(&mut self, transition: &Transition, service: Option<&Service>) -> Result<(), Trouble> {
        let last = self.shown.get(&transition.service);
        if last.is_some_and(|last| *last >= transition.number) || !self.meant.has_service(&transition.service) {
            return Ok(());
        }
        self.shown.insert(transition.service.clone(), transition.number);
        if self.json {
            return self.setting.terminal.say_json(transition);
        }
        let line = line(transition, service, self.width, &Clock::here(), self.setting.terminal.out);
        self.setting.terminal.say(&line)
    }

    /// Somebody asked for a target. In JSON the root of what came of it says so.
    fn switch(&mut self, root: &Root, target: &str) -> Result<(), Trouble> {
        if self.json || !self.meant.has_target(target) {
            return Ok(());
        }
        self.asked.insert(moment(root));
        self.line(root.at_us, target, Tone::Plain, words::origin(&root.what, None))
    }

    fn group(&mut self, group: &Group) -> Result<(), Trouble> {
        let before = self.groups.insert(group.name.clone(), group.clone());
        let from = self.failed.remove(&group.name);
        let target = target_name(&group.name, &group.target);
        if before.as_ref().is_some_and(|before| is_told(before, group)) || !self.meant.has_target(&target) {
            return Ok(());
        }
        if self.json {
            return self.setting.terminal.say_json(&json!({ "group": group }));
        }
        let (tone, mut words) = words::group_moved(group);
        if let Some(from) = from.filter(|from| *from != target) {
            words.push_str(&format!(", as the fallback of {from}"));
        }
        let was = before.and_then(|before| before.root).map(|root| moment(&root));
        let root = group.root.as_ref().filter(|root| was != Some(moment(root)) && !self.asked.contains(&moment(root)));
        if let Some(root) = root {
            words.push_str(&format!(" ({})", words::origin(&root.what, None)));
        }
        self.line(group.since_us, &target, tone, words)
    }

    fn target_failed(&mut self, target: &str, failure: &TargetFailure) -> Result<(), Trouble> {
        let group = target.split_once('/').map_or("", |(group, _)| group);
        self.failed.insert(group.to_owned(), target.to_owned());
        if !self.meant.has_target(target) {
            return Ok(());
        }
        if self.json {
            let value = json!({ "target_failed": target, "failure": failure });
            return self.setting.terminal.say_json(&value);
        }
        self.line(failure.at_us, target, Tone::Bad, words::target_failed(failure))
    }

    fn stopped(&self, receipt: &ReceiptInShort) -> Result<(), Trouble> {
        if !self.meant.has_service(&receipt.service) {
            return Ok(());
        }
        if self.json {
            return self.setting.terminal.say_json(&json!({ "receipt": receipt }));
        }
        self.line(receipt.empty_us, &receipt.service, Tone::Faint, words::receipt_in_short(receipt))
    }

    fn lost(&self, lost: u64) -> Result<(), Trouble> {
        if self.json {
            return self.setting.terminal.say_json(&json!({ "lost": lost }));
        }
        let words = format!(
            "{} came faster than they could be shown",
            words::count(usize::try_from(lost).unwrap_or(usize::MAX), "change")
        );
        self.setting.terminal.say(&format!("{}\n", self.setting.terminal.out.tone(Tone::Uneasy, words)))
    }

    fn line(&self, at_us: u64, name: &str, tone: Tone, words: String) -> Result<(), Trouble> {
        let (paint, width) = (self.setting.terminal.out, self.width);
        let (stamp, what) = (paint.faint(Clock::here().stamp(at_us)), paint.tone(tone, words));
        self.setting.terminal.say(&format!("{stamp}  {name:<width$}  {what}\n"))
    }
}

/// Tells one outside event from another: those of before a breakage of the daemon have no number any more.
fn moment(root: &Root) -> (u64, u64) {
    (root.at_us, root.event)
}

/// Whether a group is as it was told: what happens in one moment is told with what came of all of it.
fn is_told(before: &Group, now: &Group) -> bool {
    let told = |group: &Group| (group.since_us, group.phase, group.target.clone(), group.failures);
    told(before) == told(now)
}

fn line(transition: &Transition, service: Option<&Service>, width: usize, clock: &Clock, paint: Paint) -> String {
    let what = paint.tone(words::tone(transition.to), words::moved(transition, service));
    format!("{}  {:<width$}  {what}\n", paint.faint(clock.stamp(transition.at_us)), transition.service)
}
