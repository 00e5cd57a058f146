//! The jobs of the children: what each is to do and what bytes it carries are functions of its id, so that the parent can
//! judge them without having been told.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use windlass::{Job, JobId};
use windlass_scheduler::history::fingerprint;

use crate::chance::Chance;

/// Where a job goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    /// `Durable`; keeps a few successes, so that they are purged all the time.
    Fast,
    /// `Process`; keeps no success.
    Light,
    /// `Durable`, with blocking handlers; keeps all successes, for they have outputs.
    Heavy,
}

/// Successes that [`Queue::Fast`] keeps.
pub const FAST_KEPT_MAX: u64 = 60;

impl Queue {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Light, Self::Heavy];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Light => "light",
            Self::Heavy => "heavy",
        }
    }

    /// Attempts that may run at once.
    pub const fn slots(self) -> u32 {
        match self {
            Self::Fast => 6,
            Self::Light => 4,
            Self::Heavy => 2,
        }
    }

    /// Jobs that may wait.
    pub const fn depth_max(self) -> u64 {
        match self {
            Self::Fast => 250,
            Self::Light => 150,
            Self::Heavy => 80,
        }
    }
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// Succeeds.
    Quick,
    /// Fails so often, then succeeds.
    Flaky(u32),
    /// Panics once, then succeeds.
    Panics,
    /// Fails until its retries are used up.
    Doomed,
    /// Fails for good at once.
    Poison,
    /// Succeeds and leaves two more jobs.
    Parent,
    /// Runs until a number of other attempts have ended.
    Long,
    /// Snoozes in its first attempt, then succeeds.
    Sleepy,
    /// Succeeds, after its time has come.
    Delayed,
}

/// Failures after which a [`Script::Doomed`] job is dead.
pub const DOOMED_ATTEMPTS: u32 = 3;
/// Jobs that a [`Script::Parent`] leaves.
pub const FOLLOW_UPS: u8 = 2;

/// A job's number: all that there is to know of it.
///
/// From the top: 16 bits of life, 8 of queue, 8 of script, 32 of serial number in its life, 32 of group (0: none), 8 of
/// place among its parent's follow-ups (0: it has no parent), 16 of nothing, 8 of jobs in its group.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct No(pub u128);

impl No {
    /// The number of a job that is handed in.
    pub fn new(life: u16, queue: Queue, script: u8, serial: u32, group: u32) -> Self {
        let top = u128::from(life) << 112 | (queue as u128) << 104 | u128::from(script) << 96;
        Self(top | u128::from(serial) << 64 | u128::from(group) << 32)
    }

    /// The same job in a group of so many.
    #[must_use]
    pub fn among(self, jobs: u8) -> Self {
        Self(self.0 | u128::from(jobs))
    }

    /// Jobs of its group.
    pub fn group_len(self) -> usize {
        usize::from(self.byte(0))
    }

    /// A follow-up of this job. It keeps its parent's script number and is quick all the same.
    #[must_use]
    pub fn follow_up(self, place: u8) -> Self {
        Self(self.0 | u128::from(place) << 24)
    }

    fn byte(self, shift: u32) -> u8 {
        u8::try_from(self.0 >> shift & 0xFF).expect("eight bits")
    }

    /// The life in which it was handed in.
    pub fn life(self) -> u16 {
        u16::try_from(self.0 >> 112).expect("sixteen bits")
    }

    /// The call that it came with; 0 where it came alone.
    pub fn group(self) -> u32 {
        if self.parent().is_some() {
            return 0;
        }
        u32::try_from(self.0 >> 32 & 0xFFFF_FFFF).expect("32 bits")
    }

    /// Whose follow-up it is.
    pub fn parent(self) -> Option<Self> {
        (self.byte(24) > 0).then_some(Self(self.0 & !(0xFF << 24)))
    }

    /// Where it goes.
    pub fn queue(self) -> Queue {
        match self.byte(24) {
            0 => Queue::ALL[usize::from(self.byte(104))],
            1 => Queue::Light,
            _ => Queue::Heavy,
        }
    }

    /// What it does.
    pub fn script(self) -> Script {
        if self.parent().is_some() {
            return Script::Quick;
        }
        match self.byte(96) {
            0..50 => Script::Quick,
            50..62 => Script::Flaky(1),
            62..66 => Script::Flaky(3),
            66..70 => Script::Panics,
            70..74 => Script::Doomed,
            74..76 => Script::Poison,
            76..82 => Script::Parent,
            82..91 if self.queue() == Queue::Light => Script::Quick,
            82..91 => Script::Long,
            91..93 => Script::Sleepy,
            _ => Script::Delayed,
        }
    }

    /// Numbers of scripts, all equally often used.
    pub const SCRIPTS: u64 = 100;

    /// Its id.
    pub fn id(self) -> JobId {
        JobId(Uuid::from_u128(self.0))
    }

    /// The number in an id.
    pub fn of(id: JobId) -> Self {
        Self(id.0.as_u128())
    }

    /// What it carries: its number, and up to 900 bytes that depend on it.
    pub fn payload(self) -> Vec<u8> {
        let mut bytes = self.0.to_be_bytes().to_vec();
        let mut chance = Chance::new(u64::try_from((self.0 ^ self.0 >> 64) & u128::from(u64::MAX)).expect("64 bits"));
        for _ in 0..chance.below(110) {
            bytes.extend(chance.next().to_be_bytes());
        }
        bytes
    }

    /// What its success leaves: a hash of what it was given.
    pub fn output(self) -> u64 {
        fingerprint(&self.payload())
    }
}

impl std::fmt::Display for No {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::fmt::Debug for No {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self} ({} {:?})", self.queue().name(), self.script())
    }
}

impl std::str::FromStr for No {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}

macro_rules! kind {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $queue:expr) => {
        $(#[$doc])*
        #[derive(Serialize, Deserialize)]
        pub struct $name(pub Vec<u8>);

        impl Job for $name {
            const KIND: &'static str = $kind;
            const QUEUE: &'static str = $queue.name();
            type Output = u64;

            fn encode(&self) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
                Ok(self.0.clone())
            }

            fn decode(bytes: &[u8], _: u32) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
                Ok(Self(bytes.to_vec()))
            }
        }
    };
}

kind!(
    /// A job with an async handler.
    Work, "work", Queue::Fast
);
kind!(
    /// A job with a blocking handler.
    Press, "press", Queue::Heavy
);
