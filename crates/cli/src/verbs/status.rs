//! `verger status`: how services are, read from the board without asking anybody.

use std::io::IsTerminal;
use std::time::Duration;

use verger_client::page::Liveness;
use verger_client::{Board, Mapped};
use verger_engine::life::PhaseKind;
use verger_engine::runs::Containment;
use verger_wire::Word;
use verger_wire::message::Service;
use verger_wire::score;

use crate::aftermath::Fate;
use crate::hindrance::Hindrance;
use crate::names;
use crate::seen::{self, Seen};
use crate::setting::Setting;
use crate::table::{Cell, table};
use crate::terminal::Paint;
use crate::trouble::{DONE, Trouble};
use crate::waiting;
use crate::words::{self, Clock, Tone};

/// The daemon died (LSB: dead, and its files are still there).
const DIED: u8 = 1;
/// Something that was asked for is not running.
const NOT_RUNNING: u8 = 3;
/// There is no such service.
const UNKNOWN: u8 = 4;
/// It was not understood.
pub(super) const USAGE: u8 = 64;
/// How often a table that is watched is drawn at most: nobody reads faster.
const REDRAW: Duration = Duration::from_millis(50);
/// How often it is drawn at least where somebody sees it: it shows how long things take.
const REFRESH: Duration = Duration::from_secs(1);

/// Show how services are, without asking the daemon
///
/// It is read from the daemon's board, a page of shared memory: it costs the daemon nothing, and works when the daemon hangs
/// or is dead, which is said. Of a daemon that died it shows what lives on and who holds it; what has ended is shown as down.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status, as the Linux Standard Base has it:
  0   what was named is running, or done if it is to end by itself (no names: the daemon lives)
  1   the daemon died and has left its board behind (names: and something that was named has ended since)
  3   something that was named is not running, or there is no daemon
  4   there is no such service
  64  wrong usage")]
pub(super) struct Status {
    /// Services, by name or pattern (`cam-*`); none means all
    #[arg(value_name = "NAME|GLOB")]
    names: Vec<String>,
    /// Print it as JSON: {"services":[{"name","phase","ready","pid","run",…}],"daemon":{…,"keeper"}}; when the daemon died, each
    /// service has its "fate" and the daemon its "survivors"
    #[arg(long)]
    json: bool,
    /// Say the state of each process as S-CORE's Launch Manager calls it too (as JSON: "score_state")
    #[arg(long)]
    score: bool,
    /// Show it again whenever it changes (as JSON: a line each time)
    #[arg(short, long)]
    watch: bool,
}

impl Status {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        if self.watch {
            return self.watch(setting);
        }
        let seen = seen::look(setting, &self.names).map_err(nothing_seen)?;
        let status = self.show(setting, &seen)?;
        if status == DONE { Ok(()) } else { Err(Trouble::said(status)) }
    }

    /// Shows what is seen; the exit status.
    fn show(&self, setting: &Setting, seen: &Seen) -> Result<u8, Trouble> {
        let (picked, missing) = names::pick(&seen.services, &self.names);
        if let Some(words) = seen::about_daemon(setting, seen) {
            let label = setting.terminal.err.tone(Tone::Uneasy, "Warning:");
            setting.terminal.tell(&format!("{label} {words}"));
        }
        match self.json {
            true => {
                let mut value = seen.json(&picked);
                if self.score {
                    for (number, service) in picked.iter().enumerate() {
                        value["services"][number]["score_state"] = score::process_state(service).word().into();
                    }
                }
                setting.terminal.say_json(&value)?;
            }
            false => {
                if !picked.is_empty() || missing.is_empty() {
                    let clock = Clock::here();
                    setting.terminal.say(&drawn(
                        &picked,
                        |it| noted(it, |on| seen.find(on), seen.fate(it), &clock),
                        self.score,
                        &clock,
                        setting.terminal.out,
                    ))?;
                    setting.terminal.say(&in_the_way(&picked, &clock))?;
                }
            }
        }
        for trouble in &missing {
            setting.terminal.complain(trouble);
        }
        Ok(match seen.liveness {
            _ if !missing.is_empty() => UNKNOWN,
            Liveness::Died if self.names.is_empty() => DIED,
            Liveness::Died if picked.iter().all(|it| is_running(it)) => DONE,
            Liveness::Died if picked.iter().any(|it| seen.fate(it).is_some_and(Fate::is_over)) => DIED,
            Liveness::Died => NOT_RUNNING,
            Liveness::Ended => NOT_RUNNING,
            Liveness::Alive | Liveness::Stuck { .. } if self.names.is_empty() => DONE,
            Liveness::Alive | Liveness::Stuck { .. } if picked.iter().all(|it| is_running(it)) => DONE,
            Liveness::Alive | Liveness::Stuck { .. } => NOT_RUNNING,
        })
    }

    /// Shows it again and again, until somebody ends us or the daemon ends.
    fn watch(&self, setting: &Setting) -> Result<(), Trouble> {
        let board =
            seen::open(setting).map_err(nothing_seen)?.map_err(|_| nothing_seen(crate::reach::nobody(setting)))?;
        let live = std::io::stdout().is_terminal() && !self.json;
        loop {
            let changes = board.reader().changes();
            let seen = seen::on_board(setting, &board);
            if live {
                // Home, and clear what is below: no flicker as from clearing first.
                setting.terminal.say("\x1b[H\x1b[2J")?;
            }
            let status = self.show(setting, &seen)?;
            if matches!(seen.liveness, Liveness::Ended | Liveness::Died) || status == UNKNOWN {
                return Err(Trouble::said(status));
            }
            if !live && !self.json {
                setting.terminal.say("\n")?;
            }
            wait(&board, changes, live);
        }
    }
}

/// There is nothing to be seen: there is no daemon, or what was asked for makes no sense.
fn nothing_seen(trouble: Trouble) -> Trouble {
    let status = if trouble.status == crate::trouble::USAGE { USAGE } else { NOT_RUNNING };
    trouble.with_status(status)
}

/// Waits for a change, or until what is shown of the time is old. The end of a daemon wakes nobody, so it is looked for.
fn wait(board: &Board<Mapped>, seen: u32, live: bool) {
    std::thread::sleep(REDRAW); // sleep: nobody reads faster; a storm of changes is not to be drawn one by one
    loop {
        board.memory().wait(seen, Some(REFRESH));
        let gone = matches!(board.liveness(), Liveness::Ended | Liveness::Died);
        if live || gone || board.reader().changes() != seen {
            return;
        }
    }
}

/// Whether it is as a service that is up should be.
fn is_running(service: &Service) -> bool {
    service.ready || service.phase == PhaseKind::Done
}

/// A line for each that is being stopped and has somebody in the way: who that is, and what happens next.
fn in_the_way(services: &[&Service], clock: &Clock) -> String {
    let line = |service: &&Service| {
        let hindrance = Hindrance::of(service)?;
        Some(format!("{}\n", waiting::line(service, Some(hindrance), clock)))
    };
    services.iter().filter_map(line).collect()
}

fn drawn(
    services: &[&Service],
    note: impl Fn(&Service) -> String,
    with_score: bool,
    clock: &Clock,
    paint: Paint,
) -> String {
    let rows: Vec<Vec<Cell>> = services
        .iter()
        .map(|service| {
            let since = if service.since_us == 0 { None } else { Some(words::lasting(clock.since(service.since_us))) };
            let mut cells = vec![
                Cell::new(&service.name),
                Cell::toned(service.phase.spoken().to_string(), words::tone(service.phase)),
                Cell::maybe(service.pid),
                Cell::maybe(since),
                Cell::new(service.restarts.to_string()),
                Cell::maybe(Some(service.containment.word()).filter(|_| service.containment != Containment::None)),
                Cell::new(note(service)),
            ];
            if with_score {
                cells.insert(2, Cell::new(score::process_state(service).word()));
            }
            cells
        })
        .collect();
    let mut heads = vec!["NAME", "PHASE", "PID", "FOR", "RESTARTS", "HELD BY", "NOTE"];
    if with_score {
        heads.insert(2, "S-CORE");
    }
    table(&heads, &rows, paint)
}

/// What the phase alone does not say, and what became of it if its daemon died; `find` knows the services beside it.
fn noted<'s>(
    service: &Service,
    find: impl Fn(&str) -> Option<&'s Service>,
    fate: Option<Fate>,
    clock: &Clock,
) -> String {
    let is_done = |on: &&String| find(on).is_some_and(|it| it.phase == PhaseKind::Done);
    let note = match service.waits_for.as_ref().filter(|_| service.phase == PhaseKind::Blocked).filter(is_done) {
        Some(on) => words::ended_otherwise_than_asked(on),
        None => words::note(service, clock),
    };
    match fate {
        None => note,
        Some(fate @ (Fate::Ending | Fate::Held | Fate::Loose)) if !note.is_empty() => {
            format!("{note}, {}", fate.note())
        }
        // What was to come does not come, and how a former run ended is not how this one did.
        Some(fate) => fate.note().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::samples::{exited, web};

    #[test]
    fn the_table_of_services() {
        let resting = Service {
            name: "api".to_owned(),
            until_us: Some(5_200_000),
            last_exit: Some(exited(1)),
            restarts: 3,
            ..web(PhaseKind::Resting)
        };
        let never = Service { name: "x".to_owned(), since_us: 0, ..web(PhaseKind::Down) };
        let held = Service { containment: Containment::Shim, ..web(PhaseKind::Running) };
        let clock = Clock::of(5_000_000, 0);
        let note = |service: &Service| noted(service, |_| None, None, &clock);
        let text = drawn(&[&resting, &held, &never], note, false, &clock, Paint::PLAIN);
        assert_eq!(
            text,
            "NAME  PHASE    PID   FOR  RESTARTS  HELD BY  NOTE\n\
             api   resting  -     4s   3         -        exited with status 1, starts again in 200ms\n\
             web   running  4711  4s   0         shim\n\
             x     down     -     -    0         -\n"
        );
        let text = drawn(&[&resting, &held], note, true, &clock, Paint::PLAIN);
        assert_eq!(
            text,
            "NAME  PHASE    S-CORE    PID   FOR  RESTARTS  HELD BY  NOTE\n\
             api   resting  Starting  -     4s   3         -        exited with status 1, starts again in 200ms\n\
             web   running  Running   4711  4s   0         shim\n"
        );
    }

    #[test]
    fn what_became_of_each_is_noted() {
        let resting = Service { until_us: Some(5_200_000), last_exit: Some(exited(1)), ..web(PhaseKind::Resting) };
        for (service, fate, note) in [
            (web(PhaseKind::Running), Fate::Held, "held by the keeper"),
            (web(PhaseKind::Starting), Fate::Held, "not ready yet, held by the keeper"),
            (Service { last_exit: Some(exited(1)), ..web(PhaseKind::Down) }, Fate::Ended, "ended with the daemon"),
            (resting, Fate::Unstarted, "nobody is there to start it"),
        ] {
            assert_eq!(noted(&service, |_| None, Some(fate), &Clock::of(5_000_000, 0)), note);
        }
        let blocked = Service { waits_for: Some("db".to_owned()), ..web(PhaseKind::Blocked) };
        let note = |phase| {
            let db = Service { name: "db".to_owned(), ..web(phase) };
            noted(&blocked, |name| Some(&db).filter(|db| db.name == name), None, &Clock::of(5_000_000, 0))
        };
        assert_eq!(note(PhaseKind::Done), "requires db, which has ended otherwise than it asks");
        assert_eq!(note(PhaseKind::Failed), "requires db, which has failed");
    }
}
