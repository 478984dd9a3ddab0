//! What is seen of an instance's services without asking anybody: the board. Where there is none to be read, the daemon is
//! asked.

use serde_json::{Map, Value, json};
use verger_client::page::{Entry, Liveness, State};
use verger_client::{Board, Mapped, OpenError};
use verger_engine::time::Moment;
use verger_wire::Word;
use verger_wire::message::Service;
use verger_wire::view::{micros, recorded};

use crate::aftermath::{self, Aftermath, Fate};
use crate::hindrance::Hindrance;
use crate::reach;
use crate::setting::Setting;
use crate::trouble::Trouble;
use verger_plan::glob;

/// The services of an instance, and its daemon.
pub(crate) struct Seen {
    pub(crate) services: Vec<Service>,
    /// Those for whom some of them wait, where they are none of them themselves.
    awaited: Vec<Service>,
    pub(crate) liveness: Liveness,
    /// What is left of a daemon that died.
    pub(crate) aftermath: Option<Aftermath>,
    daemon: Map<String, Value>,
    /// Whether the plan's own words (description, autostart, …) are known too.
    whole: bool,
}

/// What a service's record on the board does not have.
const PLANS_OWN: [&str; 3] = ["description", "autostart", "essential"];

impl Seen {
    /// A service as JSON: the wire's fields, less what is not known.
    pub(crate) fn service_json(&self, service: &Service) -> Value {
        let mut value = serde_json::to_value(service).unwrap_or_default();
        if let (false, Some(fields)) = (self.whole, value.as_object_mut()) {
            for field in PLANS_OWN {
                fields.remove(field);
            }
        }
        if let (Some(hindrance), Some(fields)) = (Hindrance::of(service), value.as_object_mut()) {
            fields.insert("hindrance".to_owned(), hindrance.json());
        }
        if let (Some(fate), Some(fields)) = (self.fate(service), value.as_object_mut()) {
            fields.insert("fate".to_owned(), json!(fate.word()));
        }
        value
    }

    /// One of the services, or one for whom one of them waits.
    pub(crate) fn find(&self, name: &str) -> Option<&Service> {
        self.services.iter().chain(&self.awaited).find(|service| service.name == name)
    }

    /// What became of a service when its daemon died.
    pub(crate) fn fate(&self, service: &Service) -> Option<Fate> {
        self.aftermath.as_ref()?.fate(&service.name)
    }

    /// Shows the services of a daemon that died as they are now.
    fn corrected(mut self) -> Seen {
        if let Some(aftermath) = &self.aftermath {
            self.services.iter_mut().for_each(|service| aftermath.correct(service));
        }
        self
    }

    /// Everything as JSON; of the services those that are `shown`.
    pub(crate) fn json(&self, shown: &[&Service]) -> Value {
        let services: Vec<Value> = shown.iter().map(|service| self.service_json(service)).collect();
        json!({ "services": services, "daemon": self.daemon })
    }
}

/// Looks at the board; asks the daemon where there is no board that can be read. `typed` says who is meant: of plain names
/// no others are looked at, unless one of them is nobody's.
pub(crate) fn look(setting: &Setting, typed: &[String]) -> Result<Seen, Trouble> {
    match open(setting)? {
        Ok(board) => Ok(named(setting, &board, typed).unwrap_or_else(|| on_board(setting, &board))),
        Err(why) => ask(setting, &why),
    }
}

/// Those with these names, if all of them are there and none is a pattern: thousands of others cost nothing then.
fn named(setting: &Setting, board: &Board<Mapped>, typed: &[String]) -> Option<Seen> {
    if typed.is_empty() || typed.iter().any(|one| glob::is_pattern(one)) {
        return None;
    }
    let mut services: Vec<Service> = typed.iter().map(|name| one(board, name)).collect::<Option<_>>()?;
    services.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    services.dedup_by(|a, b| a.name == b.name);
    let awaited = services.iter().filter_map(|service| one(board, service.waits_for.as_ref()?)).collect();
    let liveness = board.liveness();
    let aftermath = Aftermath::look(setting, board, liveness);
    let daemon = daemon(setting, board, liveness, aftermath.as_ref());
    Some(Seen { services, awaited, liveness, aftermath, daemon, whole: false }.corrected())
}

/// The board of the instance, or why it cannot be read.
pub(crate) fn open(setting: &Setting) -> Result<Result<Board<Mapped>, OpenError>, Trouble> {
    Ok(Board::open(&reach::address(setting)?.board()))
}

/// Everything that a board shows. A record that was being written when its daemon died is left out.
pub(crate) fn on_board(setting: &Setting, board: &Board<Mapped>) -> Seen {
    let slots = 0..board.reader().slots();
    let mut entries: Vec<Entry> = slots.filter_map(|slot| board.read(slot).ok().flatten()).collect();
    entries.sort_unstable_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    let name = |slot| board.read(slot).ok().flatten().map(|entry| entry.name.to_string());
    let liveness = board.liveness();
    let aftermath = Aftermath::look(setting, board, liveness);
    let daemon = daemon(setting, board, liveness, aftermath.as_ref());
    let services = entries.iter().map(|entry| recorded(entry, name)).collect();
    Seen { services, awaited: Vec::new(), liveness, aftermath, daemon, whole: false }.corrected()
}

/// The service with this name, as the board shows it.
fn one(board: &Board<Mapped>, name: &str) -> Option<Service> {
    let entry = board.find(name).ok()??;
    let other = |slot| board.read(slot).ok().flatten().map(|entry| entry.name.to_string());
    Some(recorded(&entry, other))
}

fn daemon(
    setting: &Setting,
    board: &Board<Mapped>,
    liveness: Liveness,
    aftermath: Option<&Aftermath>,
) -> Map<String, Value> {
    let reader = board.reader();
    let identity = reader.identity();
    let (word, overdue) = match liveness {
        Liveness::Alive => ("alive", None),
        Liveness::Stuck { overdue } => ("stuck", Some(overdue.as_millis())),
        Liveness::Ended => ("ended", None),
        Liveness::Died => ("died", None),
    };
    let over_at = Some(reader.over_at()).filter(|at| *at != Moment::NEVER);
    let state = reader.state().map_or(Value::Null, |state: State| json!(state.spoken().to_string()));
    let fields = [
        ("instance", json!(identity.instance.as_str())),
        ("pid", json!(identity.pid)),
        ("liveness", json!(word)),
        ("overdue_ms", overdue.map_or(Value::Null, |overdue| json!(overdue))),
        ("state", state),
        ("over_us", over_at.map_or(Value::Null, |at| json!(micros(at)))),
        ("started_us", json!(micros(identity.started_at))),
        ("now_us", json!(micros(verger_client::now()))),
        ("plan", reader.plan().map_or(Value::Null, |(digest, _)| json!(verger_wire::digest::to_text(digest)))),
    ];
    let known = fields.into_iter().filter(|(_, value)| !value.is_null());
    // Of this one also that there is none.
    let keeper = aftermath.map_or_else(|| aftermath::keeper(setting), |aftermath| aftermath.keeper);
    let survivors = aftermath.map(|aftermath| ("survivors", json!(aftermath.survivors())));
    let known = known.chain([("keeper", json!(keeper))]).chain(survivors);
    known.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What the daemon itself says.
fn ask(setting: &Setting, why: &OpenError) -> Result<Seen, Trouble> {
    let failed = |error| {
        let trouble = reach::trouble(setting, None, &error);
        match why {
            OpenError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => trouble,
            OpenError::Io(_) | OpenError::Board(_) => trouble.detail(format!("and its board cannot be read: {why}")),
        }
    };
    let mut connection = reach::connect(setting)?;
    let described = connection.describe().map_err(failed)?;
    let services = connection.list(None).map_err(failed)?;
    let plan = described.plan.as_ref().map_or(Value::Null, |plan| json!(plan.digest));
    let daemon = json!({
        "instance": described.instance,
        "pid": described.pid,
        "liveness": "alive",
        "state": described.state,
        "started_us": described.started_us,
        "now_us": described.now_us,
        "plan": plan,
        "keeper": aftermath::keeper(setting),
    });
    let daemon = match daemon {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    };
    Ok(Seen { services, awaited: Vec::new(), liveness: Liveness::Alive, aftermath: None, daemon, whole: true })
}

/// What is to be said first about a daemon that is not as it should be.
pub(crate) fn about_daemon(setting: &Setting, seen: &Seen) -> Option<String> {
    let instance = &setting.instance;
    match seen.liveness {
        Liveness::Alive => None,
        Liveness::Stuck { overdue } => Some(format!(
            "the daemon of instance `{instance}` has not answered for {}s",
            (Moment(0) + overdue).since(Moment(0)).as_millis() / 1_000
        )),
        Liveness::Ended => Some(format!("the daemon of instance `{instance}` has ended; this is how it left things")),
        Liveness::Died => seen.aftermath.as_ref().map(|aftermath| aftermath.words(instance)),
    }
}
