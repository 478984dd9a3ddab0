//! `verger why`: the chain from what is seen to its root, in words, with times.
//!
//! Where the daemon is gone and has left its recording behind, that is replayed and answers instead.

use verger_client::{Absence, ClientError, Connection};
use verger_engine::life::PhaseKind;
use verger_wire::message::{Error, Transition, Why as Answer};

use crate::names;
use crate::reach;
use crate::setting::Setting;
use crate::tape;
use crate::terminal::Paint;
use crate::trouble::Trouble;
use crate::words::{self, Clock, Tone};

/// Tell why a service is as it is, back to the outside event it all goes back to
#[derive(Debug, clap::Args)]
pub(super) struct Why {
    /// The service
    name: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Why {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let (why, clock) = match ask(setting, &self.name)? {
            Some(why) => (why, Clock::here()),
            None => remember(setting, &self.name)?,
        };
        if self.json {
            return setting.terminal.say_json(&why);
        }
        setting.terminal.say(&told(&why, &clock, setting.terminal.out))?;
        for hint in words::hints(&why) {
            setting.terminal.say(&format!("{} {hint}\n", setting.terminal.out.hint("Hint:")))?;
        }
        Ok(())
    }
}

/// Asks the daemon; `None` if it is dead.
fn ask(setting: &Setting, name: &str) -> Result<Option<Answer>, Trouble> {
    let mut connection = match Connection::open(&reach::address(setting)?) {
        Ok(connection) => connection,
        Err(ClientError::NotThere { why: Absence::NobodyListens, .. }) => return Ok(None),
        Err(error) => return Err(reach::trouble(setting, None, &error)),
    };
    connection.set_patience(Some(reach::PATIENCE));
    match connection.why(name) {
        Ok(why) => Ok(Some(why)),
        Err(ClientError::Remote(Error::NotFound { .. })) => {
            let services = connection.list(None).map_err(|error| reach::trouble(setting, None, &error))?;
            Err(names::unknown(name, &services))
        }
        Err(error) => Err(reach::trouble(setting, None, &error)),
    }
}

/// What a dead daemon's recording says.
fn remember(setting: &Setting, name: &str) -> Result<(Answer, Clock), Trouble> {
    let tape = tape::of_instance(setting)?;
    let (engine, at) = tape.engine_at_end()?;
    let label = setting.terminal.err.tone(Tone::Uneasy, "Warning:");
    let words = format!("{label} the daemon of instance `{}` died; this is what its recording says", setting.instance);
    setting.terminal.tell(&words);
    let found = engine.find(name).and_then(|service| verger_wire::view::why(&engine, service.slot));
    match found {
        Some(why) => Ok((why, Clock::of(verger_wire::view::micros(at), Clock::here().offset_us()))),
        None => Err(Trouble::new(format!("there is no service `{name}` in the recording"))),
    }
}

/// The whole answer.
fn told(why: &Answer, clock: &Clock, paint: Paint) -> String {
    let tone = words::tone(why.service.phase);
    let mut text = format!("{}\n", paint.tone(tone, words::headline(why, clock)));
    let lines: Vec<&Transition> = why.chain.iter().collect();
    if let Some(root) = lines.last().map(|link| &link.root) {
        text.push('\n');
        text.push_str(&links(&lines, why, clock, paint));
        text.push_str(&format!(
            "{} {}, {}\n",
            paint.strong("root:"),
            words::origin(&root.what, None),
            clock.ago(root.at_us)
        ));
    }
    let before = before(why);
    if !before.is_empty() {
        text.push_str("\nbefore that:\n");
        text.push_str(&links(&before, why, clock, paint));
    }
    if let Some(wanted) = &why.wanted {
        text.push_str(&format!("\n{}\n", words::wanted(&why.service.name, why.service.want, wanted, clock)));
    }
    text
}

/// Changes, one a line, in columns.
fn links(links: &[&Transition], why: &Answer, clock: &Clock, paint: Paint) -> String {
    let width = links.iter().map(|link| link.service.chars().count()).max().unwrap_or(0);
    let times: Vec<String> = links.iter().map(|link| clock.ago(link.at_us)).collect();
    let room = times.iter().map(|time| time.chars().count()).max().unwrap_or(0);
    let line = |(link, time): (&&Transition, &String)| {
        let service = (link.service == why.service.name).then_some(&why.service);
        let what = paint.tone(words::tone(link.to), words::moved(link, service));
        format!("  {}  {:<width$}  {what}\n", paint.faint(format!("{time:>room$}")), link.service)
    };
    links.iter().zip(&times).map(line).collect()
}

/// What led there, where the service's own past is part of the answer: how often it tried, how it ended each time.
fn before(why: &Answer) -> Vec<&Transition> {
    match why.service.phase {
        PhaseKind::Resting | PhaseKind::Failed | PhaseKind::Stuck | PhaseKind::Starting => {}
        PhaseKind::Down
        | PhaseKind::Waiting
        | PhaseKind::Blocked
        | PhaseKind::Running
        | PhaseKind::Held
        | PhaseKind::Stopping
        | PhaseKind::Done => return Vec::new(),
    }
    let in_chain =
        |it: &Transition| why.chain.iter().any(|link| link.service == it.service && link.number == it.number);
    why.history.iter().filter(|transition| !in_chain(transition)).collect()
}
