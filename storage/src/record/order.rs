//! The body of an order's record. Its id stands in the key.

use bincode::{BorrowDecode as BorrowDecodeDerive, Encode};
use windlass_scheduler::filter::{Filter, Span};
use windlass_scheduler::job::{Name, Priority, When};
use windlass_scheduler::order::{Order, OrderEnd, OrderId, OrderPlace};
use windlass_scheduler::state::State;
use windlass_scheduler::time::Timestamp;
use windlass_scheduler::verb::Verb;

use super::flow::StepOfV1;
use super::{List, Texts};
use crate::keys::{state_no, state_of};

#[derive(Encode, BorrowDecodeDerive)]
enum VerbV1<'a> {
    Cancel,
    Discard,
    RunNow,
    Reprioritise(u8),
    RescheduleAfter(u64),
    RescheduleAt(u64),
    Move(&'a str),
    Requeue,
}

#[derive(Encode, BorrowDecodeDerive)]
struct SpanV1 {
    from: Option<u64>,
    until: Option<u64>,
}

/// `T` is a list of `&str` when writing and [`Texts`] when reading.
#[derive(Encode, BorrowDecodeDerive)]
struct FilterV1<'a, T> {
    queues: T,
    kinds: T,
    states: List<u8>,
    tag: Option<&'a str>,
    correlation_id: Option<&'a str>,
    limit_key: Option<&'a str>,
    batch: Option<StepOfV1>,
    error: Option<&'a str>,
    created: SpanV1,
    due: SpanV1,
    ended: SpanV1,
}

#[derive(Encode, BorrowDecodeDerive)]
enum PlaceV1<'a> {
    Live,
    Retained { queue: &'a str, state: u8, before: u64 },
}

#[derive(Encode, BorrowDecodeDerive)]
struct EndV1 {
    at: u64,
    cancelled: bool,
}

#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct OrderV1<'a, T> {
    verb: VerbV1<'a>,
    filter: FilterV1<'a, T>,
    rate_per_s: Option<u32>,
    placed: u64,
    place: PlaceV1<'a>,
    changed: u64,
    skipped: u64,
    ended: Option<EndV1>,
}

/// A job's state on disk; it does not move with the enum.
const STATES: [(u8, State); 9] = [
    (1, State::Delayed),
    (2, State::Ready),
    (3, State::Running),
    (4, State::Parked),
    (5, State::Done),
    (6, State::Dead),
    (7, State::Cancelled),
    (8, State::Expired),
    (9, State::Waiting),
];

fn texts(names: &[Name]) -> Vec<&str> {
    names.iter().map(Name::as_str).collect()
}

impl SpanV1 {
    fn new(span: Span) -> Self {
        Self { from: span.from.map(|at| at.0), until: span.until.map(|at| at.0) }
    }

    fn domain(&self) -> Span {
        Span { from: self.from.map(Timestamp), until: self.until.map(Timestamp) }
    }
}

impl<'a> OrderV1<'a, Vec<&'a str>> {
    pub(crate) fn new(order: &'a Order) -> Self {
        let filter = &order.filter;
        let state = |state: &State| STATES.iter().find(|(_, one)| one == state).map(|(no, _)| *no);
        Self {
            verb: match &order.verb {
                Verb::Cancel => VerbV1::Cancel,
                Verb::Discard => VerbV1::Discard,
                Verb::RunNow => VerbV1::RunNow,
                Verb::Reprioritise(priority) => VerbV1::Reprioritise(priority.0),
                Verb::Reschedule(When::After(ms)) => VerbV1::RescheduleAfter(*ms),
                Verb::Reschedule(When::At(at)) => VerbV1::RescheduleAt(at.0),
                Verb::Move(queue) => VerbV1::Move(queue.as_str()),
                Verb::Requeue => VerbV1::Requeue,
            },
            filter: FilterV1 {
                queues: texts(&filter.queues),
                kinds: texts(&filter.kinds),
                states: List(filter.states.iter().filter_map(state).collect()),
                tag: filter.tag.as_deref(),
                correlation_id: filter.correlation_id.as_deref(),
                limit_key: filter.limit_key.as_deref(),
                batch: filter.batch.map(StepOfV1::new),
                error: filter.error.as_deref(),
                created: SpanV1::new(filter.created),
                due: SpanV1::new(filter.due),
                ended: SpanV1::new(filter.ended),
            },
            rate_per_s: order.rate_per_s,
            placed: order.placed.0,
            place: match &order.place {
                OrderPlace::Live => PlaceV1::Live,
                OrderPlace::Retained { queue, state, before } => {
                    PlaceV1::Retained { queue: queue.as_str(), state: state_no(*state), before: *before }
                }
            },
            changed: order.changed,
            skipped: order.skipped,
            ended: order.ended.map(|(at, end)| EndV1 { at: at.0, cancelled: end == OrderEnd::Cancelled }),
        }
    }
}

impl OrderV1<'_, Texts<'_>> {
    /// `None` where a state is unknown.
    pub(crate) fn domain(&self, id: OrderId, intern: &mut dyn FnMut(&str) -> Name) -> Option<Order> {
        let state = |no: &u8| STATES.iter().find(|(one, _)| one == no).map(|(_, state)| *state);
        let verb = match self.verb {
            VerbV1::Cancel => Verb::Cancel,
            VerbV1::Discard => Verb::Discard,
            VerbV1::RunNow => Verb::RunNow,
            VerbV1::Reprioritise(priority) => Verb::Reprioritise(Priority(priority)),
            VerbV1::RescheduleAfter(ms) => Verb::Reschedule(When::After(ms)),
            VerbV1::RescheduleAt(at) => Verb::Reschedule(When::At(Timestamp(at))),
            VerbV1::Move(queue) => Verb::Move(intern(queue)),
            VerbV1::Requeue => Verb::Requeue,
        };
        let filter = Filter {
            queues: self.filter.queues.0.iter().map(|name| intern(name)).collect(),
            kinds: self.filter.kinds.0.iter().map(|name| intern(name)).collect(),
            states: self.filter.states.0.iter().map(state).collect::<Option<_>>()?,
            tag: self.filter.tag.map(str::to_owned),
            correlation_id: self.filter.correlation_id.map(str::to_owned),
            limit_key: self.filter.limit_key.map(str::to_owned),
            batch: self.filter.batch.as_ref().map(StepOfV1::domain),
            error: self.filter.error.map(str::to_owned),
            created: self.filter.created.domain(),
            due: self.filter.due.domain(),
            ended: self.filter.ended.domain(),
        };
        let place = match self.place {
            PlaceV1::Live => OrderPlace::Live,
            PlaceV1::Retained { queue, state, before } => {
                OrderPlace::Retained { queue: intern(queue), state: state_of(state)?, before }
            }
        };
        let end =
            |end: &EndV1| (Timestamp(end.at), if end.cancelled { OrderEnd::Cancelled } else { OrderEnd::Finished });
        Some(Order {
            id,
            verb,
            filter,
            rate_per_s: self.rate_per_s,
            placed: Timestamp(self.placed),
            place,
            changed: self.changed,
            skipped: self.skipped,
            ended: self.ended.as_ref().map(end),
        })
    }
}
