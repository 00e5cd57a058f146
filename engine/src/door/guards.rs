//! What is taken back when whoever asked leaves before the answer.

use std::sync::Arc;

use windlass_scheduler::command::Request;

use super::Door;
use crate::messages::{Awaited, QueueMsg};

/// Gives up a call's place in a full queue when its caller leaves.
pub(super) struct CallGuard<'a> {
    pub(super) door: &'a Door,
    pub(super) request: Request,
    pub(super) is_over: bool,
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.door.tell_queue(QueueMsg::Withdraw(self.request));
        }
    }
}

/// Takes a wait back when nobody waits any more.
pub(crate) struct WatchGuard {
    pub(crate) door: Arc<Door>,
    pub(crate) request: Request,
    pub(crate) of: Awaited,
    pub(crate) is_over: bool,
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        if !self.is_over {
            self.door.tell_queue(QueueMsg::Unwatch { request: self.request, of: self.of });
        }
    }
}
