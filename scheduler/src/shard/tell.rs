//! What is told to those who listen: made of the events that move the state, and held until its step has reached its mark.
//!
//! Owns the news of the step that is being taken, and those that wait for the journal, which are bounded: nobody's disk may fill the
//! memory with what nobody has heard. Where nobody listens, it is one look at a flag for an event.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::flows::StepAt;
use super::outbox::Mark;
use super::slab::Slot;
use super::state::{Live, State};
use crate::bug;
use crate::event::Event;
use crate::flow::FlowId;
use crate::job::{JobId, Name, When};
use crate::news::{News, NewsOf, Told};
use crate::settings::Level;
use crate::state::EndState;
use crate::time::Timestamp;

/// What there is to tell.
#[derive(Debug, Default)]
pub(super) struct Teller {
    /// How many pieces and bytes of news may wait for the journal; `None`: nobody listens.
    max: Option<(usize, usize)>,
    /// Of the step that is being taken.
    news: Vec<News>,
    /// What they wait for.
    mark: Option<Mark>,
    /// What is said of flows now was so before.
    recalls: bool,
    /// The job whose attempt the last event ended.
    ended: Option<Slot>,
    waiting: VecDeque<(Mark, Told)>,
    /// Pieces and bytes of those.
    waits: (usize, usize),
}

impl Teller {
    pub(super) fn begin(&mut self, news_max: usize, bytes_max: usize) {
        self.max = Some((news_max, bytes_max));
    }

    pub(super) const fn is_on(&self) -> bool {
        self.max.is_some()
    }

    pub(super) const fn recalls(&mut self, recalls: bool) {
        self.recalls = recalls;
    }

    /// This is about to happen.
    pub(super) fn note(&mut self, state: &State, event: &Event, at: Timestamp) {
        let ended = self.ended.take();
        match event {
            Event::AttemptEnded { slot, .. } => self.ended = Some(*slot),
            Event::Delayed { slot, delay_ms, is_retry: true, .. } => {
                self.is_tried_again(state.jobs[*slot].id, *delay_ms);
            }
            Event::Delayed { slot, delay_ms, .. } => {
                self.job(state, *slot, NewsOf::Snoozed { delay_ms: *delay_ms }, at);
            }
            // One that was lost has been told of, and one that had not begun never ran.
            Event::Returned { slot, arrival, .. } if ended == Some(*slot) => {
                let is_released = state.jobs[*slot].arrival == *arrival;
                let what = if is_released { NewsOf::Released } else { NewsOf::Snoozed { delay_ms: 0 } };
                self.job(state, *slot, what, at);
            }
            Event::Enqueued { job, queue, .. } => {
                let due = job.due.map(|due| moment(due, at));
                let labels = &job.body.labels;
                let flow = labels.step().or_else(|| labels.member().map(|member| member.of)).map(|of| of.flow);
                let news = News {
                    kind: Some(job.kind.clone()),
                    queue: Some(state.queue(*queue).settings.name.clone()),
                    flow,
                    correlation_id: labels.correlation_id().map(Into::into),
                    ..of_job(NewsOf::Enqueued { due }, at, job.id)
                };
                self.push(state.queue(*queue).level().into(), news);
            }
            Event::Purged { stub } => self.stub(state, *stub, NewsOf::Forgotten, at),
            Event::Requeued { stub, .. } => self.stub(state, *stub, NewsOf::Requeued, at),
            Event::Moved { slot, queue, .. } => {
                let live = &state.jobs[*slot];
                let from = state.queue(live.queue).settings.name.clone();
                let to = Some(state.queue(*queue).settings.name.clone());
                let news = News { queue: to, ..of_live(state, live, NewsOf::Moved { from }, at) };
                self.push(state.queue(*queue).level().into(), news);
            }
            Event::Paused { queue, paused } => {
                let what = if *paused { NewsOf::Paused } else { NewsOf::Resumed };
                let queue = Some(state.queue(*queue).settings.name.clone());
                self.push(Level::Durable.into(), News { queue, ..of_nothing(what, at) });
            }
            Event::FlowEntered(record) => {
                let what = NewsOf::FlowSubmitted { name: record.plan.name.clone() };
                // Its jobs come in with it, and it waits with them.
                self.push(Mark::Sealed, News { flow: Some(record.plan.id), ..of_nothing(what, at) });
            }
            Event::StepHolds { .. } | Event::FlowEnded { .. } if self.recalls => {}
            Event::StepHolds { at: step } => self.held(state, *step, at),
            Event::FlowEnded { flow, .. } => {
                let flow = &state.flows.all[*flow];
                let what = NewsOf::FlowEnded { name: flow.name.clone(), state: flow.result() };
                self.push(flow.level.into(), News { flow: Some(flow.id), ..of_nothing(what, at) });
            }
            event => {
                if let Some((slot, what)) = of_event(event, at) {
                    self.job(state, slot, what, at);
                }
            }
        }
    }

    /// The failure that was told of last is not the end.
    fn is_tried_again(&mut self, id: JobId, delay_ms: u64) {
        let last = self.news.last_mut().filter(|news| news.job == Some(id));
        if let Some(News { what: NewsOf::Failed { retry_ms, .. }, .. }) = last {
            *retry_ms = Some(delay_ms);
        }
    }

    fn job(&mut self, state: &State, slot: Slot, what: NewsOf, at: Timestamp) {
        let live = &state.jobs[slot];
        self.push(state.queue(live.queue).level().into(), of_live(state, live, what, at));
    }

    fn stub(&mut self, state: &State, slot: Slot, what: NewsOf, at: Timestamp) {
        let stub = &state.stubs[slot];
        let queue = state.queue(stub.queue);
        let news = News {
            kind: Some(state.kinds[stub.kind as usize].name.clone()),
            queue: Some(queue.settings.name.clone()),
            ..of_job(what, at, stub.id)
        };
        self.push(queue.level().into(), news);
    }

    /// A step failed that others hold for. Said of each of them, and told once.
    fn held(&mut self, state: &State, step: StepAt, at: Timestamp) {
        let flow = &state.flows.all[step.flow];
        let plan = &flow.step(step.no).plan;
        if state.flows.holding.contains_key(&plan.job) {
            return;
        }
        // It may have been moved since it came in.
        let queue = state.stub(plan.job).map_or(&plan.queue, |(_, stub)| &state.queue(stub.queue).settings.name);
        let what = NewsOf::FlowHeld { name: flow.name.clone(), step: plan.name.clone() };
        let news = News {
            kind: Some(plan.kind.clone()),
            queue: Some(queue.clone()),
            flow: Some(flow.id),
            ..of_job(what, at, plan.job)
        };
        self.push(flow.level.into(), news);
    }

    fn push(&mut self, mark: Mark, news: News) {
        self.mark = self.mark.max(Some(mark));
        self.news.push(news);
    }

    /// The events so far are those of this step, perhaps with more to come.
    pub(super) fn close(&mut self, step: u64) {
        let (Some(mark), Some((news_max, bytes_max))) = (self.mark.take(), self.max) else { return };
        let mark = if bug!(ToldEarly) { Mark::Sealed } else { mark };
        let news = core::mem::take(&mut self.news);
        let more = Told { step, news, is_after_gap: false };
        self.waits.0 += more.news.len();
        self.waits.1 += more.bytes();
        match self.waiting.back_mut().filter(|(_, told)| told.step == step) {
            Some((before, told)) => {
                *before = mark.max(*before);
                told.news.extend(more.news);
            }
            None => self.waiting.push_back((mark, more)),
        }
        if self.waits.0 > news_max || self.waits.1 > bytes_max {
            self.forget_all_but_last();
        }
    }

    /// The journal stands still, or is far behind: what is newest stays, and says that something is missing.
    fn forget_all_but_last(&mut self) {
        let Some((mark, mut told)) = self.waiting.pop_back() else { return };
        told.is_after_gap |= !self.waiting.is_empty();
        self.waiting.clear();
        self.waits = (told.news.len(), told.bytes());
        self.waiting.push_back((mark, told));
    }

    /// What may be told, given the steps that each mark has reached.
    pub(super) fn pop(&mut self, has_reached: impl Fn(Mark, u64) -> bool) -> Option<Told> {
        self.waiting.front().filter(|(mark, told)| has_reached(*mark, told.step))?;
        let (_, told) = self.waiting.pop_front()?;
        self.waits.0 -= told.news.len();
        self.waits.1 -= told.bytes();
        Some(told)
    }
}

/// What most events are to their job.
fn of_event(event: &Event, at: Timestamp) -> Option<(Slot, NewsOf)> {
    Some(match event {
        Event::FellDue { slot, .. } => (*slot, NewsOf::FellDue),
        Event::Claimed { slot, .. } => (*slot, NewsOf::Started),
        Event::AttemptFailed { slot, failure, .. } => {
            (*slot, NewsOf::Failed { failure: failure.into(), retry_ms: None })
        }
        Event::Lost { slot, .. } => (*slot, NewsOf::Lost),
        Event::Ended { slot, state, failure, .. } => {
            let what = match state {
                EndState::Done => NewsOf::Succeeded,
                EndState::Dead => NewsOf::Dead { failure: failure.as_ref().map(Into::into) },
                EndState::Cancelled => NewsOf::Cancelled,
                EndState::Expired => NewsOf::Expired,
            };
            (*slot, what)
        }
        Event::CancelRequested { slot } => (*slot, NewsOf::CancelRequested),
        Event::Reprioritised { slot, priority, .. } => (*slot, NewsOf::Reprioritised { priority: *priority }),
        Event::Rescheduled { slot, when, now, .. } => {
            let due = when.is_later(*now).then(|| moment(*when, at));
            (*slot, NewsOf::Rescheduled { due })
        }
        Event::Edited { slot, .. } => (*slot, NewsOf::Edited),
        Event::Replaced { slot, job, .. } => (*slot, NewsOf::Replaced { due: job.due.map(|due| moment(due, at)) }),
        _ => return None,
    })
}

fn moment(when: When, now: Timestamp) -> Timestamp {
    match when {
        When::After(ms) => now.plus_ms(ms),
        When::At(at) => at,
    }
}

const fn of_nothing(what: NewsOf, at: Timestamp) -> News {
    News { what, at, job: None, kind: None, queue: None, flow: None, attempt: 0, correlation_id: None }
}

fn of_job(what: NewsOf, at: Timestamp, id: JobId) -> News {
    News { job: Some(id), ..of_nothing(what, at) }
}

fn of_live(state: &State, live: &Live, what: NewsOf, at: Timestamp) -> News {
    let more = live.more();
    // One that is about to begin, or of which only the journal knows, is open as well.
    let is_open = more.run.is_some() || matches!(what, NewsOf::Started | NewsOf::Lost);
    let step = more.step.or_else(|| more.member.map(|member| member.at));
    let flow: Option<FlowId> = step.and_then(|at| state.flows.all.get(at.flow)).map(|flow| flow.id);
    let name: &Name = &state.kinds[live.kind as usize].name;
    News {
        kind: Some(name.clone()),
        queue: Some(state.queue(live.queue).settings.name.clone()),
        flow,
        attempt: more.attempts_ended + u32::from(is_open),
        correlation_id: live.body.as_ref().and_then(|body| body.labels.correlation_id()).map(Into::into),
        ..of_job(what, at, live.id)
    }
}
