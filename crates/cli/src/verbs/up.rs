//! `verger up`: a daemon of our own, shown live, ended with us.
//!
//! The daemon is our child and holds us by a connection: when we end, however that is, it ends everything. Signals that end
//! programs reach it through us, so that each of them counts once.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::PidfdFlags;
use verger_client::{Address, ClientError, Connection, Watch, WatchEvent};
use verger_engine::life::{GroupPhase, PhaseKind};
use verger_engine::runs::{Ended, Pid};
use verger_engine::time::Span;
use verger_linux::signals::{self, SignalFd, SignalSet};
use verger_linux::{process, reap};
use verger_wire::message::{Group, Service, TargetFailure, Transition};
use verger_wire::view;

use crate::launch::{self, Started};
use crate::plans::{self, Where};
use crate::reach::{self, Anew};
use crate::setting::Setting;
use crate::trouble::{FAILED, Trouble, cannot};
use crate::words::{self, Clock, Tone};

/// Run a plan here and now, and show what happens
///
/// The services and their daemon live as long as this command. Ctrl-C (or SIGTERM, or SIGHUP) ends everything in order; a
/// second one faster. What services write to their standard output and error is seen here too, unless the plan says
/// otherwise. The exit status is that of the service marked `essential` whose end ended everything; 0 when everything ended
/// as asked.
#[derive(Debug, clap::Args)]
pub(super) struct Up {
    /// The plan: TOML, JSON, a configuration of AOS or S-CORE, or a compiled one; `-` is standard input
    file: String,
    /// End everything within this time, when it is to end: 10s, 1m30s, forever. It goes before what the environment
    /// (VERGER_SHUTDOWN_BUDGET) and the plan (`shutdown_budget`) say
    #[arg(long, value_name = "TIME", value_parser = super::orders::duration)]
    budget: Option<Span>,
}

const SIGHUP: u8 = 1;
const SIGINT: u8 = 2;
const SIGQUIT: u8 = 3;
const SIGTERM: u8 = 15;

/// How long a daemon that has closed its connection is given to end, before it counts as one that broke and came back.
const ENDING: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
/// What is said where the end came faster than it could be told.
const ENDED_UNSEEN: &str = "the daemon has ended; not all of what happened could be shown";
/// What has begun to come is there after so long.
const MOMENT: Duration = Duration::from_millis(1);

impl Up {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let ready = plans::ready(setting, &self.file, Where::Here, self.budget)?;
        plans::tell_not_applied(setting, ready.reading.as_ref());
        // Before there is a daemon: no signal may end us and leave it to find out.
        let signals = heed_signals()?;
        // What a first service does may lead far before we get to run again: nothing of it is missed.
        let watch = |connection: Connection| connection.watch(None);
        let Started { pid, connection: watch } =
            launch::start_daemon(Some(&ready.image), &setting.instance, self.budget, watch)?;
        let end = watch_end(pid)?;
        let mut show = Show::new(setting);
        let mut up = Company { setting, pid, signals, end, asked: 0, watch: None };
        match watch {
            Ok(watch) => up.watch = Some(watch),
            Err(error) => setting.terminal.complain(&reach::trouble(setting, None, &error)),
        }
        up.stay(&mut show)?;
        let exit = reap::wait_pid(pid).map_err(cannot("wait for the daemon"))?;
        match exit.ended {
            Ended::Exited(0) => Ok(()),
            // It has said why.
            Ended::Exited(status) => Err(Trouble::said(status)),
            Ended::Signaled { .. } | Ended::Unknown => {
                let how = verger_wire::message::Exit::from(&exit);
                Err(Trouble::new(format!("the daemon {}", words::exit(&how))).with_status(FAILED))
            }
        }
    }
}

/// Holds back the signals that are for the daemon.
fn heed_signals() -> Result<SignalFd, Trouble> {
    let heeded = [SIGHUP, SIGINT, SIGQUIT, SIGTERM].into_iter().filter(|it| !signals::at_start().ignored.contains(*it));
    let heeded = heeded.fold(SignalSet::NONE, SignalSet::with);
    let _as_before = signals::set_mask(heeded);
    SignalFd::new(heeded).map_err(cannot("watch signals"))
}

/// A descriptor that becomes readable when the daemon ends.
fn watch_end(pid: Pid) -> Result<OwnedFd, Trouble> {
    let child = i32::try_from(pid.0).ok().and_then(rustix::process::Pid::from_raw).ok_or(Errno::SRCH);
    let opened = child.and_then(|child| rustix::process::pidfd_open(child, PidfdFlags::empty()));
    opened.map_err(cannot("watch the daemon"))
}

/// We and our daemon.
struct Company<'s> {
    setting: &'s Setting,
    pid: Pid,
    signals: SignalFd,
    /// Readable once the daemon has ended.
    end: OwnedFd,
    /// How often it was asked to end.
    asked: u32,
    watch: Option<Watch>,
}

impl Company<'_> {
    /// Shows what happens and passes on what is asked, until the daemon has ended.
    fn stay(&mut self, show: &mut Show<'_>) -> Result<(), Trouble> {
        loop {
            self.show_what_came(show)?;
            let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.end, PollFlags::IN)];
            fds.extend(self.watch.as_ref().map(|watch| PollFd::new(watch, PollFlags::IN)));
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(cannot("wait for the daemon")(errno)),
            }
            let [signalled, ended] = [0, 1].map(|at| fds.get(at).is_some_and(|fd| !fd.revents().is_empty()));
            drop(fds);
            if signalled {
                self.pass_on_signals();
                show.said_up = true;
            }
            if ended {
                // What it said last may still be there to be read.
                return self.show_what_came(show);
            }
        }
    }

    fn show_what_came(&mut self, show: &mut Show<'_>) -> Result<(), Trouble> {
        while let Some(watch) = &mut self.watch {
            match watch.next_within(MOMENT) {
                Ok(Some(event)) => show.event(event),
                Ok(None) => return Ok(()),
                Err(ClientError::Closed) => self.watch = self.watch_again(show)?,
                Err(error) if self.is_ending() => {
                    // Cut in the middle of what it said: it was told faster than it could be shown.
                    let _nothing_more_comes = error;
                    show.say(Tone::Uneasy, ENDED_UNSEEN);
                    self.watch = None;
                }
                Err(error) => {
                    self.setting.terminal.complain(&reach::trouble(self.setting, None, &error));
                    self.watch = None;
                }
            }
        }
        Ok(())
    }

    /// Whether the daemon ends now.
    fn is_ending(&self) -> bool {
        let mut end = [PollFd::new(&self.end, PollFlags::IN)];
        poll(&mut end, Some(&ENDING)).is_ok_and(|ready| ready > 0)
    }

    /// The connection has ended: with the daemon, or because the daemon executed itself anew and took up its services again.
    fn watch_again(&self, show: &mut Show<'_>) -> Result<Option<Watch>, Trouble> {
        if self.is_ending() {
            return Ok(None);
        }
        let address = Address::find(&self.setting.instance);
        let again = address.map_err(ClientError::from).and_then(|address| Connection::open(&address)?.watch(None));
        match again {
            Ok(watch) => {
                let (tone, what) = match Anew::of(self.pid.0) {
                    Some(Anew::InOrder) => (Tone::Faint, "the daemon has become another program, as it was asked to"),
                    Some(Anew::Broken) | None => (Tone::Uneasy, "the daemon broke and has come back"),
                };
                show.say(tone, &format!("{what}; its services are as they were"));
                Ok(Some(watch))
            }
            Err(error) => {
                self.setting.terminal.complain(&reach::trouble(self.setting, None, &error));
                Ok(None)
            }
        }
    }

    fn pass_on_signals(&mut self) {
        while let Ok(Some(received)) = self.signals.take() {
            let name = verger_wire::message::signal_text(received.signal);
            self.asked += 1;
            let words = match self.asked {
                1 => format!("{name}: ending everything in order (once more: faster)"),
                _ => format!("{name}: ending everything faster"),
            };
            // A terminal has shown `^C` where our line begins.
            let begin = if received.signal == SIGINT && self.setting.terminal.err.is_coloured() { "\r" } else { "" };
            self.setting.terminal.tell(&format!("{begin}{words}"));
            // To a daemon that runs by itself SIGHUP means something else: there is no terminal that it could lose.
            let signal = if received.signal == SIGHUP { SIGTERM } else { received.signal };
            let _has_ended_meanwhile = process::signal(self.pid, signal);
        }
    }
}

/// What happens, line by line.
struct Show<'s> {
    setting: &'s Setting,
    /// How wide names are.
    width: usize,
    phases: BTreeMap<String, (usize, PhaseKind)>,
    /// How many of them are on their way to another phase: counted, since there may be thousands.
    moving: usize,
    /// Whether it has been said that all is up.
    said_up: bool,
    /// Since when a target is as it was told last.
    groups: BTreeMap<String, (u64, GroupPhase)>,
    /// The target of a group that has failed, until it is told where the group is then.
    failed: BTreeMap<String, String>,
}

impl<'s> Show<'s> {
    fn new(setting: &'s Setting) -> Show<'s> {
        let (phases, groups, failed) = Default::default();
        Show { setting, width: 0, phases, moving: 0, said_up: false, groups, failed }
    }

    fn say(&self, tone: Tone, words: &str) {
        self.setting.terminal.tell(&self.setting.terminal.err.tone(tone, words));
    }

    fn event(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Snapshot { services, groups, lost } => {
                self.snapshot(&services, lost);
                groups.iter().for_each(|group| self.group(group));
            }
            WatchEvent::Moved { transition, service } => self.moved(&transition, service.as_deref()),
            WatchEvent::Stopped(_) => {}
            WatchEvent::Group(group) => self.group(&group),
            WatchEvent::TargetFailed { target, failure } => self.target_failed(&target, &failure),
            WatchEvent::Changed(service) => self.note(&service.name, service.phase),
            WatchEvent::Gone(name) => {
                let gone = self.phases.remove(&name);
                self.moving -= usize::from(gone.is_some_and(|(_, phase)| is_moving(phase)));
            }
        }
        self.say_when_all_is_up();
    }

    fn note(&mut self, name: &str, phase: PhaseKind) {
        let next = self.phases.len();
        let (_, known) = self.phases.entry(name.to_owned()).or_insert((next, PhaseKind::Down));
        self.moving -= usize::from(is_moving(*known));
        self.moving += usize::from(is_moving(phase));
        *known = phase;
        self.width = self.width.max(name.chars().count());
    }

    fn snapshot(&mut self, services: &[Service], lost: Option<u64>) {
        if let Some(lost) = lost {
            self.say(Tone::Uneasy, &format!("{lost} changes came faster than they could be shown; now it is so:"));
        }
        let before = std::mem::take(&mut self.phases);
        self.moving = 0;
        services.iter().for_each(|service| self.note(&service.name, service.phase));
        let clock = Clock::here();
        for service in services {
            let known = before.get(&service.name).is_some_and(|(_, phase)| *phase == service.phase);
            // Nothing has happened to one that nobody has asked for.
            if known || (service.phase == PhaseKind::Down && service.since_us == 0) {
                continue;
            }
            let note = words::note(service, &clock);
            let phase = service.phase.to_string();
            let words = match service.phase {
                PhaseKind::Starting | PhaseKind::Stopping => phase,
                PhaseKind::Waiting if !note.is_empty() => note,
                PhaseKind::Down
                | PhaseKind::Waiting
                | PhaseKind::Blocked
                | PhaseKind::Running
                | PhaseKind::Held
                | PhaseKind::Stuck
                | PhaseKind::Resting
                | PhaseKind::Done
                | PhaseKind::Failed => match note.is_empty() {
                    true => phase,
                    false => format!("{phase}: {note}"),
                },
            };
            self.line(&clock, service.since_us, &service.name, service.phase, &words);
        }
    }

    fn moved(&mut self, transition: &Transition, service: Option<&Service>) {
        self.note(&transition.service, transition.to);
        let on = transition.cause.service.as_ref().filter(|_| transition.to == PhaseKind::Blocked);
        let is_done = |on: &&String| self.phases.get(*on).is_some_and(|(_, phase)| *phase == PhaseKind::Done);
        let words = match on.filter(is_done) {
            Some(on) => format!("blocked: {}", words::ended_otherwise_than_asked(on)),
            None => words::moved(transition, service),
        };
        self.line(&Clock::here(), transition.at_us, &transition.service, transition.to, &words);
        let failure = service.filter(|it| it.phase == PhaseKind::Failed).and_then(|it| it.failure.as_ref());
        if let Some(failure) = failure {
            let first = failure.step.and_then(|step| words::start_hint(step, failure.errno.unwrap_or(0)));
            let more = format!("`verger why {}` tells more", transition.service);
            let hint = first.map_or(more, str::to_owned);
            self.setting.terminal.tell(&format!("{} {hint}", self.setting.terminal.err.hint("Hint:")));
        }
    }

    /// Where a group is now. What it goes through on its way is seen of its services.
    fn group(&mut self, group: &Group) {
        let target = view::target_name(&group.name, &group.target);
        let is_settled = match group.phase {
            GroupPhase::Complete | GroupPhase::Failed | GroupPhase::Resting => true,
            GroupPhase::Stopping | GroupPhase::Starting => false,
        };
        let told = (group.since_us, group.phase);
        if !is_settled || self.groups.insert(target.clone(), told) == Some(told) {
            return;
        }
        let (tone, mut words) = words::group_moved(group);
        if let Some(from) = self.failed.remove(&group.name).filter(|from| *from != target) {
            words.push_str(&format!(", as the fallback of {from}"));
        }
        self.target(group.since_us, &target, tone, &words);
    }

    fn target_failed(&mut self, target: &str, failure: &TargetFailure) {
        let group = target.split_once('/').map_or("", |(group, _)| group);
        self.failed.insert(group.to_owned(), target.to_owned());
        self.target(failure.at_us, target, Tone::Bad, &words::target_failed(failure));
    }

    fn target(&self, at_us: u64, name: &str, tone: Tone, words: &str) {
        let paint = self.setting.terminal.err;
        let (stamp, words) = (paint.faint(Clock::here().stamp(at_us)), paint.tone(tone, format!("target {words}")));
        self.setting.terminal.tell(&format!("{stamp}  {name:<width$}  {words}", width = self.width));
    }

    fn line(&self, clock: &Clock, at_us: u64, name: &str, phase: PhaseKind, words: &str) {
        let paint = self.setting.terminal.err;
        let nth = self.phases.get(name).map_or(0, |(nth, _)| *nth);
        let shown = paint.name(nth, format!("{name:<width$}", width = self.width));
        let (stamp, words) = (paint.faint(clock.stamp(at_us)), paint.tone(words::tone(phase), words));
        self.setting.terminal.tell(&format!("{stamp}  {shown}  {words}"));
    }

    /// Once: that everything that was to come up has, and what can be done now.
    fn say_when_all_is_up(&mut self) {
        if self.said_up || self.phases.is_empty() || self.moving > 0 {
            return;
        }
        let count = |wanted: PhaseKind| self.phases.values().filter(|(_, phase)| *phase == wanted).count();
        let (up, failed) = (count(PhaseKind::Running), count(PhaseKind::Failed) + count(PhaseKind::Blocked));
        if up + failed == 0 {
            return;
        }
        self.said_up = true;
        let mut words = format!("{} up", words::count(up, "service"));
        if failed > 0 {
            words.push_str(&format!(", {failed} failed"));
        }
        let instance = match self.setting.instance.as_str() {
            verger_wire::place::DEFAULT_INSTANCE => String::new(),
            other => format!(" --instance {other}"),
        };
        self.say(
            Tone::Faint,
            &format!("{words}; `verger{instance} status` in another terminal shows them, Ctrl-C ends them in order"),
        );
    }
}

/// Whether one in this phase is on its way to another.
fn is_moving(phase: PhaseKind) -> bool {
    match phase {
        PhaseKind::Waiting
        | PhaseKind::Starting
        | PhaseKind::Resting
        | PhaseKind::Held
        | PhaseKind::Stopping
        | PhaseKind::Stuck => true,
        PhaseKind::Down | PhaseKind::Blocked | PhaseKind::Running | PhaseKind::Done | PhaseKind::Failed => false,
    }
}
