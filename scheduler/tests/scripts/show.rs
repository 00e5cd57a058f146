//! How a script's effects, records and timers are put into lines: names instead of ids, and no more than a story needs.

use windlass_scheduler::attempt::Output;
use windlass_scheduler::change::{Change, Key};
use windlass_scheduler::command::Request;
use windlass_scheduler::effect::{Answer, Effect, Found};
use windlass_scheduler::order::Order;
use windlass_scheduler::view::IsMeant;

use super::Script;

fn shown(order: &Order) -> String {
    let end = order.ended.map_or(String::from("open"), |(_, end)| format!("{end:?}"));
    format!("{} changed, {} skipped, {:?}, {end}", order.changed, order.skipped, order.place)
}

impl Script {
    fn say(&mut self, text: &str) {
        let mut text = text.to_owned();
        for (name, id) in &self.names {
            text = text.replace(&id.to_string(), name);
        }
        self.out.push_str(&text);
        self.out.push('\n');
    }

    pub(super) fn show_effects(&mut self) {
        for effect in std::mem::take(&mut self.driver().effects) {
            let text = match effect {
                Effect::Reply { request, answer: Ok(answer) } => self.answer(request, answer),
                Effect::Reply { request, answer: Err(refusal) } => format!("{}: no, {refusal}", self.asked[&request]),
                Effect::Run { leases, .. } => {
                    let runs = leases.iter().map(|lease| {
                        let body = if lease.body.is_some() { "" } else { ", body on disk" };
                        format!("{} ({}{body})", self.name(lease.id), lease.attempt)
                    });
                    format!("run {}", runs.collect::<Vec<_>>().join(", "))
                }
                Effect::Stop { id, reason, .. } => format!("stop {}: {reason:?}", self.name(id)),
                Effect::Notice(notice) => {
                    let (name, failure) = (self.name(notice.id), &notice.failure);
                    let (attempt, failures) = (notice.attempt, notice.failures);
                    format!("tell {name} ({attempt}): {:?}, failures {failures}, {failure}", notice.what)
                }
                Effect::Told(told) => format!("told of {}", told.news.len()),
                Effect::Ticked(job) => format!("tick {}", self.name(job.id)),
                Effect::FollowUps(jobs) => {
                    let names: Vec<_> = jobs.iter().map(|job| self.name(job.id)).collect();
                    format!("follow {}", names.join(", "))
                }
                Effect::Fetch { ids, .. } => {
                    let names: Vec<_> = ids.iter().map(|id| self.name(*id)).collect();
                    format!("fetch {}", names.join(", "))
                }
                Effect::Tripped { of, circuit } => format!("{of}: {circuit:?}"),
                Effect::Arm { .. } => continue,
            };
            self.say(&text);
        }
    }

    fn answer(&self, request: Request, answer: Answer) -> String {
        let asked = &self.asked[&request];
        match answer {
            Answer::Enqueued(receipts) => {
                let one = |fresh| if fresh { "accepted" } else { "there already" };
                let all: Vec<_> = receipts.iter().map(|receipt| one(receipt.fresh)).collect();
                format!("{asked}: {}", all.join(", "))
            }
            Answer::Steered { state } => format!("{asked}: yes, it is {state}"),
            Answer::Ending(ending) => {
                let failure = ending.failure.map_or(String::new(), |failure| format!(", {failure}"));
                let output = match ending.output {
                    Output::None => String::new(),
                    other => format!(", {} bytes", other.kept_bytes()),
                };
                format!("{asked}: {:?}{output}{failure}", ending.state)
            }
            Answer::Found(Found::Ended(key)) => {
                format!("{asked}: {:?}, end {} of {}", key.state, key.end_no, key.queue)
            }
            Answer::Found(Found::Live(view)) => {
                let counts = (view.attempts, view.failures, view.lost);
                format!("{asked}: {}, attempts, failures, lost {counts:?}, {:?}", view.state, view.why)
            }
            Answer::Stats(all) => {
                let stats = all.into_iter().find(|stats| stats.queue.as_str() == asked).unwrap();
                let live = (stats.delayed, stats.ready, stats.running, stats.parked);
                let kept = (stats.done, stats.dead, stats.cancelled, stats.expired);
                let paused = if stats.paused { ", paused" } else { "" };
                let (enqueued, purged) = (stats.totals.enqueued, stats.totals.purged);
                let promise = stats.start_within_ms.map_or_else(String::new, |within| {
                    let waited = stats.oldest_ready_ms.map_or("none".to_owned(), |ms| ms.to_string());
                    format!(", oldest {waited} of {within} ms{}", if stats.is_late { ", late" } else { "" })
                });
                format!(
                    "{asked}: delayed, ready, running, parked {live:?}; done, dead, cancelled, expired {kept:?}; \
                     {enqueued} enqueued, {purged} purged, {} wait{paused}{promise}",
                    stats.waiting_callers
                )
            }
            Answer::Page(page) => {
                let jobs = page.jobs.iter().map(|(view, is_meant)| match is_meant {
                    IsMeant::Yes => self.name(view.id).to_owned(),
                    IsMeant::ByLabels => format!("{} by its labels", self.name(view.id)),
                });
                let jobs: Vec<_> = jobs.collect();
                format!("{asked}: {}{}", jobs.join(", "), page.next.map_or("", |_| ", and more"))
            }
            Answer::Limits(limits) => format!("{asked}: {} limits", limits.len()),
            Answer::Orders(orders) => {
                let orders: Vec<_> = orders.iter().map(shown).collect();
                format!("{asked}: {}", orders.join("; "))
            }
            Answer::Schedules(views) => {
                let names: Vec<_> = views.iter().map(|view| view.schedule.name.as_str()).collect();
                format!("{asked}: {}", names.join("; "))
            }
            Answer::OrderProgress(come) => {
                let held_up = come.held_up.map_or(String::new(), |no| format!(", held up after {}: {no}", come.met));
                format!("{asked}: {}{held_up}", shown(&come.order))
            }
            Answer::Memory(memory) => {
                let (bodies, out, bytes) = (memory.bodies, memory.paged_out, memory.paged_out_bytes);
                format!("{asked}: {} live, {bodies} bodies in memory, {out} out with {bytes} bytes", memory.jobs)
            }
            Answer::Ok => format!("{asked}: yes"),
            of_flow => unreachable!("flows have scripts of their own: {of_flow:?}"),
        }
    }

    fn key(key: &Key) -> String {
        match key {
            Key::Ended(key) => format!("Ended {:?} {}", key.state, key.end_no),
            Key::Claims(no) => format!("Claims {}.{}", no.term, no.n),
            other => format!("{other:?}").replace(['(', ')'], " ").trim_end().to_owned(),
        }
    }

    pub(super) fn show_wave(&mut self) {
        let wave = self.driver().sealed.back().unwrap().clone();
        for (change, place) in
            wave.changes.iter().map(|one| (one, "")).chain(wave.volatile.iter().map(|one| (one, "twin ")))
        {
            let text = match change {
                Change::Put(record) => format!("{place}put {}", Self::key(&record.key())),
                Change::Delete(key) => format!("{place}delete {}", Self::key(key)),
            };
            self.say(&text);
        }
        if wave.sync {
            self.say("and sync");
        }
    }

    pub(super) fn show_store(&mut self) {
        let keys: Vec<_> = self.driver().journal.0.keys().cloned().collect();
        for key in keys {
            let text = Self::key(&key);
            self.say(&text);
        }
    }

    pub(super) fn show_timers(&mut self) {
        for ((queue, class), at) in self.driver().armed.clone() {
            let name = self.settings.queues[queue.0 as usize].name.clone();
            self.say(&format!("{name} {class:?}: {at:?}"));
        }
    }
}
