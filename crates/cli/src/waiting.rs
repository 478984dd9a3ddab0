//! What is said while somebody waits for stops: who is in the way, and what happens next. It is read from the board, beside
//! the wait itself.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use verger_engine::life::PhaseKind;
use verger_wire::message::Service;

use crate::hindrance::Hindrance;
use crate::seen;
use crate::setting::Setting;
use crate::words::{self, Clock};

/// Nothing is said of a wait that is over sooner.
const AT_FIRST: Duration = Duration::from_secs(2);
/// It is said again after so long.
const AGAIN: Duration = Duration::from_secs(10);
/// So many services are told of at once.
const TOLD_MAX: usize = 5;

/// Says what is waited for, as long as it exists.
pub(crate) struct Waiting {
    over: Option<Sender<()>>,
    teller: Option<JoinHandle<()>>,
}

impl Waiting {
    /// Begins to tell about the stops of these services; without names, of all.
    pub(crate) fn begin(setting: &Setting, names: Option<&[String]>) -> Waiting {
        let (over, told) = channel::<()>();
        let (setting, names) = (setting.clone(), names.map(<[String]>::to_vec));
        let tell = move || {
            let mut patience = AT_FIRST;
            while told.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                say(&setting, names.as_deref());
                patience = AGAIN;
            }
        };
        // Who cannot have a thread waits without a word.
        Waiting { over: Some(over), teller: std::thread::Builder::new().spawn(tell).ok() }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.over = None;
        if let Some(teller) = self.teller.take() {
            let _told = teller.join();
        }
    }
}

fn say(setting: &Setting, names: Option<&[String]>) {
    let Ok(Ok(board)) = seen::open(setting) else { return };
    let services = seen::on_board(setting, &board).services;
    let is_meant = |service: &&Service| names.is_none_or(|names| names.contains(&service.name));
    let stopping = |service: &&Service| matches!(service.phase, PhaseKind::Stopping | PhaseKind::Stuck);
    let waits: Vec<&Service> = services.iter().filter(is_meant).filter(stopping).collect();
    let clock = Clock::here();
    for service in waits.iter().take(TOLD_MAX) {
        setting.terminal.tell(&line(service, Hindrance::of(service), &clock));
    }
    if waits.len() > TOLD_MAX {
        setting.terminal.tell(&format!("and {} more", words::count(waits.len() - TOLD_MAX, "service")));
    }
}

/// `web has been stopping for 3s: process 4711 (sleep 1000), sleeping in hrtimer_nanosleep; SIGKILL in 7s`
pub(crate) fn line(service: &Service, hindrance: Option<Hindrance>, clock: &Clock) -> String {
    let lasting = words::lasting(clock.since(service.since_us));
    let who = hindrance.map_or_else(|| "nobody that can be seen is in the way".to_owned(), |it| it.words());
    let next = words::next_step(service, clock);
    format!("{} has been {} for {lasting}: {who}; {next}", service.name, service.phase)
}
