//! The time that the end of everything may take: a budget, and how graces share it.
//!
//! Services end in order, each within its graces, so an end takes as long as the longest chain of them: from a service that
//! nobody depends on to one that depends on nobody ([`Longest`]). Where that is longer than the budget, every grace is
//! shortened by the same ratio ([`Scale`]), and those of a service that are longer than all there is count as that. A small
//! part of the budget is kept back ([`reserve`]): whatever is left when it begins is killed at once, whatever the order, so
//! that all is over when the budget is.
//!
//! Two chains, therefore: the ratio goes by the one that is longest as graces count, and what is told is the one that takes
//! longest as the plan has them. Mostly they are one.
//!
//! Integers only: the same plan and budget give the same graces on every machine, and in every replay.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::iter;

use crate::causes::Actor;
use crate::codec::{ReadError, Reader, Writer};
use crate::image::{EdgeKind, EdgeView, Image, ServiceView};
use crate::time::{Moment, Span};

/// How much time an end of everything is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Every service has its graces, however long they are.
    Full,
    /// All of it is over within this.
    Within(Span),
    /// No graces: each is killed when its turn has come.
    Spent,
}

impl Patience {
    pub(crate) fn save(self, writer: &mut Writer<'_>) {
        match self {
            Patience::Full => writer.byte(0),
            Patience::Within(budget) => {
                writer.byte(1);
                writer.span(budget);
            }
            Patience::Spent => writer.byte(2),
        }
    }

    pub(crate) fn restore(reader: &mut Reader<'_>) -> Result<Patience, ReadError> {
        Ok(match reader.byte()? {
            0 => Patience::Full,
            1 => Patience::Within(reader.span()?),
            2 => Patience::Spent,
            _ => return Err(ReadError::BadValue { what: "a patience" }),
        })
    }
}

/// The least that is kept back for the last kill.
const RESERVE_MIN: Span = Span::from_millis(100);
/// The most: a kill does not take longer because there was more time before it.
const RESERVE_MAX: Span = Span::from_secs(2);
/// Between the two, this part of the budget: one in so many.
const RESERVE_PART: u64 = 20;

/// What of a budget is kept back for the last kill, and for the daemon to see that all is gone. Never more than the budget.
pub fn reserve(budget: Span) -> Span {
    Span((budget.0 / RESERVE_PART).clamp(RESERVE_MIN.0, RESERVE_MAX.0).min(budget.0))
}

/// What of a budget graces can have.
pub fn usable(budget: Span) -> Span {
    Span(budget.0 - reserve(budget).0)
}

/// How much of what is needed there is, in whole percent, at most 100.
pub fn percent(there: Span, needed: Span) -> u64 {
    let percent = u128::from(there.0) * 100 / u128::from(needed.0.max(1));
    u64::try_from(percent).unwrap_or(100).min(100)
}

/// What the graces of one service count in a chain: all the time there is at most, and something where there is none, so that
/// the chain is still seen.
pub(crate) fn counted(graces: Span, usable: Span) -> Span {
    graces.min(Span(usable.0.max(1)))
}

/// By how much graces are shortened: those of all services by one ratio. Only where a service's graces are longer than all
/// the time there is do they count as that, so that one without an end does not take all from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Nobody's graces count as longer than this.
    most: Span,
    /// So much is given …
    given: Span,
    /// … where so much is needed; never less than what is given.
    needed: Span,
}

impl Scale {
    /// Graces as they are.
    pub const WHOLE: Scale = Scale { most: Span::FOREVER, given: Span::FOREVER, needed: Span::FOREVER };

    /// For a chain that needs `needed` where graces can have `usable`, each service's counted as that at most.
    pub(crate) fn new(usable: Span, needed: Span) -> Scale {
        Scale { most: usable, given: usable.min(needed), needed }
    }

    /// What is left of one grace of a service whose graces are `all` together. Never more than it was.
    pub fn of(self, grace: Span, all: Span) -> Span {
        let counted = part(grace, all.min(self.most), all);
        part(counted, self.given, self.needed)
    }

    /// What is left of all graces of a service.
    pub fn of_all(self, service: &ServiceView<'_>) -> Span {
        let all = service.graces(0);
        Span(
            (0..service.stop_len())
                .filter_map(|step| service.stop_step(step))
                .fold(0, |sum, step| sum.saturating_add(self.of(step.wait, all).0)),
        )
    }

    /// What is left of a chain of services, whose graces these are.
    pub(crate) fn of_chain(self, graces: impl Iterator<Item = Span>) -> Span {
        let counted = graces.fold(0, |sum: u64, all| sum.saturating_add(counted(all, self.most).0));
        part(Span(counted), self.given, self.needed)
    }

    pub(crate) fn save(self, writer: &mut Writer<'_>) {
        for span in [self.most, self.given, self.needed] {
            writer.span(span);
        }
    }

    pub(crate) fn restore(reader: &mut Reader<'_>) -> Result<Scale, ReadError> {
        let scale = Scale { most: reader.span()?, given: reader.span()?, needed: reader.span()? };
        if scale.given > scale.needed {
            return Err(ReadError::BadValue { what: "a budget" });
        }
        Ok(scale)
    }
}

/// So much of a span as `there` is of `whole`, which is no less.
fn part(span: Span, there: Span, whole: Span) -> Span {
    if there >= whole {
        return span;
    }
    // Not zero: `there` is less than it.
    let part = u128::from(span.0) * u128::from(there.0) / u128::from(whole.0);
    Span(u64::try_from(part).unwrap_or(u64::MAX))
}

/// The time that an end of everything has been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How long all of it may take.
    pub within: Span,
    /// When it was given.
    pub since: Moment,
    /// The signal by which; 0 for a command.
    pub signal: u8,
    /// By whom.
    pub by: Actor,
}

impl Budget {
    /// When everything is to be over.
    pub fn over_at(&self) -> Moment {
        self.since + self.within
    }

    /// When whatever is left is killed.
    pub fn kill_at(&self) -> Moment {
        self.since + usable(self.within)
    }

    pub(crate) fn save(&self, writer: &mut Writer<'_>) {
        writer.span(self.within);
        writer.moment(self.since);
        writer.byte(self.signal);
        writer.small(self.by.uid);
        writer.small(self.by.pid);
    }

    pub(crate) fn restore(reader: &mut Reader<'_>) -> Result<Budget, ReadError> {
        Ok(Budget {
            within: reader.span()?,
            since: reader.moment()?,
            signal: reader.byte()?,
            by: Actor { uid: reader.small()?, pid: reader.small()? },
        })
    }
}

/// Finds the longest chain of ends: dependents end before what they need.
///
/// Keeps its memory; it is touched only when a chain is sought. O(services + edges).
#[derive(Debug, Default)]
pub(crate) struct Longest {
    /// Of each service: when it has ended, in nanoseconds, if everything begins to end at 0. (Plain numbers, as zeros take no
    /// pages that nobody uses.)
    ended: Vec<u64>,
    /// Of each service: whose end its own waits for last.
    behind: Vec<u32>,
    /// Of each service: how many that need it have not been looked at.
    ahead: Vec<u32>,
    ready: Vec<u32>,
}

/// Nobody.
const NONE: u32 = u32::MAX;

impl Longest {
    pub(crate) fn new(services: u32) -> Longest {
        let services = services as usize;
        Longest {
            ended: vec![0; services],
            behind: vec![0; services],
            ahead: vec![0; services],
            ready: Vec::with_capacity(services),
        }
    }

    /// The last service of the longest chain, and how long that chain takes; `None` when nothing is to end.
    ///
    /// `needs` says whom a service needs, `time` how long its own end takes: `None` for one that does not have to end, for
    /// which nobody waits. Of a circle (which no plan has) nothing is seen.
    pub(crate) fn find<N: Iterator<Item = u32>>(
        &mut self,
        services: u32,
        needs: impl Fn(u32) -> N,
        time: impl Fn(u32) -> Option<Span>,
    ) -> Option<(u32, Span)> {
        for at in 0..services as usize {
            (self.ended[at], self.behind[at], self.ahead[at]) = (0, NONE, 0);
        }
        (0..services).flat_map(&needs).for_each(|need| self.ahead[need as usize] += 1);
        self.ready.clear();
        self.ready.extend((0..services).filter(|at| self.ahead[*at as usize] == 0));
        let mut longest: Option<(u32, Span)> = None;
        let mut next = 0;
        while let Some(at) = self.ready.get(next).copied() {
            next += 1;
            // `ended` has been when the last of those before it ended.
            let ended = time(at).map(|time| self.ended[at as usize].saturating_add(time.0));
            if let Some(ended) = ended
                && longest.is_none_or(|(_, most)| ended > most.0)
            {
                longest = Some((at, Span(ended)));
            }
            for need in needs(at) {
                let need = need as usize;
                if let Some(ended) = ended
                    && ended > self.ended[need]
                {
                    (self.ended[need], self.behind[need]) = (ended, at);
                }
                self.ahead[need] -= 1;
                if self.ahead[need] == 0 {
                    self.ready.push(need as u32);
                }
            }
        }
        longest
    }

    /// The chain that ends with a service, from there to the one that ends first.
    pub(crate) fn back_from(&self, last: u32) -> impl Iterator<Item = u32> {
        iter::successors(Some(last), |at| self.behind.get(*at as usize).copied().filter(|behind| *behind != NONE))
    }
}

/// The longest chain of a plan's end, when all of it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedEnd {
    /// The one that ends first first.
    pub chain: Vec<PlannedStop>,
    /// How long the chain takes at most: all its graces.
    pub needed: Span,
    /// What is left of that within the budget.
    pub left: Span,
}

/// One service of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedStop {
    /// Its number in the image.
    pub service: u32,
    /// How long its graces are.
    pub graces: Span,
    /// What is left of them within the budget.
    pub share: Span,
}

/// What the end of a plan takes within a budget; [`Span::FOREVER`] is no limit.
///
/// One-shots have done their work when what needs them runs: a chain leads through them, and they take no time in it.
pub fn planned_end(image: &Image, budget: Span) -> PlannedEnd {
    let one_shot = |at: u32| image.service(at).ready().is_one_shot();
    let needs = |at: u32| {
        let (mut needs, mut seen) = (Vec::new(), BTreeSet::new());
        let mut ordered: Vec<EdgeView> = image.service(at).edges().filter(|edge| edge.kind.orders()).collect();
        while let Some(edge) = ordered.pop() {
            if !one_shot(edge.target) {
                needs.push(edge.target);
            } else if edge.kind == EdgeKind::Requires && seen.insert(edge.target) {
                ordered.extend(image.service(edge.target).edges().filter(|edge| edge.kind.orders()));
            }
        }
        needs.into_iter()
    };
    let usable = usable(budget);
    let mut longest = Longest::new(image.len());
    let counted = |at: u32| counted(image.service(at).graces(0), usable);
    let nothing = PlannedEnd { chain: Vec::new(), needed: Span::ZERO, left: Span::ZERO };
    let Some((_, sum)) = longest.find(image.len(), needs, |at| Some(counted(at))) else { return nothing };
    let scale = Scale::new(usable, sum);
    // What is told is the chain that takes longest, whatever its graces count.
    let graces = |at: u32| Some(image.service(at).graces(0));
    let Some((last, needed)) = longest.find(image.len(), needs, graces) else { return nothing };
    let stop = |service: u32| {
        let described = image.service(service);
        PlannedStop { service, graces: described.graces(0), share: scale.of_all(&described) }
    };
    let mut chain: Vec<PlannedStop> = longest.back_from(last).map(stop).collect();
    chain.reverse();
    let left = scale.of_chain(chain.iter().map(|stop| stop.graces));
    PlannedEnd { chain, needed, left }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::{image, service};
    use crate::image::{Ready, StopStep};
    use alloc::string::{String, ToString};

    #[test]
    fn a_part_is_kept_back() {
        let secs = Span::from_secs;
        for (budget, kept) in [
            (Span::ZERO, Span::ZERO),
            (Span::from_millis(60), Span::from_millis(60)),
            (secs(1), Span::from_millis(100)),
            (secs(10), Span::from_millis(500)),
            (secs(3600), secs(2)),
            (Span::FOREVER, secs(2)),
        ] {
            assert_eq!(reserve(budget), kept, "{budget}");
        }
    }

    #[test]
    fn graces_share_by_one_ratio_and_none_is_more_than_all() {
        let secs = Span::from_secs;
        let third = Scale::new(secs(10), secs(30));
        let whole = |scale: Scale, grace: Span| scale.of(grace, grace);
        assert_eq!(
            (whole(third, secs(3)), whole(third, secs(9)), whole(third, Span::ZERO)),
            (secs(1), secs(3), Span::ZERO)
        );
        assert_eq!(whole(third, secs(30)), whole(third, secs(10)));
        assert_eq!(whole(third, Span::FOREVER), whole(third, secs(10)));
        // Two steps of 20 s and 60 s count as 10 s together.
        assert_eq!((third.of(secs(20), secs(80)).as_millis(), third.of(secs(60), secs(80)).as_millis()), (833, 2500));
        assert_eq!(
            (percent(secs(10), secs(30)), percent(secs(3), secs(2)), percent(Span::FOREVER, Span::ZERO)),
            (33, 100, 100)
        );
        let enough = Scale::new(secs(10), secs(4));
        assert_eq!((whole(enough, secs(4)), whole(enough, secs(11))), (secs(4), secs(10)));
        assert_eq!((whole(Scale::WHOLE, Span::FOREVER), whole(Scale::WHOLE, secs(7))), (Span::FOREVER, secs(7)));
        let nothing = Scale::new(Span::ZERO, Span::ZERO);
        assert_eq!(whole(nothing, secs(1)), Span::ZERO);
    }

    /// All graphs of four services (edges to those before) with every service ending in 1, 2 or 3, or not at all: against a
    /// walk of all chains.
    #[test]
    fn the_longest_chain_is_the_longest() {
        const N: u32 = 4;
        let mut longest = Longest::new(N);
        for bits in 0u32..1 << 6 {
            let edge = |user: u32, need: u32| need < user && bits >> (user * (user - 1) / 2 + need) & 1 == 1;
            for times in 0u32..256 {
                let time = |at: u32| match times >> (2 * at) & 3 {
                    0 => None,
                    time => Some(Span(u64::from(time))),
                };
                fn walk(at: u32, edge: &dyn Fn(u32, u32) -> bool, time: &dyn Fn(u32) -> Option<Span>) -> u64 {
                    let Some(own) = time(at) else { return 0 };
                    own.0 + (0..N).filter(|user| edge(*user, at)).map(|user| walk(user, edge, time)).max().unwrap_or(0)
                }
                let expected = (0..N).map(|at| walk(at, &edge, &time)).max().unwrap_or(0);
                let found = longest.find(N, |at| (0..N).filter(move |need| edge(at, *need)), time);
                assert_eq!(found.map_or(0, |(_, needed)| needed.0), expected, "{bits:b} {times:b}");
                let Some((last, needed)) = found else { continue };
                let chain: Vec<u32> = longest.back_from(last).collect();
                assert_eq!(chain.iter().map(|at| time(*at).unwrap().0).sum::<u64>(), needed.0);
                assert!(chain.windows(2).all(|pair| edge(pair[1], pair[0])));
            }
        }
    }

    #[test]
    fn a_plan_is_looked_at_as_if_all_of_it_ran() {
        let graced = |name: &str, waits: &[u64], requires: &[&str]| {
            let stop = waits.iter().map(|secs| StopStep { signal: 15, wait: Span::from_secs(*secs) }).collect();
            let requires = requires.iter().map(|name| (*name).into()).collect();
            crate::image::Service { stop, requires, ..service(name) }
        };
        let mut migrate = graced("migrate", &[100], &["db"]);
        migrate.ready = Ready::Exit;
        let web = graced("web", &[10, 5], &["app", "migrate"]);
        let image = image(alloc::vec![graced("db", &[10], &[]), migrate, graced("app", &[20], &["db"]), web]);
        let end = planned_end(&image, Span::FOREVER);
        let named =
            |end: &PlannedEnd| -> Vec<_> { end.chain.iter().map(|it| image.service(it.service).name()).collect() };
        assert_eq!(named(&end), ["migrate", "db"], "a one-shot that runs has no users yet");
        assert_eq!((end.needed, end.chain[1].share), (Span::from_secs(110), Span::from_secs(10)));
        let end = planned_end(&image, Span::from_secs(20));
        assert_eq!((named(&end), end.needed), (alloc::vec!["migrate", "db"], Span::from_secs(110)));
        let of_19 = |secs: u64| Span(secs * 1_000_000_000 * 19 / 44);
        let shares: Vec<Span> = end.chain.iter().map(|stop| stop.share).collect();
        assert_eq!(shares, [of_19(19), of_19(10)], "100 count as 19, and the ratio is that of web, app (as 19) and db");
        assert_eq!(end.left, of_19(29));
        // Without it the other one takes longest.
        let image = crate::desk::image(alloc::vec![
            graced("db", &[10], &[]),
            graced("app", &[20], &["db"]),
            graced("web", &[10, 5], &["app"]),
        ]);
        let end = planned_end(&image, Span::from_secs(20));
        let chain: Vec<_> = end.chain.iter().map(|it| image.service(it.service).name()).collect();
        assert_eq!((chain, end.needed), (alloc::vec!["web", "app", "db"], Span::from_secs(45)));
        let shares: Vec<Span> = end.chain.iter().map(|stop| stop.share).collect();
        assert_eq!(shares, [Span(of_19(10).0 + of_19(5).0), of_19(19), of_19(10)], "20 count as 19");
        assert_eq!(planned_end(&crate::desk::image(alloc::vec![]), Span::ZERO).chain, []);
    }

    #[test]
    fn the_chain_that_is_told_is_the_one_that_takes_longest() {
        let named = |name: &str, secs: u64, requires: &[&str]| {
            let stop = [StopStep { signal: 15, wait: Span::from_secs(secs) }].into();
            let requires = requires.iter().map(|name| (*name).into()).collect();
            crate::image::Service { stop, requires, ..service(name) }
        };
        let secs = Span::from_secs;
        let end = |services: &[crate::image::Service], budget: Span| {
            let image = image(services.to_vec());
            let end = planned_end(&image, budget);
            let names: Vec<String> = end.chain.iter().map(|it| image.service(it.service).name().to_string()).collect();
            (names.join(" "), end.needed, end.left)
        };
        // Within 6 s and 9 s both count as all there is.
        let two = [named("aaa", 10, &[]), named("zzz", 20, &[])];
        for (budget, left) in [(secs(6), 5_700), (secs(9), 8_550), (secs(11), 10_450), (secs(1), 900)] {
            assert_eq!(end(&two, budget), ("zzz".into(), secs(20), Span::from_millis(left)), "{budget}");
        }
        assert_eq!(end(&two, Span::FOREVER), ("zzz".into(), secs(20), secs(20)));
        // The ratio is that of the two, which count as 38 s; alone takes longest, and half of 19 s is left to it.
        let other = [named("a", 20, &[]), named("b", 20, &["a"]), named("alone", 60, &[])];
        assert_eq!(end(&other, secs(20)), ("alone".into(), secs(60), Span::from_millis(9_500)));
    }
}
