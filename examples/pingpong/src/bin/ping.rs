//! `ping`: asks at least once a second, prints each answer; reports ready the s6 way after the first.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use verger_pingpong::lines::{Lines, Sent};
use verger_pingpong::options::{self, Asked, Options};
use verger_pingpong::ready::ReadyFd;
use verger_pingpong::watch::{End, Turn, Watch};
use verger_pingpong::{complain, tell};

const HELP: &str = "\
ping: asks pong over a Unix socket and prints one line per answer

Usage: ping --socket ADDR [OPTIONS]

  --every TIME          how often to ask, at most 1s apart; default: 500ms
  --ready-fd N          write a newline to descriptor N once the first answer is there (s6's way)
";

/// How often to ask when nothing else is said.
const EVERY: Duration = Duration::from_millis(500);
/// The slowest pace: whoever watches for silence may count on one message a second.
const EVERY_MAX: Duration = Duration::from_secs(1);
/// The wait between two attempts to reach the other side: short beside the time a restart takes.
const RETRY: Duration = Duration::from_millis(100);
/// From when on a missing answer is worth a line.
const SILENCE: Duration = Duration::from_secs(2);
/// Questions remembered without an answer. A socket's buffer takes a few hundred, so only a stray peer exceeds it.
const OPEN_MAX: usize = 1000;

fn main() -> ExitCode {
    let mut every = EVERY;
    let mut ready_fd = None;
    let asked = options::read(std::env::args_os().skip(1), |name, value| {
        match name {
            "every" => every = options::duration(&value()?)?,
            "ready-fd" => {
                let value = value()?;
                let number = value.to_str().and_then(|it| it.parse::<u16>().ok());
                ready_fd = Some(number.ok_or_else(|| format!("`{}` is no descriptor", value.display()))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    });
    let options = match asked {
        Ok(Asked::Run(options)) => options,
        Ok(Asked::Help) => {
            tell(format_args!("{HELP}{}", options::HELP));
            return ExitCode::SUCCESS;
        }
        Err(why) => return options::misused("ping", &why),
    };
    if every.is_zero() || every > EVERY_MAX {
        return options::misused("ping", "--every must be above 0 and at most 1s");
    }
    // Before anything else is opened, so that a number that was not handed down is not found taken by us.
    let ready = match ready_fd.map(|number| (number, ReadyFd::inherited(i32::from(number)))) {
        None => None,
        Some((_, Ok(ready))) => Some(ready),
        Some((number, Err(why))) => {
            complain(format_args!("ping: --ready-fd {number}: {why}"));
            return ExitCode::FAILURE;
        }
    };
    let mut ping = Ping { every, ready, ..Ping::default() };
    match ping.run(&options) {
        Ok(end) => {
            tell(format_args!("ping: {} sent, {} answered, ending on {end}", ping.sent, ping.answered));
            ExitCode::SUCCESS
        }
        Err(why) => {
            complain(format_args!("ping: {why}"));
            ExitCode::FAILURE
        }
    }
}

/// Everything that changes while it runs.
#[derive(Default)]
struct Ping {
    every: Duration,
    ready: Option<ReadyFd>,
    sent: u64,
    answered: u64,
    /// Asked on the present connection and not answered, oldest first.
    open: VecDeque<(u64, Instant)>,
    /// What was last complained about, so that one trouble is one line however long it lasts.
    trouble: Option<Trouble>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Away,
    Silent,
}

/// The connection: there, or to be tried again.
enum Link {
    Down { try_at: Instant },
    Up { lines: Lines, ask_at: Instant },
}

impl Ping {
    fn run(&mut self, options: &Options) -> io::Result<End> {
        let mut watch = Watch::begin("ping", options.misdeeds.clone())?;
        let mut link = Link::Down { try_at: Instant::now() };
        loop {
            let now = Instant::now();
            link = match link {
                Link::Down { try_at } if try_at <= now => match options.socket.connect() {
                    Ok(stream) => {
                        self.open.clear();
                        Link::Up { lines: Lines::over(stream), ask_at: now }
                    }
                    Err(why) => {
                        self.note(Trouble::Away, format_args!("nobody at {} ({why}), trying on", options.socket));
                        Link::Down { try_at: now + RETRY }
                    }
                },
                Link::Up { mut lines, ask_at } if ask_at <= now => match self.ask(&mut lines, now) {
                    Ok(()) => Link::Up { lines, ask_at: now + self.every },
                    Err(why) => self.lost(&why, now),
                },
                waiting @ (Link::Down { .. } | Link::Up { .. }) => waiting,
            };
            let turn = match &link {
                Link::Down { try_at } => watch.wait(&[], Some(*try_at))?,
                Link::Up { lines, ask_at } => watch.wait(&[lines.as_fd()], Some(*ask_at))?,
            };
            link = match (turn, link) {
                (Turn::End(end), _) => return Ok(end),
                (Turn::News(_), Link::Up { mut lines, ask_at }) => match self.take(&mut lines) {
                    Ok(()) => Link::Up { lines, ask_at },
                    Err(why) => self.lost(&why, Instant::now()),
                },
                (_, link) => link,
            };
        }
    }

    fn ask(&mut self, lines: &mut Lines, now: Instant) -> io::Result<()> {
        if let Some((number, asked_at)) = self.open.front()
            && now.duration_since(*asked_at) >= SILENCE
        {
            let number = *number;
            self.note(Trouble::Silent, format_args!("no answer to {number} for {} s", SILENCE.as_secs()));
        }
        let number = self.sent + 1;
        match lines.send(&format!("ping {number}"))? {
            Sent::Whole => {
                self.sent = number;
                self.open.push_back((number, now));
                if self.open.len() > OPEN_MAX {
                    self.open.pop_front();
                }
            }
            // The other side has stopped reading: the silence is told above, and there is nothing to add to it.
            Sent::Nothing => {}
        }
        Ok(())
    }

    fn take(&mut self, lines: &mut Lines) -> io::Result<()> {
        for line in lines.read()? {
            let number = line.strip_prefix("pong ").and_then(|it| it.parse::<u64>().ok());
            let place = number.and_then(|number| self.open.iter().position(|(open, _)| *open == number));
            let Some((number, asked_at)) = place.and_then(|place| self.open.drain(..=place).next_back()) else {
                return Err(io::Error::new(ErrorKind::InvalidData, format!("`{line}` answers nothing that was asked")));
            };
            self.answered += 1;
            self.trouble = None;
            tell(format_args!("pong {number} after {} us", asked_at.elapsed().as_micros()));
            if let Some(ready) = self.ready.take()
                && let Err(why) = ready.report()
            {
                complain(format_args!("ping: cannot report ready: {why}"));
            }
        }
        Ok(())
    }

    fn lost(&mut self, why: &io::Error, now: Instant) -> Link {
        self.note(Trouble::Away, format_args!("the connection is gone ({why}), trying on"));
        Link::Down { try_at: now + RETRY }
    }

    fn note(&mut self, trouble: Trouble, words: std::fmt::Arguments<'_>) {
        if self.trouble != Some(trouble) {
            complain(format_args!("ping: {words}"));
            self.trouble = Some(trouble);
        }
    }
}
