//! Everything a daemon tells, as it tells it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use verger_client::message::{Service, Transition};
use verger_client::{ClientError, Connection, WatchEvent};

use crate::{PATIENCE, patience};

/// A place in what was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(usize);

/// What a daemon has told so far; a thread of its own listens.
#[derive(Clone, Debug)]
pub struct Chronicle {
    shared: Arc<(Mutex<Told>, Condvar)>,
}

/// What was told.
#[derive(Debug, Default)]
struct Told {
    events: Vec<WatchEvent>,
    /// The last that was heard of each.
    services: BTreeMap<String, Service>,
    begun: bool,
    /// Why nothing more will come.
    ended: Option<String>,
}

impl Told {
    fn take(&mut self, event: WatchEvent) {
        match &event {
            WatchEvent::Snapshot { services, .. } => {
                self.begun = true;
                self.services = services.iter().map(|it| (it.name.clone(), it.clone())).collect();
            }
            WatchEvent::Moved { service: Some(service), .. } | WatchEvent::Changed(service) => {
                self.services.insert(service.name.clone(), (**service).clone());
            }
            WatchEvent::Moved { service: None, .. }
            | WatchEvent::Stopped(_)
            | WatchEvent::Group(_)
            | WatchEvent::TargetFailed { .. } => {}
            WatchEvent::Gone(name) => {
                self.services.remove(name);
            }
        }
        self.events.push(event);
    }
}

impl Chronicle {
    /// Listens to a daemon from now on.
    pub fn over(connection: Connection) -> Chronicle {
        let shared = Arc::new((Mutex::new(Told::default()), Condvar::new()));
        let chronicle = Chronicle { shared: Arc::clone(&shared) };
        std::thread::spawn(move || {
            let ended = match connection.watch(None) {
                Ok(watch) => {
                    let mut ended = "the daemon closed the connection".to_owned();
                    for event in watch {
                        match event {
                            Ok(event) => shared.0.lock().unwrap().take(event),
                            Err(ClientError::Closed) => {}
                            Err(why) => ended = why.to_string(),
                        }
                        shared.1.notify_all();
                    }
                    ended
                }
                Err(why) => why.to_string(),
            };
            shared.0.lock().unwrap().ended = Some(ended);
            shared.1.notify_all();
        });
        chronicle
    }

    /// Where it is now.
    pub fn mark(&self) -> Mark {
        Mark(self.shared.0.lock().unwrap().events.len())
    }

    /// Waits until what was told satisfies; gives up at the end of the patience, or when nothing more will come.
    fn until<T>(&self, patience: Duration, mut what: impl FnMut(&Told) -> Option<T>) -> Result<T, String> {
        let patience = patience::here(patience);
        let deadline = Instant::now() + patience;
        let mut told = self.shared.0.lock().unwrap();
        loop {
            if let Some(found) = what(&told) {
                return Ok(found);
            }
            if let Some(ended) = &told.ended {
                return Err(ended.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("within {patience:?}"));
            }
            told = self.shared.1.wait_timeout(told, left).unwrap().0;
        }
    }

    /// Waits for the first snapshot; whether it came.
    pub fn begun_within(&self, patience: Duration) -> bool {
        self.until(patience, |told| told.begun.then_some(())).is_ok()
    }

    /// Waits until a service is, by the last that was told, as is asked for.
    #[track_caller]
    pub fn wait_state(&self, name: &str, what: &str, is: impl Fn(&Service) -> bool) -> Service {
        let found = self.until(PATIENCE, |told| told.services.get(name).filter(|it| is(it)).cloned());
        found.unwrap_or_else(|why| panic!("`{name}` was not {what}: {why}; it is {:?}", self.service(name)))
    }

    /// Waits until a service makes a transition, after a mark, that is as asked for.
    #[track_caller]
    pub fn wait_transition(
        &self,
        since: Mark,
        what: &str,
        is: impl Fn(&Transition) -> bool,
    ) -> (Transition, Option<Service>) {
        let mut seen = since.0;
        let found = self.until(PATIENCE, |told| {
            let fresh = told.events.get(seen..).unwrap_or_default();
            seen = told.events.len();
            fresh.iter().find_map(|event| {
                let WatchEvent::Moved { transition, service } = event else { return None };
                is(transition).then(|| ((**transition).clone(), service.as_deref().cloned()))
            })
        });
        found.unwrap_or_else(|why| panic!("nothing like `{what}` was told: {why}"))
    }

    /// Waits until, by the last that was told of everybody, all is as asked for.
    #[track_caller]
    pub fn wait_all(&self, what: &str, patience: Duration, is: impl Fn(&Service) -> bool) {
        let all = |told: &Told| (!told.services.is_empty() && told.services.values().all(&is)).then_some(());
        self.until(patience, all).unwrap_or_else(|why| {
            let told = self.shared.0.lock().unwrap();
            let others: Vec<&Service> = told.services.values().filter(|it| !is(it)).take(5).collect();
            panic!("not all are {what}: {why}; for instance {others:#?}")
        });
    }

    /// Whether, by the time given, something was told after a mark; for what must *not* come.
    pub fn told_within(&self, since: Mark, patience: Duration, is: impl Fn(&Transition) -> bool) -> bool {
        let found = self.until(patience, |told| {
            let mut fresh = told.events.get(since.0..).unwrap_or_default().iter();
            fresh.find(|it| matches!(it, WatchEvent::Moved { transition, .. } if is(transition))).map(|_| ())
        });
        found.is_ok()
    }

    /// Waits until nothing more will come; why.
    #[track_caller]
    pub fn wait_end(&self) -> String {
        let mut why = String::new();
        let ended = self.until(PATIENCE, |told| {
            why = told.ended.clone()?;
            Some(())
        });
        ended.unwrap_or_else(|_| panic!("the daemon goes on telling"));
        why
    }

    /// The last that was told of a service.
    pub fn service(&self, name: &str) -> Option<Service> {
        self.shared.0.lock().unwrap().services.get(name).cloned()
    }

    /// The transitions after a mark that have been told so far; see [`Machine::moves`](crate::Machine::moves).
    pub fn transitions(&self, since: Mark) -> Vec<Transition> {
        let told = self.shared.0.lock().unwrap();
        let moved = |event: &WatchEvent| {
            let WatchEvent::Moved { transition, .. } = event else { return None };
            Some((**transition).clone())
        };
        told.events.get(since.0..).unwrap_or_default().iter().filter_map(moved).collect()
    }

    /// All of it, for a person to read.
    pub fn text(&self) -> String {
        let told = self.shared.0.lock().unwrap();
        let mut text = String::new();
        for event in told.events.iter().take(400) {
            let _infallible = match event {
                WatchEvent::Snapshot { services, lost, .. } => {
                    let phases: Vec<String> =
                        services.iter().take(20).map(|it| format!("{} {}", it.name, it.phase)).collect();
                    writeln!(text, "  all: {} (lost {lost:?})", phases.join(", "))
                }
                WatchEvent::Moved { transition: it, .. } => {
                    let (at, cause) = (it.at_us, it.cause.kind);
                    writeln!(text, "  {at} {} run {} {} -> {} ({cause})", it.service, it.run, it.from, it.to)
                }
                WatchEvent::Changed(it) => writeln!(text, "  changed: {} pid {:?} {}", it.name, it.pid, it.phase),
                WatchEvent::Stopped(it) => {
                    writeln!(text, "  receipt: {} run {}, {} us", it.service, it.run, it.total_us)
                }
                WatchEvent::Gone(name) => writeln!(text, "  gone: {name}"),
                WatchEvent::Group(it) => writeln!(text, "  group {}: {} {}", it.name, it.target, it.phase),
                WatchEvent::TargetFailed { target, failure } => {
                    writeln!(text, "  target {target} has failed: {} {:?}", failure.kind, failure.service)
                }
            };
        }
        let _infallible = writeln!(text, "  {} events; ended: {:?}", told.events.len(), told.ended);
        text
    }
}

/// From the very beginning.
impl Default for Mark {
    fn default() -> Mark {
        Mark(0)
    }
}
