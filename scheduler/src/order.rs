//! A verb on many jobs: one durable order that is carried out in bounded steps, resumed after a crash, seen and called off.
//!
//! Owns what is remembered of an order. The driver walks over the jobs that the filter means, and hands them in step by
//! step; each step does the verb to some of them and remembers how far it came, in one commit. So no retained job is met
//! twice by one order, whatever dies in between; a live one may be, to which nothing new is done then.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use uuid::Uuid;

use crate::filter::Filter;
use crate::job::{JobId, Name};
use crate::refusal::Refusal;
use crate::state::EndState;
use crate::time::Timestamp;
use crate::verb::{Read, Verb};

/// The identity of an order: chosen by whoever places it, so that placing it twice is placing it once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub Uuid);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl core::str::FromStr for OrderId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// How far an order came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OrderPlace {
    /// Among the live jobs. After a restart it walks over them once more: what a verb did to a live job stays done.
    #[default]
    Live,
    /// Among the retained jobs of this queue and end, below this end number.
    Retained {
        /// The queue.
        queue: Name,
        /// The end.
        state: EndState,
        /// Those from here on were met.
        before: u64,
    },
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderEnd {
    /// Every job that the filter means was met.
    Finished,
    /// Somebody called it off. What was done stays done.
    Cancelled,
}

/// An order, with how far it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// What is done to each job.
    pub verb: Verb,
    /// To which jobs: of those accepted before it was placed.
    pub filter: Filter,
    /// To how many a second at most; `None`: as fast as it goes.
    pub rate_per_s: Option<u32>,
    /// When it was placed.
    pub placed: Timestamp,
    /// How far it came.
    pub place: OrderPlace,
    /// Jobs that it changed.
    pub changed: u64,
    /// Jobs that refused it, or were so already.
    pub skipped: u64,
    /// When and how it ended, if it has.
    pub ended: Option<(Timestamp, OrderEnd)>,
}

impl Order {
    /// Orders that may be under way at once: each keeps a task busy.
    pub const OPEN_MAX: usize = 16;
    /// Orders that ended and are remembered, the latest ones.
    pub const ENDED_MAX: usize = 100;
    /// Jobs that one step meets at most, so that no claim waits long behind it.
    pub const STEP_JOBS_MAX: usize = 500;

    /// A new order.
    #[must_use]
    pub const fn new(id: OrderId, verb: Verb, filter: Filter, rate_per_s: Option<u32>) -> Self {
        Self {
            id,
            verb,
            filter,
            rate_per_s,
            placed: Timestamp(0),
            place: OrderPlace::Live,
            changed: 0,
            skipped: 0,
            ended: None,
        }
    }
}

/// What is asked about orders.
#[derive(Clone, Debug)]
pub enum OrderCommand {
    /// Remember this one, which is new; its steps will come.
    Place(Box<Order>),
    /// Carry on with one.
    Step(Box<OrderStep>),
    /// Call this one off.
    Cancel(OrderId),
    /// Tell of all that are remembered.
    All,
}

/// A step of an order: the next jobs that its filter means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderStep {
    /// The order.
    pub id: OrderId,
    /// The jobs, each with what was read of it and with how far the order is when that one is met.
    pub jobs: Vec<(JobId, Read, OrderPlace)>,
    /// How far it is when all of them are met.
    pub place: OrderPlace,
    /// Whether it is finished then.
    pub is_last: bool,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderProgress {
    /// The order as it is now.
    pub order: Order,
    /// Jobs of the step that were met. Fewer than all where a queue was full: the others are to be handed in again.
    pub met: usize,
    /// Why the step ended early, if it did.
    pub held_up: Option<Refusal>,
}
