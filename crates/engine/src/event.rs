//! What goes in and what comes out.

use crate::budget::Patience;
use crate::causes::Actor;
use crate::image::Image;
use crate::life::{Apply, Decide, FaultKind, Found, FoundGroup, GroupId, LifeEffect, Pressure, Request, Scope, Switch};
use crate::runs::{RunEffect, RunEvent, ServiceId};

/// Something happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// To a run.
    Run(RunEvent),
    /// Somebody brought a plan. Answered by [`LifeEffect::Planned`] or [`LifeEffect::PlanRefused`].
    Plan {
        /// The plan, verified.
        image: Image,
        /// What of the present services it speaks for.
        scope: Scope,
        /// Who brought it.
        by: Actor,
    },
    /// Somebody brought a plan to be taken on trial. Answered by [`LifeEffect::Trial`].
    Apply(Apply),
    /// Somebody says what is to become of the change on trial. Answered by [`LifeEffect::Trial`].
    Decide(Decide),
    /// Somebody asked for something. Answered by one [`LifeEffect::Answer`].
    Command(Request),
    /// Somebody asked for another target. Answered by one [`LifeEffect::Answer`].
    Switch(Switch),
    /// The daemon came back, and this is what it knew of a group. All of its services are told, too, as they were; a group that is not
    /// told begins with its initial target.
    FoundGroup {
        /// The group.
        group: GroupId,
        /// What that is.
        found: FoundGroup,
    },
    /// Everything is to end. What is ending already can only be made to end sooner.
    Shutdown {
        /// The signal that said so; 0 for a command.
        signal: u8,
        /// Who.
        by: Actor,
        /// How much time it is given.
        patience: Patience,
    },
    /// Time has passed. Deadlines act only on this event: what had happened before is heard first.
    Tick,
    /// The pressure of the machine, as [`LifeEffect::MeasurePressure`] asked for.
    Pressure(Pressure),
    /// The daemon came back, and this is what it knew of a service.
    Found(Found),
    /// All that the daemon knew has been told.
    Resume,
    /// A test wants to see what a broken invariant does.
    Fault {
        /// At which service.
        service: ServiceId,
        /// Which.
        what: FaultKind,
    },
}

/// Something is to be done, or has become so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// About a run: orders to the world.
    Run(RunEffect),
    /// About services: news for those who look on, answers for those who asked.
    Life(LifeEffect),
}
