//! Every metric: its name, sort, unit, labels and meaning. The guide's page on metrics says the same, and a law compares them.

use metrics::Unit;

/// How a number moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// It only rises.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It is one of many, of which the distribution counts.
    Histogram,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) sort: Sort,
    pub(crate) unit: Unit,
    /// What its series differ in. Values are configured queues and limits, kinds with a handler, and words of ours.
    pub(crate) labels: &'static [&'static str],
    pub(crate) meaning: &'static str,
}

/// The value of a label where its own would be one of any number.
pub(crate) const OTHER: &str = "other";

macro_rules! metrics {
    ($($id:ident: $sort:ident $name:literal in $unit:ident by [$($label:literal),*], $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub(crate) const $id: Metric =
                Metric { name: $name, sort: Sort::$sort, unit: Unit::$unit, labels: &[$($label),*], meaning: $meaning };
        )*

        /// All of them.
        pub(crate) const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    JOBS: Gauge "windlass_jobs" in Count by ["queue", "state"], "Jobs in this state, live and retained";
    OLDEST_READY: Gauge "windlass_oldest_ready_seconds" in Seconds by ["queue"], "For how long the oldest ready job has been ready; 0: none is";
    SLOTS: Gauge "windlass_slots" in Count by ["queue"], "Attempts that may run at once";
    DEPTH_MAX: Gauge "windlass_depth_max" in Count by ["queue"], "Jobs that may wait";
    WAITING_CALLERS: Gauge "windlass_waiting_callers" in Count by ["queue"], "Callers that wait for room";
    PAUSED: Gauge "windlass_queue_paused" in Count by ["queue"], "1: it is paused";
    LATE: Gauge "windlass_queue_late" in Count by ["queue"], "1: a ready job has waited longer than the queue's promise";
    ENQUEUED: Counter "windlass_jobs_enqueued_total" in Count by ["queue"], "Jobs ever accepted";
    STARTED: Counter "windlass_attempts_started_total" in Count by ["queue"], "Attempts ever started";
    SUCCEEDED: Counter "windlass_jobs_succeeded_total" in Count by ["queue"], "Jobs that ever succeeded";
    FAILED: Counter "windlass_attempts_failed_total" in Count by ["queue"], "Attempts that ever failed, but for lost ones";
    RETRIES: Counter "windlass_retries_total" in Count by ["queue"], "Retries ever scheduled";
    LOST: Counter "windlass_attempts_lost_total" in Count by ["queue"], "Attempts ever lost with their process";
    DEAD: Counter "windlass_jobs_dead_total" in Count by ["queue"], "Jobs that ever died";
    CANCELLED: Counter "windlass_jobs_cancelled_total" in Count by ["queue"], "Jobs ever cancelled";
    EXPIRED: Counter "windlass_jobs_expired_total" in Count by ["queue"], "Jobs that ever expired";
    REQUEUED: Counter "windlass_jobs_requeued_total" in Count by ["queue"], "Retained jobs ever brought back";
    PURGED: Counter "windlass_jobs_purged_total" in Count by ["queue"], "Ended jobs ever forgotten";
    QUARANTINED: Counter "windlass_jobs_quarantined_total" in Count by ["queue"], "Jobs ever lost to a record that could not be read";
    ENDED: Counter "windlass_attempts_ended_total" in Count by ["queue", "kind", "outcome"], "Attempts of this process whose code has ended, by how";
    WAIT: Histogram "windlass_wait_seconds" in Seconds by ["queue", "kind"], "How long a job had been ready when its attempt started, to the millisecond";
    RUN: Histogram "windlass_run_seconds" in Seconds by ["queue", "kind"], "How long an attempt took, from its start until its code had ended";
    STALE_ACKS: Counter "windlass_stale_acks_total" in Count by [], "Acknowledgements of this process refused because their lease was not current";
    STUCK: Gauge "windlass_attempts_stuck" in Count by [], "Attempts that were asked to end, whose grace is over, and whose code still runs";
    SERVING: Gauge "windlass_serving" in Count by [], "1: the engine serves";
    ACCEPTING: Gauge "windlass_accepting" in Count by [], "1: it serves, and its disk has room for new jobs";
    LIMIT_RUNNING: Gauge "windlass_limit_running" in Count by ["scope", "limit"], "Attempts that run under this limit";
    LIMIT_SLOTS: Gauge "windlass_limit_slots" in Count by ["scope", "limit"], "Attempts that may run under it at once, where that is limited";
    BREAKER: Gauge "windlass_breaker_state" in Count by ["scope", "limit", "state"], "1: its circuit breaker stands here";
    BREAKER_OPENED: Counter "windlass_breaker_opened_total" in Count by ["scope", "limit"], "How often its circuit breaker opened in this process; those of its keys count together";
    FLOWS: Gauge "windlass_flows" in Count by ["state"], "Flows that go on, that somebody has to do something for, and that have ended and are remembered";
    MEMORY: Gauge "windlass_memory_bytes" in Bytes by ["part"], "What the memory is used for";
    MEMORY_MAX: Gauge "windlass_memory_max_bytes" in Bytes by [], "Its budget";
    PAGED_OUT: Gauge "windlass_paged_out_jobs" in Count by [], "Live jobs whose payloads are on disk only";
    PAGED_OUT_BYTES: Gauge "windlass_paged_out_bytes" in Bytes by [], "Bytes of those payloads";
    BATCH_CHANGES: Histogram "windlass_journal_batch_changes" in Count by [], "Changes of records that one write had in it";
    BATCH_BYTES: Histogram "windlass_journal_batch_bytes" in Bytes by [], "Bytes of one write, within a factor of two";
    WRITE: Histogram "windlass_journal_write_seconds" in Seconds by [], "How long a write took";
    SYNC: Histogram "windlass_journal_sync_seconds" in Seconds by [], "How long a sync took";
    FREE: Gauge "windlass_journal_free_bytes" in Bytes by [], "Free bytes on the journal's disk";
    TABLES: Gauge "windlass_journal_tables_bytes" in Bytes by [], "Bytes of the journal's tables";
    LOG: Gauge "windlass_journal_log_bytes" in Bytes by [], "Bytes of its log";
    LOADS: Counter "windlass_journal_loads_total" in Count by [], "How often this process has opened and loaded it: once at the start, and once for each rebuild";
    LOAD: Gauge "windlass_journal_load_seconds" in Seconds by [], "How long the last of these took";
    LOADED: Gauge "windlass_journal_loaded_jobs" in Count by [], "Jobs that it found, live and retained";
    QUARANTINED_RECORDS: Counter "windlass_quarantined_records_total" in Count by [], "Records that could not be read, since the start";
}
