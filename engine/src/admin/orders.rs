//! Verbs on many jobs: placing an order, following it, and carrying it out.
//!
//! Owns the tasks that carry orders out, one an order: they walk over the jobs that the filter means, hand them to the core
//! a step at a time, and keep to the rate. What is done and how far it came is the core's, in one commit; so a task may
//! fall at any moment, and the next process takes the order up.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tracing::{info, warn};
use windlass_scheduler::effect::Answer;
use windlass_scheduler::job::JobId;
use windlass_scheduler::order::{Order, OrderCommand, OrderEnd, OrderId, OrderPlace, OrderProgress, OrderStep};
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::state::State;
use windlass_scheduler::time::Timestamp;
use windlass_scheduler::verb::{Read, Verb};

use super::steer::check;
use super::walk::{Desk, Met, Walk};
use crate::engine::Engine;
use crate::error::ControlError;
use crate::filter::{Filter, Place};
use crate::messages::{Question, SupervisorMsg};
use crate::range;
use crate::status::time;

/// A step is a tenth of a second's jobs, so that a rate is kept smoothly.
const STEPS_PER_S: u32 = 10;
/// How long an order waits for a full queue, or for an engine that is being rebuilt, before it tries again.
const PAUSE: Duration = Duration::from_millis(250);

/// An order, as it is now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OrderStatus {
    /// Its id.
    pub id: OrderId,
    /// What is done to each job.
    pub verb: Verb,
    /// To which jobs.
    pub filter: Filter,
    /// To how many a second at most.
    pub rate_per_s: Option<u32>,
    /// When it was placed.
    pub placed: SystemTime,
    /// Jobs that it changed.
    pub changed: u64,
    /// Jobs that did not allow it, or were so already.
    pub skipped: u64,
    /// When and how it ended.
    pub ended: Option<(SystemTime, OrderEnd)>,
}

impl From<Order> for OrderStatus {
    fn from(order: Order) -> Self {
        Self {
            id: order.id,
            verb: order.verb,
            filter: Filter::from_core(order.filter),
            rate_per_s: order.rate_per_s,
            placed: time(order.placed),
            changed: order.changed,
            skipped: order.skipped,
            ended: order.ended.map(|(at, end)| (time(at), end)),
        }
    }
}

/// An order to be, placed by awaiting: see [`Engine::steer_all`].
#[must_use = "an order is placed by awaiting"]
#[derive(Debug)]
pub struct OrderDraft {
    engine: Engine,
    id: OrderId,
    verb: Verb,
    filter: Filter,
    rate_per_s: Option<u32>,
}

impl OrderDraft {
    /// To so many jobs a second at most; as fast as it goes unless said.
    pub fn rate_per_s(mut self, jobs: u32) -> Self {
        self.rate_per_s = Some(jobs);
        self
    }

    /// Chooses the id: to place the same one twice is to place it once.
    pub fn id(mut self, id: OrderId) -> Self {
        self.id = id;
        self
    }

    /// How many jobs it would be done to, now. Nothing is changed.
    ///
    /// # Errors
    /// As [`Engine::count`].
    pub async fn dry_run(self) -> Result<u64, ControlError> {
        let filter = meant(&self.verb, self.filter);
        if filter.core.states.is_empty() { Ok(0) } else { self.engine.count(filter).await }
    }

    async fn place(self) -> Result<OrderStatus, ControlError> {
        let filter = meant(&self.verb, self.filter);
        filter.check()?;
        self.rate_per_s.map_or(Ok(()), |rate| range::RATE.check(u64::from(rate)))?;
        check(&self.verb)?;
        let order = Order::new(self.id, self.verb, filter.core, self.rate_per_s);
        let engine = self.engine.clone();
        // In a task of its own: whoever placed it may leave, and what is stored is carried out.
        let placed = self.engine.handlers().spawn(async move {
            let order = ask(&engine.desk(), OrderCommand::Place(Box::new(order))).await?.remove(0);
            if order.ended.is_none() {
                let _ = engine.supervisor().send_message(SupervisorMsg::Order(order.id));
            }
            Ok(OrderStatus::from(order))
        });
        placed.await.map_err(|_| ControlError::Unavailable("the handlers' runtime is gone".to_owned()))?
    }
}

impl IntoFuture for OrderDraft {
    type Output = Result<OrderStatus, ControlError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.place())
    }
}

/// The filter with the states that the verb acts on. Where none was said, what would be forgotten or run again has to be
/// dead: nobody throws away what waits by leaving out a word.
fn meant(verb: &Verb, mut filter: Filter) -> Filter {
    let is_said = !filter.core.states.is_empty();
    let by_default = |state: State| match verb {
        Verb::Discard | Verb::Requeue => state == State::Dead,
        // The others are so already.
        Verb::RunNow => state == State::Delayed,
        _ => true,
    };
    let states = State::ALL.into_iter().filter(|state| verb.acts_on(*state));
    let states = states.filter(|state| if is_said { filter.core.states.contains(state) } else { by_default(*state) });
    filter.core.states = states.collect();
    filter
}

impl Engine {
    /// Does a verb to all jobs that a filter means: one durable order, carried out in bounded steps, resumed after a crash,
    /// seen in [`orders`](Self::orders) and called off with [`cancel_order`](Self::cancel_order). It means the jobs that were
    /// accepted before it was placed, in the states that the verb acts on; where the filter names no state,
    /// [`Verb::Requeue`] and [`Verb::Discard`] mean dead letters.
    ///
    /// ```no_run
    /// # use windlass::{Engine, Filter, Verb};
    /// # async fn again(engine: &Engine) -> Result<(), Box<dyn std::error::Error>> {
    /// let refused = Filter::new().queue("payments").error("connection refused");
    /// let jobs = engine.steer_all(Verb::Requeue, refused.clone()).dry_run().await?;
    /// let order = engine.steer_all(Verb::Requeue, refused).rate_per_s(50).await?;
    /// let order = engine.wait_order(order.id).await?;
    /// println!("{} of {jobs} dead letters run again", order.changed);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Of the await: [`ControlError::Range`], or [`ControlError::Refused`] with `TooManyOrders`, `NoQueue` or `Stopping`.
    pub fn steer_all(&self, verb: Verb, filter: Filter) -> OrderDraft {
        OrderDraft { engine: self.clone(), id: OrderId(self.door().new_id().0), verb, filter, rate_per_s: None }
    }

    /// Empties a queue: every job that waits in it is called off and forgotten, payload and all. What runs goes on, and what
    /// is retained stays.
    ///
    /// # Errors
    /// As [`steer_all`](Self::steer_all).
    pub fn purge(&self, queue: &str) -> OrderDraft {
        self.steer_all(Verb::Discard, Filter::new().queue(queue).waiting())
    }

    /// The orders that are under way, and the last 100 that ended, in the order in which they were placed.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`] or [`ControlError::Interrupted`].
    pub async fn orders(&self) -> Result<Vec<OrderStatus>, ControlError> {
        let orders = ask(&self.desk(), OrderCommand::All).await?;
        Ok(orders.into_iter().map(OrderStatus::from).collect())
    }

    /// Calls an order off. What it did stays done.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoOrder` or `OrderEnded`.
    pub async fn cancel_order(&self, id: OrderId) -> Result<OrderStatus, ControlError> {
        let order = ask(&self.desk(), OrderCommand::Cancel(id)).await?.remove(0);
        self.door().orders_moved.notify_waiters();
        Ok(order.into())
    }

    /// Waits until an order has ended, in whichever way.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoOrder`, or [`ControlError::Unavailable`].
    pub async fn wait_order(&self, id: OrderId) -> Result<OrderStatus, ControlError> {
        loop {
            let moved = self.door().orders_moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            let order = find(&self.desk(), id).await?;
            if order.ended.is_some() {
                return Ok(order.into());
            }
            let stopped = self.door().closed();
            tokio::select! {
                biased;
                () = moved => {}
                reason = stopped => return Err(ControlError::Unavailable(reason)),
            }
        }
    }
}

/// Asks about orders, as often as the core is rebuilt meanwhile: placing, calling off and looking may be repeated.
async fn ask(desk: &Desk, command: OrderCommand) -> Result<Vec<Order>, ControlError> {
    loop {
        match desk.door.ask(Question::Order(command.clone())).await {
            Ok(Answer::Orders(orders)) => return Ok(orders),
            Ok(other) => unreachable!("a question about orders was answered with {other:?}"),
            Err(ControlError::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

async fn find(desk: &Desk, id: OrderId) -> Result<Order, ControlError> {
    let orders = ask(desk, OrderCommand::All).await?;
    orders.into_iter().find(|order| order.id == id).ok_or(ControlError::Refused(Refusal::NoOrder { id }))
}

/// Takes up the orders that an earlier process left.
pub(crate) async fn resume(desk: Desk) {
    let Ok(orders) = ask(&desk, OrderCommand::All).await else { return };
    for order in orders.into_iter().filter(|order| order.ended.is_none()) {
        info!(order = %order.id, verb = order.verb.as_str(), changed = order.changed, "an order is taken up again");
        tokio::spawn(carry_out(desk.clone(), order.id));
    }
}

/// Carries an order out to its end, or the engine's.
pub(crate) async fn carry_out(desk: Desk, id: OrderId) {
    // Placed twice, it is carried out once.
    if !desk.door.orders.insert(id) {
        return;
    }
    let _mine = Mine { desk: &desk, id };
    loop {
        match carry_on(&desk, id).await {
            Ok(order) => {
                let end = order.ended.map(|(_, end)| end);
                return info!(order = %id, changed = order.changed, skipped = order.skipped, ?end, "an order has ended");
            }
            // The engine is being rebuilt, or a read met its closing: the order stands where it came to.
            Err(ControlError::Interrupted | ControlError::CursorExpired | ControlError::Storage(_)) => {
                tokio::time::sleep(PAUSE).await;
            }
            // It was called off, or the engine stops: the next start takes it up.
            Err(ControlError::Refused(_) | ControlError::Unavailable(_)) => return,
            Err(error) => return warn!(order = %id, %error, "an order cannot be carried out"),
        }
    }
}

/// An order that this task carries out.
struct Mine<'a> {
    desk: &'a Desk,
    id: OrderId,
}

impl Drop for Mine<'_> {
    fn drop(&mut self) {
        self.desk.door.orders.remove(&self.id);
        self.desk.door.orders_moved.notify_waiters();
    }
}

async fn carry_on(desk: &Desk, id: OrderId) -> Result<Order, ControlError> {
    let mut order = find(desk, id).await?;
    let until = order.placed.plus_ms(1);
    let mut filter = Filter::from_core(order.filter.clone());
    filter.core.created.until = Some(filter.core.created.until.map_or(until, |said| said.min(until)));
    let from = match &order.place {
        OrderPlace::Live => Place::START,
        OrderPlace::Retained { queue, state, before } => {
            Place::Retained { queue: queue.clone(), state: *state, before: Some(*before) }
        }
    };
    let mut walk = Walk::new(desk.clone(), filter, from, order.verb == Verb::Requeue);
    let jobs_max = order.rate_per_s.map_or(Order::STEP_JOBS_MAX, |rate| {
        usize::try_from(rate.div_ceil(STEPS_PER_S)).unwrap_or(usize::MAX).min(Order::STEP_JOBS_MAX)
    });
    while order.ended.is_none() {
        let met = walk.next(jobs_max).await?;
        if met.is_empty() && walk.place.is_some() {
            continue;
        }
        let mut step =
            Step { id, jobs: in_step(met, until), place: place_of(walk.place.as_ref()), is_last: walk.place.is_none() };
        order = step.take(desk, &order).await?;
    }
    Ok(order)
}

/// What a walk met, as a step wants it. One that ended after the order was placed has had its turn, or is none of its
/// business.
fn in_step(met: Vec<Met>, until: Timestamp) -> Vec<(JobId, Read, OrderPlace)> {
    let is_mine = |met: &Met| match met {
        Met::Live(_) => true,
        Met::Retained(ended, _) => ended.at < until,
    };
    let one = |met: Met| {
        let place = match &met {
            Met::Live(_) => OrderPlace::Live,
            Met::Retained(ended, _) => {
                let key = &ended.key;
                OrderPlace::Retained { queue: key.queue.clone(), state: key.state, before: key.end_no }
            }
        };
        (met.id(), met.into_read(), place)
    };
    met.into_iter().filter(is_mine).map(one).collect()
}

fn place_of(place: Option<&Place>) -> OrderPlace {
    match place {
        None | Some(Place::Live { .. }) => OrderPlace::Live,
        Some(Place::Retained { queue, state, before }) => {
            OrderPlace::Retained { queue: queue.clone(), state: *state, before: before.unwrap_or(u64::MAX) }
        }
    }
}

/// A step on its way.
struct Step {
    id: OrderId,
    jobs: Vec<(JobId, Read, OrderPlace)>,
    place: OrderPlace,
    is_last: bool,
}

impl Step {
    /// Hands the jobs in until all are met: a queue that is full is waited for.
    async fn take(&mut self, desk: &Desk, order: &Order) -> Result<Order, ControlError> {
        let (began, changed_before) = (Instant::now(), order.changed);
        loop {
            let (id, place, is_last) = (self.id, self.place.clone(), self.is_last);
            let step = OrderStep { id, jobs: self.jobs.clone(), place, is_last };
            let answer = desk.door.ask(Question::Order(OrderCommand::Step(Box::new(step)))).await?;
            let Answer::OrderProgress(progress) = answer else { unreachable!("a step was answered with {answer:?}") };
            let OrderProgress { order, met, held_up } = *progress;
            desk.door.orders_moved.notify_waiters();
            let Some(refusal) = held_up else {
                let changed = order.changed - changed_before;
                let pace = order.rate_per_s.map(|rate| Duration::from_secs(changed) / rate.max(1));
                // An order that has ended has nothing to wait for.
                if let Some(pace) = pace.filter(|_| order.ended.is_none()) {
                    tokio::time::sleep_until(began + pace).await;
                }
                return Ok(order);
            };
            info!(order = %id, %refusal, "an order is held up");
            self.jobs.drain(..met);
            tokio::time::sleep(PAUSE).await;
        }
    }
}
