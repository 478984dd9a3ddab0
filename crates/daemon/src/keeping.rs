//! Seeing to it that there is a keeper, and that it knows everything.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;
use verger_engine::time::{Moment, Span};

use crate::daemon::Daemon;
use crate::keeper::{self, Keeper, Means, Order};
use crate::label::Kind;
use crate::poll::Token;

/// A keeper that could not be made is tried again so much later.
const KEEPER_AGAIN: Span = Span::from_secs(5);

impl Daemon {
    /// Makes a keeper, and tells it everything. Not needed where the kernel ends everything with us.
    ///
    /// # Errors
    /// As [`keeper::make`].
    pub(crate) fn make_keeper(&mut self) -> Result<(), Errno> {
        let ground = self.world.starter.ground();
        if ground.is_init {
            return Ok(());
        }
        let means = Means {
            tree: ground.tree.as_ref(),
            lock: self.folder.lock(),
            handover: self.handover.as_fd(),
            room: self.facts.keepers_room,
        };
        let keeper = keeper::make(&means)?;
        self.poll.add(&keeper.fd, Token::Keeper)?;
        self.poll.add(&keeper.socket, Token::Keeping)?;
        self.folder.sign(Some(keeper.pid));
        ground.set_keeper(Some(Arc::clone(&keeper.socket)));
        self.world.holding.take(keeper);
        self.world.tell_all(&self.engine);
        Ok(())
    }

    /// Puts on the list of what is passed on what there is once.
    pub(crate) fn pass_on(&self) {
        let holding = &self.world.holding;
        holding.pass(Kind::Lock, self.folder.lock());
        holding.pass(Kind::Handover, &self.handover);
        holding.pass(Kind::Door, &self.door);
        if let Some(tree) = &self.world.starter.ground().tree {
            let [base, root] = tree.descriptors();
            holding.pass(Kind::TreeBase, base);
            holding.pass(Kind::TreeRoot, root);
        }
    }

    /// The keeper has died: there is to be another.
    pub(crate) fn keeper_died(&mut self) {
        let Some(keeper) = self.world.holding.lose() else { return };
        self.poll.remove(&keeper.fd);
        self.poll.remove(&keeper.socket);
        self.world.starter.ground().set_keeper(None);
        self.log.warn(format_args!("the keeper (process {}) has died: another is made", keeper.pid.0));
        self.keeper_again_at = self.now;
    }

    /// Sees to it that there is a keeper, and that it knows everything.
    pub(crate) fn keep_keeper(&mut self) {
        if self.keeper_again_at <= self.now {
            self.keeper_again_at = match self.make_keeper() {
                Ok(()) => Moment::NEVER,
                Err(errno) => {
                    self.log.warn(format_args!(
                        "there is no keeper, and none can be made: {errno}; if the daemon is killed, services stay until \
                         it is started again"
                    ));
                    self.now + KEEPER_AGAIN
                }
            };
        }
        if self.world.holding.is_behind() {
            let more = self.world.catch_up(&self.engine);
            if let Some(keeper) = self.world.holding.keeper() {
                let _gone = self.poll.watch(&keeper.socket, Token::Keeping, true, more);
            }
        }
    }

    /// What the keeper has no room for does not outlive us, or outlives us though it should not.
    pub(crate) fn hear_keeper(&mut self) {
        while let Some((order, label)) = self.world.holding.keeper().and_then(Keeper::refused) {
            if order == Order::Begun && self.world.tell_once_more(&self.engine, label.run) {
                continue;
            }
            let name = label.name.map_or_else(String::new, |name| name.to_string());
            let text = match (label.kind, label.survives) {
                (Kind::Pipe | Kind::Socket | Kind::Memory, _) => {
                    format!("handle {name}: the keeper has no room for it: it does not outlive this daemon")
                }
                (_, true) => format!("{name}: the keeper has no room for it: it does not outlive this daemon"),
                (_, false) => {
                    format!(
                        "{name}: the keeper has no room for it: if this daemon is killed, it stays until the next one"
                    )
                }
            };
            self.log.warn(format_args!("{text}"));
            self.note_once("keeper", text, "restart the daemon, with more open files allowed (`ulimit -n`)");
        }
    }
}
