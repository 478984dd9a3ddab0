//! How long the end of everything may take: who has said so, and whose word goes first.
//!
//! A command's own budget, then `--budget`, then `VERGER_SHUTDOWN_BUDGET`, then the plan's `shutdown_budget`. In a container
//! whose plan says nothing there is one all the same: container engines kill a container that has not ended in time, and then
//! nothing has ended in order.

use std::ffi::OsString;
use std::fmt;

use verger_engine::Engine;
use verger_engine::budget::{Patience, percent};
use verger_engine::duration::read_duration;
use verger_engine::time::Span;
use verger_linux::machine::Init;

/// The variable that says it.
pub(crate) const VARIABLE: &str = "VERGER_SHUTDOWN_BUDGET";
/// What Docker and Podman give a container that nobody has said anything about: 10 s (`docker stop`, `podman stop`). Kubernetes
/// gives 30 s, but cannot be asked; it can be told to us.
const CONTAINER_GRACE: Span = Span::from_secs(10);
/// The engine's clock runs before ours: what it takes until the signal is here, and until our own end is seen.
const CONTAINER_MARGIN: Span = Span::from_secs(1);

/// What was said when the daemon was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Budgets {
    /// On the command line, or else in the environment.
    said: Option<Span>,
    in_container: bool,
}

impl Budgets {
    /// `variable` is what the environment says. The second value says what is wrong with it.
    pub(crate) fn new(option: Option<Span>, variable: Option<OsString>, init: Init) -> (Budgets, Option<String>) {
        let variable = variable.filter(|text| !text.is_empty()).map(|text| {
            let text = text.to_string_lossy().into_owned();
            read_duration(&text).map_err(|why| format!("{VARIABLE}: `{text}` is not a length of time: {why}"))
        });
        let (variable, flaw) = match variable.transpose() {
            Ok(span) => (span, None),
            Err(flaw) => (None, Some(flaw)),
        };
        (Budgets { said: option.or(variable), in_container: init == Init::OfNamespace }, flaw)
    }

    /// The patience for an end that was asked for with this budget, or with none.
    pub(crate) fn patience(&self, asked: Option<Span>, plan: Option<Span>) -> Patience {
        let container = self.in_container.then_some(Span(CONTAINER_GRACE.0 - CONTAINER_MARGIN.0));
        match asked.or(self.said).or(plan).or(container) {
            None | Some(Span::FOREVER) => Patience::Full,
            Some(within) => Patience::Within(within),
        }
    }
}

/// So many services of a chain are named; of those between only their number.
const NAMED: usize = 8;

/// What is said when graces are shortened.
pub(crate) struct Shortened<'e> {
    pub(crate) engine: &'e Engine,
    pub(crate) needed: Span,
    pub(crate) left: Span,
}

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = self.engine.budget().map_or(Span::FOREVER, |budget| budget.within);
        let length = self.engine.longest_chain().count();
        // What is left of graces that have begun is no round number.
        write!(f, "the longest chain needs {} (", self.needed.in_millis())?;
        // It comes backwards, and nothing is to be kept for it.
        for at in 0..length {
            let left_out = length.saturating_sub(NAMED);
            let named = |at: usize| at < NAMED - 1 || at + 1 == length;
            if !named(at) {
                if at == NAMED - 1 {
                    write!(f, " \u{2192} {left_out} more")?;
                }
                continue;
            }
            let slot = self.engine.longest_chain().nth(length - 1 - at);
            let name = slot.map_or("", |slot| self.engine.name(slot));
            write!(f, "{}{name}", if at == 0 { "" } else { " \u{2192} " })?;
        }
        let left = percent(self.left, self.needed);
        write!(f, ") and {within} are given: its graces are cut to {left} %")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_nearer_goes_first() {
        let secs = Span::from_secs;
        let made = |option, variable: &str, init| Budgets::new(option, Some(variable.into()), init);
        let (both, flaw) = made(Some(secs(1)), "2s", Init::OfNamespace);
        assert_eq!(flaw, None);
        assert_eq!(both.patience(Some(secs(7)), Some(secs(3))), Patience::Within(secs(7)));
        assert_eq!(both.patience(None, Some(secs(3))), Patience::Within(secs(1)));
        let (variable, _) = made(None, "2s", Init::OfNamespace);
        assert_eq!(variable.patience(None, Some(secs(3))), Patience::Within(secs(2)));
        let (container, _) = made(None, "", Init::OfNamespace);
        assert_eq!(container.patience(None, Some(secs(3))), Patience::Within(secs(3)));
        assert_eq!(container.patience(None, None), Patience::Within(secs(9)));
        assert_eq!(container.patience(None, Some(Span::FOREVER)), Patience::Full);
        let (forever, _) = made(None, "forever", Init::OfNamespace);
        assert_eq!(forever.patience(None, Some(secs(3))), Patience::Full);
        for init in [Init::No, Init::OfMachine] {
            assert_eq!(made(None, "", init).0.patience(None, None), Patience::Full);
        }
        let (wrong, flaw) = made(None, "10", Init::No);
        assert_eq!(wrong, Budgets::default());
        assert!(flaw.unwrap().starts_with("VERGER_SHUTDOWN_BUDGET: `10` is not a length of time: a number needs"));
    }
}
