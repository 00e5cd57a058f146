//! Everything that an engine is configured with, as one value: read from a file, or what an engine goes by in the end.
//!
//! Owns the putting together of code and files: what stands in both is refused, and what must fit is looked at here (a
//! kind's queue, a handler's kind). Never reads text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use windlass_scheduler::job::Name;
use windlass_scheduler::recurrence::Template;
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::settings::{KindSettings, ShardSettings};

use super::kind::KindConfig;
use super::limit::SharedLimit;
use super::queue::QueueConfig;
use crate::error::ConfigError;
use crate::events::Ring;
use crate::memory::MEMORY_BYTES_MAX;
use crate::range::{DISK_FREE, EVENTS, EVENTS_BYTES, LOST, MEMORY, METRICS_INTERVAL, in_range};

/// Free bytes on the journal's disk below which new jobs are refused, so that what runs can still be acknowledged.
const DISK_FREE_BYTES_MIN: u64 = 256 << 20;

/// As often as anybody looks.
const METRICS_INTERVAL_MS: u64 = 1_000;

/// Events that are kept in memory: some seconds' worth at a rate that few services come to, and some minutes' at most rates.
const EVENTS_KEPT_MAX: u64 = 65_536;
/// And bytes of them: about as much.
const EVENTS_KEPT_BYTES_MAX: u64 = 16 << 20;

/// Where a setting was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigPlace {
    /// By a call.
    Code,
    /// In a text that came from no file.
    Text {
        /// The line, from 1, where it is known.
        line: Option<usize>,
    },
    /// In a file.
    File {
        /// Its path, as it was given.
        path: PathBuf,
        /// The line, from 1, where it is known.
        line: Option<usize>,
    },
}

impl fmt::Display for ConfigPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code => f.write_str("code"),
            Self::Text { line: None } => f.write_str("the text"),
            Self::Text { line: Some(line) } => write!(f, "line {line} of the text"),
            Self::File { path, line: None } => write!(f, "`{}`", path.display()),
            Self::File { path, line: Some(line) } => write!(f, "`{}`, line {line}", path.display()),
        }
    }
}

/// What holds for the whole engine; `None` is what nobody has said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wide {
    pub(crate) disk_free_bytes_min: Option<u64>,
    pub(crate) memory_bytes_max: Option<u64>,
    pub(crate) lost_max: Option<u32>,
    pub(crate) allow_unknown_kinds: Option<bool>,
    pub(crate) single_runtime: Option<bool>,
    /// Without the feature `metrics` nobody says it.
    pub(crate) metrics_interval_ms: Option<u64>,
    pub(crate) events_kept_max: Option<u64>,
    pub(crate) events_kept_bytes_max: Option<u64>,
    pub(crate) events_from_start: Option<bool>,
}

/// The configuration of an engine: its queues, its kinds, and what holds for all of it.
///
/// Handed to [`EngineBuilder::config`](crate::EngineBuilder::config), it is joined with what the code says; what an engine
/// goes by after that comes from [`EngineBuilder::effective_config`](crate::EngineBuilder::effective_config) or
/// [`Engine::config`](crate::Engine::config). With the feature `config-file` (on by default) it is read from TOML or JSON and
/// written as such; what was written is read back equal.
///
/// Two are equal if they say the same, wherever they say it.
#[derive(Clone, Debug, Default)]
pub struct EngineConfig {
    pub(crate) wide: Wide,
    pub(crate) queues: Vec<QueueConfig>,
    pub(crate) kinds: Vec<KindConfig>,
    pub(crate) limits: Vec<SharedLimit>,
    /// Where what was read stood, by the path of its field.
    pub(crate) places: BTreeMap<String, ConfigPlace>,
}

impl PartialEq for EngineConfig {
    fn eq(&self, other: &Self) -> bool {
        (&self.wide, &self.queues, &self.kinds, &self.limits)
            == (&other.wide, &other.queues, &other.kinds, &other.limits)
    }
}

impl EngineConfig {
    /// The names of its queues, in the order in which they were configured.
    pub fn queue_names(&self) -> impl Iterator<Item = &str> {
        self.queues.iter().map(QueueConfig::name)
    }

    /// What it says, or the default.
    pub(crate) fn disk_free_bytes_min(&self) -> u64 {
        self.wide.disk_free_bytes_min.unwrap_or(DISK_FREE_BYTES_MIN)
    }

    /// What it says, or the default.
    pub(crate) fn memory_bytes_max(&self) -> u64 {
        self.wide.memory_bytes_max.unwrap_or(MEMORY_BYTES_MAX)
    }

    fn metrics_interval_ms(&self) -> u64 {
        self.wide.metrics_interval_ms.unwrap_or(METRICS_INTERVAL_MS)
    }

    /// What it says, or the default.
    #[cfg(feature = "metrics")]
    pub(crate) fn metrics_interval(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.metrics_interval_ms())
    }

    /// The ring that it asks for.
    pub(crate) fn ring(&self) -> Ring {
        let (events, bytes) = self.events_kept();
        let is_wanted = self.wide.events_from_start.unwrap_or_default();
        let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
        Ring::new(size(events), size(bytes), is_wanted)
    }

    fn events_kept(&self) -> (u64, u64) {
        let (events, bytes) = (self.wide.events_kept_max, self.wide.events_kept_bytes_max);
        (events.unwrap_or(EVENTS_KEPT_MAX), bytes.unwrap_or(EVENTS_KEPT_BYTES_MAX))
    }

    pub(crate) fn place(&self, path: &str) -> ConfigPlace {
        self.places.get(path).cloned().unwrap_or(ConfigPlace::Code)
    }

    /// Takes in what another one says, and refuses what both say.
    fn join(&mut self, other: &Self) -> Result<(), ConfigError> {
        let twice = |what: String, path: &str, mine: &Self| ConfigError::Twice {
            what,
            first: mine.place(path),
            second: other.place(path),
        };
        let (mine, theirs) = (&self.wide, &other.wide);
        let both = [
            ("disk_free_bytes_min", mine.disk_free_bytes_min.is_some() && theirs.disk_free_bytes_min.is_some()),
            ("memory_bytes_max", mine.memory_bytes_max.is_some() && theirs.memory_bytes_max.is_some()),
            ("lost_max", mine.lost_max.is_some() && theirs.lost_max.is_some()),
            ("allow_unknown_kinds", mine.allow_unknown_kinds.is_some() && theirs.allow_unknown_kinds.is_some()),
            ("single_runtime", mine.single_runtime.is_some() && theirs.single_runtime.is_some()),
            ("metrics_interval", mine.metrics_interval_ms.is_some() && theirs.metrics_interval_ms.is_some()),
            ("events_kept_max", mine.events_kept_max.is_some() && theirs.events_kept_max.is_some()),
            ("events_kept_bytes_max", mine.events_kept_bytes_max.is_some() && theirs.events_kept_bytes_max.is_some()),
            ("events_from_start", mine.events_from_start.is_some() && theirs.events_from_start.is_some()),
        ];
        if let Some((name, _)) = both.iter().find(|(_, both)| *both) {
            return Err(twice(format!("`{name}`"), &format!("engine.{name}"), self));
        }
        for queue in &other.queues {
            let name = queue.name();
            if self.queue_names().any(|mine| mine == name) {
                return Err(twice(format!("queue `{name}`"), &format!("queues.{name}"), self));
            }
        }
        for kind in &other.kinds {
            let name = kind.name();
            if self.kinds.iter().any(|mine| mine.name() == name) {
                return Err(twice(format!("kind `{name}`"), &format!("kinds.{name}"), self));
            }
        }
        for limit in &other.limits {
            let name = limit.name();
            if self.limits.iter().any(|mine| mine.name() == name) {
                return Err(twice(format!("shared limit `{name}`"), &format!("limits.{name}"), self));
            }
        }
        self.wide = Wide {
            disk_free_bytes_min: self.wide.disk_free_bytes_min.or(other.wide.disk_free_bytes_min),
            memory_bytes_max: self.wide.memory_bytes_max.or(other.wide.memory_bytes_max),
            lost_max: self.wide.lost_max.or(other.wide.lost_max),
            allow_unknown_kinds: self.wide.allow_unknown_kinds.or(other.wide.allow_unknown_kinds),
            single_runtime: self.wide.single_runtime.or(other.wide.single_runtime),
            metrics_interval_ms: self.wide.metrics_interval_ms.or(other.wide.metrics_interval_ms),
            events_kept_max: self.wide.events_kept_max.or(other.wide.events_kept_max),
            events_kept_bytes_max: self.wide.events_kept_bytes_max.or(other.wide.events_kept_bytes_max),
            events_from_start: self.wide.events_from_start.or(other.wide.events_from_start),
        };
        self.queues.extend(other.queues.iter().cloned());
        self.kinds.extend(other.kinds.iter().cloned());
        self.limits.extend(other.limits.iter().cloned());
        self.places.extend(other.places.iter().map(|(path, place)| (path.clone(), place.clone())));
        Ok(())
    }

    /// Says where a kind was configured, if that was in a file.
    fn kind_error(&self, kind: &str, error: ConfigError) -> ConfigError {
        match self.place(&format!("kinds.{kind}")) {
            ConfigPlace::Code => error,
            place => ConfigError::At { place, error: Box::new(error) },
        }
    }
}

/// A checked configuration.
pub(crate) struct Plan {
    /// With the defaults filled in.
    pub(crate) config: EngineConfig,
    /// The kinds that have a handler, for the core.
    pub(crate) handled: Vec<KindSettings>,
}

impl Plan {
    /// Joins what code and files say, fills in the defaults and checks everything. `handlers`: kinds, and the queues that
    /// their types name.
    pub(crate) fn new(
        code: &EngineConfig,
        files: &[EngineConfig],
        handlers: &[(&'static str, &'static str)],
    ) -> Result<Self, ConfigError> {
        let mut config = code.clone();
        for file in files {
            config.join(file)?;
        }
        let queues = check_queues(&config.queues)?;
        check_limits(&config)?;
        let mut kinds = check_kinds(&config, &queues)?;
        let (mut handled, mut effective) = (Vec::new(), Vec::new());
        for &(kind, queue) in handlers {
            if !Name::is_valid(kind) {
                return Err(ConfigError::Name { what: "kind", name: kind.to_owned(), bytes_max: Name::BYTES_MAX });
            }
            if handled.iter().any(|other: &KindSettings| other.name.as_str() == kind) {
                return Err(ConfigError::HandlerTwice(kind.to_owned()));
            }
            let mut configured = kinds.remove(kind).unwrap_or_else(|| KindConfig::new(kind));
            if configured.queue.is_none() {
                if !queues.contains(queue) {
                    return Err(ConfigError::HandlerQueue { kind: kind.to_owned(), queue: queue.to_owned() });
                }
                configured = configured.queue(queue);
            }
            handled.push(configured.settings.clone());
            effective.push(configured);
        }
        let unknown_kinds = config.wide.allow_unknown_kinds.unwrap_or_default();
        if let Some(kind) = kinds.keys().next().filter(|_| !unknown_kinds) {
            return Err(config.kind_error(kind, ConfigError::KindWithoutHandler(kind.clone())));
        }
        effective.extend(kinds.into_values());
        config.kinds = effective;
        let free = config.disk_free_bytes_min();
        in_range("engine setting", "disk_free_bytes_min", &[(DISK_FREE, free)])?;
        let memory = config.memory_bytes_max();
        in_range("engine setting", "memory_bytes_max", &[(MEMORY, memory)])?;
        let lost = config.wide.lost_max.unwrap_or(ShardSettings::LOST_MAX);
        in_range("engine setting", "lost_max", &[(LOST, lost.into())])?;
        let interval = cfg!(feature = "metrics").then(|| config.metrics_interval_ms());
        in_range("engine setting", "metrics_interval", &[(METRICS_INTERVAL, interval.unwrap_or_default())])?;
        let (events, bytes) = config.events_kept();
        in_range("engine setting", "events_kept_max", &[(EVENTS, events)])?;
        in_range("engine setting", "events_kept_bytes_max", &[(EVENTS_BYTES, bytes)])?;
        config.wide = Wide {
            disk_free_bytes_min: Some(free),
            memory_bytes_max: Some(memory),
            lost_max: Some(lost),
            allow_unknown_kinds: Some(unknown_kinds),
            single_runtime: Some(config.wide.single_runtime.unwrap_or_default()),
            metrics_interval_ms: interval,
            events_kept_max: Some(events),
            events_kept_bytes_max: Some(bytes),
            events_from_start: Some(config.wide.events_from_start.unwrap_or_default()),
        };
        Ok(Self { config, handled })
    }

    /// Whether jobs like this one would be let in.
    pub(crate) fn check_template(&self, template: &Template) -> Result<(), Refusal> {
        let Template { queue, kind, body, .. } = template;
        let settings = self.config.queues.iter().map(|one| &one.settings).find(|one| one.name == *queue);
        let settings = settings.ok_or_else(|| Refusal::NoQueue { queue: queue.clone() })?;
        let is_handled = self.handled.iter().any(|one| one.name == *kind);
        if !is_handled && !self.config.wide.allow_unknown_kinds.unwrap_or_default() {
            return Err(Refusal::NoHandler { kind: kind.clone() });
        }
        let (bytes, bytes_max) = (body.bytes(), settings.payload_bytes_max);
        if bytes > bytes_max {
            return Err(Refusal::PayloadTooLarge { queue: queue.clone(), bytes, bytes_max });
        }
        Ok(())
    }

    /// The queues that jobs of the kinds go to.
    pub(crate) fn kind_queues(&self) -> impl Iterator<Item = (Name, String)> {
        let kinds = self.config.kinds.iter();
        kinds.filter_map(|kind| Some((kind.settings.name.clone(), kind.queue.clone()?)))
    }
}

/// The queues, each once.
fn check_queues(queues: &[QueueConfig]) -> Result<BTreeSet<String>, ConfigError> {
    if queues.is_empty() {
        return Err(ConfigError::NoQueue);
    }
    let mut names = BTreeSet::new();
    for queue in queues {
        queue.check()?;
        if !names.insert(queue.name().to_owned()) {
            return Err(ConfigError::QueueTwice(queue.name().to_owned()));
        }
    }
    Ok(names)
}

/// The limits that queues share, each once; and queues name those that there are, each once.
fn check_limits(config: &EngineConfig) -> Result<(), ConfigError> {
    let mut names = BTreeSet::new();
    for limit in &config.limits {
        limit.check()?;
        if !names.insert(limit.name()) {
            return Err(ConfigError::SharedLimitTwice(limit.name().to_owned()));
        }
    }
    for queue in &config.queues {
        let mut named = BTreeSet::new();
        for limit in queue.settings.shares.iter().map(Name::as_str) {
            let (queue, name) = (queue.name().to_owned(), limit.to_owned());
            if !names.contains(limit) {
                return Err(ConfigError::NoSharedLimit { queue, limit: name });
            }
            if !named.insert(limit) {
                return Err(ConfigError::SharesTwice { queue, limit: name });
            }
        }
    }
    Ok(())
}

/// The kinds that are configured, each once, and with a queue that there is.
fn check_kinds(config: &EngineConfig, queues: &BTreeSet<String>) -> Result<BTreeMap<String, KindConfig>, ConfigError> {
    let mut kinds = BTreeMap::new();
    for kind in &config.kinds {
        kind.check()?;
        let name = kind.name().to_owned();
        if let Some(queue) = kind.queue.as_ref().filter(|queue| !queues.contains(*queue)) {
            let nowhere = ConfigError::HandlerQueue { kind: name.clone(), queue: queue.clone() };
            return Err(config.kind_error(&name, nowhere));
        }
        if kinds.insert(name.clone(), kind.clone()).is_some() {
            return Err(ConfigError::KindTwice(name));
        }
    }
    Ok(kinds)
}
