//! Who may say what.
//!
//! There are two doors. Through the socket comes anybody, and is judged by what the kernel says of the process that
//! connected ([`at_the_socket`]). An inherited connection is a capability: it carries the right that the plan gave it,
//! whoever uses it.

use verger_engine::image::Right;

use crate::message::{Call, Error};

/// The uid that the kernel shows for a user who has no number in our user namespace (`/proc/sys/kernel/overflowuid`).
pub const OVERFLOW_UID: u32 = 65534;

/// The right that a call needs. `None`: anybody may ask what interfaces there are.
pub fn needed(call: &Call) -> Option<Right> {
    match call {
        Call::GetInfo | Call::GetInterfaceDescription { .. } => None,
        Call::Describe
        | Call::List { .. }
        | Call::Groups
        | Call::Why { .. }
        | Call::Receipt { .. }
        | Call::Watch { .. } => Some(Right::Observe),
        Call::Ignore(_) | Call::Heed(_) | Call::Set(_) | Call::Clear(_) => Some(Right::Operate),
        Call::Start(_) | Call::Stop(_) | Call::Restart(_) | Call::Signal { .. } | Call::Switch(_) => {
            Some(Right::Operate)
        }
        Call::Preview { .. } => Some(Right::Observe),
        Call::Apply { .. }
        | Call::Decide { .. }
        | Call::Adopt { .. }
        | Call::Shutdown { .. }
        | Call::Reexec { .. }
        | Call::Inject { .. } => Some(Right::Configure),
    }
}

/// What a process holds that connected to the socket.
///
/// `peer` is its effective uid, taken when it connected (`SO_PEERCRED`); `daemon` is the daemon's own. `restricted`: it
/// lives in the containment of a service whose plan says so.
pub fn at_the_socket(peer: u32, daemon: u32, restricted: bool) -> Option<Right> {
    let trusted = peer == 0 || peer == daemon;
    (trusted && peer != OVERFLOW_UID && !restricted).then_some(Right::Configure)
}

/// Says whether what is held covers what is needed; each right includes the ones before it.
///
/// # Errors
/// [`Error::Refused`] with the right that is missing.
pub fn check(needed: Option<Right>, held: Option<Right>) -> Result<(), Error> {
    match needed {
        Some(right) if held.is_none_or(|held| held < right) => Err(Error::Refused { right }),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Order;

    #[test]
    fn each_right_includes_the_ones_before() {
        let rights = [None, Some(Right::Observe), Some(Right::Operate), Some(Right::Configure)];
        for (weaker, needed) in rights.iter().enumerate() {
            for (stronger, held) in rights.iter().enumerate() {
                let expected = match needed {
                    Some(right) if stronger < weaker => Err(Error::Refused { right: *right }),
                    Some(_) | None => Ok(()),
                };
                assert_eq!(check(*needed, *held), expected, "{needed:?} {held:?}");
            }
        }
    }

    #[test]
    fn the_table_of_calls() {
        let order = || Order { name: "a".into(), timeout_ms: None, key: None };
        for (call, right) in [
            (Call::GetInfo, None),
            (Call::GetInterfaceDescription { interface: "x".into() }, None),
            (Call::Describe, Some(Right::Observe)),
            (Call::List { names: None }, Some(Right::Observe)),
            (Call::Why { name: "a".into() }, Some(Right::Observe)),
            (Call::Receipt { name: "a".into(), run: None }, Some(Right::Observe)),
            (Call::Watch { names: None }, Some(Right::Observe)),
            (Call::Start(order()), Some(Right::Operate)),
            (Call::Stop(order()), Some(Right::Operate)),
            (Call::Restart(order()), Some(Right::Operate)),
            (Call::Ignore(order()), Some(Right::Operate)),
            (Call::Heed(order()), Some(Right::Operate)),
            (Call::Set(order()), Some(Right::Operate)),
            (Call::Clear(order()), Some(Right::Operate)),
            (Call::Signal { name: "a".into(), signal: 15 }, Some(Right::Operate)),
            (Call::Adopt { name: "a".into(), pid: 7, timeout_ms: None }, Some(Right::Configure)),
            (Call::Shutdown { hasty: false, budget_ms: None }, Some(Right::Configure)),
            (Call::Preview { from: None }, Some(Right::Observe)),
            (Call::Apply { from: None, within_ms: None, confirm_ms: None }, Some(Right::Configure)),
            (Call::Decide { keep: true }, Some(Right::Configure)),
            (Call::Inject { kind: crate::message::Breakage::Panic, name: None }, Some(Right::Configure)),
        ] {
            assert_eq!(needed(&call), right, "{call:?}");
        }
    }

    #[test]
    fn the_door_for_everybody() {
        for (peer, daemon, restricted, held) in [
            (0, 0, false, Some(Right::Configure)),
            (0, 1000, false, Some(Right::Configure)),
            (1000, 1000, false, Some(Right::Configure)),
            (1000, 0, false, None),
            (1001, 1000, false, None),
            (0, 0, true, None),
            (1000, 1000, true, None),
            // Everybody who has no number here shows as this one: it is not the daemon's user even if the number is.
            (OVERFLOW_UID, OVERFLOW_UID, false, None),
            (OVERFLOW_UID, 0, false, None),
        ] {
            assert_eq!(at_the_socket(peer, daemon, restricted), held, "{peer} {daemon} {restricted}");
        }
    }
}
