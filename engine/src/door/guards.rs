//! What is taken back when whoever asked leaves before the answer.

use std::sync::Arc;

use windlass_scheduler::command::Request;
use windlass_scheduler::flow::FlowId;
use windlass_scheduler::job::JobId;

use super::Door;
use crate::messages::QueueMsg;

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

/// Takes the wait for a flow back when nobody waits any more.
pub(crate) struct FlowWatchGuard {
    pub(crate) door: Arc<Door>,
    pub(crate) request: Request,
    pub(crate) id: FlowId,
    pub(crate) is_over: bool,
}

impl Drop for FlowWatchGuard {
    fn drop(&mut self) {
        if !self.is_over {
            self.door.tell_queue(QueueMsg::UnwatchFlow { request: self.request, id: self.id });
        }
    }
}

/// Takes a wait back when nobody waits any more.
pub(crate) struct WatchGuard {
    pub(crate) door: Arc<Door>,
    pub(crate) request: Request,
    pub(crate) id: JobId,
    pub(crate) is_over: bool,
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        if !self.is_over {
            self.door.tell_queue(QueueMsg::Unwatch { request: self.request, id: self.id });
        }
    }
}
