//! The binary generation: adopts the children that exist already, and speaks structs on descriptors 0 and 1.
//!
//! Nothing depends on words, environment or the way we were called. Whoever executes us has made the children and set the
//! subreaper flag (or has made us the first process of a pid namespace); it is set here again, which costs nothing.

use verger_linux::lent::Lent;
use verger_linux::process;
use verger_linux::reap::{self, Dead};
use verger_linux::start::words_for;
use verger_wire::supervise::Boundaries;
use verger_wire::supervise::binary::{Ending, Order, Orders};

use crate::ends::{Cut, Ends};
use crate::life::{Life, Speech};
use crate::{arrange_signals, complain};

/// Lives with the children there are. The exit status.
pub(crate) fn run() -> u8 {
    // Without control there is nobody to wait for, without status nobody to tell.
    let ends = Ends::apart(Lent::take(0).ok(), Lent::take(1).ok());
    let nobody_commands = ends.control().is_none();
    let wanted = arrange_signals();
    let boundaries = match ends.control().is_some_and(Lent::keeps_messages_apart) {
        true => Boundaries::Messages,
        false => Boundaries::None,
    };
    let speech = Binary { orders: Orders::new(boundaries) };
    let mut life = match Life::new(ends, speech, wanted) {
        Ok(life) => life,
        Err(errno) => {
            complain(&[b"cannot watch over children: ", words_for(errno)]);
            return 1;
        }
    };
    if nobody_commands {
        complain(&[b"control: descriptor 0: not open"]);
        life.kill();
        return 1;
    }
    life.live();
    life.finish();
    0
}

/// What is said of every child.
struct Binary {
    orders: Orders,
}

impl Speech for Binary {
    const CUT: Cut = Cut::Whole;

    fn obey(&mut self, bytes: &[u8]) {
        self.orders.take(bytes, |Order { pid, signal }| {
            let pid = verger_engine::runs::Pid(pid);
            // We alone reap, and not between these two.
            if reap::is_ours(pid) {
                let _whether_we_may_or_not = process::signal(pid, signal);
            }
        });
    }

    fn tell(&mut self, dead: &Dead, ends: &mut Ends) -> bool {
        let ending = Ending { code: dead.code, pid: dead.pid.0, uid: dead.uid, status: dead.status };
        ends.say(&ending.bytes(), Binary::CUT)
    }
}
