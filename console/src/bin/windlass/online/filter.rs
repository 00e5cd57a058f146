//! Which jobs are meant, in the words of the API.

use clap::Args;
use serde_json::{Map, Value};

/// All that meet every part that is said.
#[derive(Args, Clone, Debug)]
pub(crate) struct Filter {
    /// In this queue; several with commas between, or said several times, are met by any of them
    #[arg(long = "queue", value_name = "NAME", value_delimiter = ',')]
    queues: Vec<String>,
    /// Of this kind; several as for queues
    #[arg(long = "kind", value_name = "NAME", value_delimiter = ',')]
    kinds: Vec<String>,
    /// With this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// With this correlation id
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// Of this limit key
    #[arg(long, value_name = "KEY")]
    limit_key: Option<String>,
    /// With this text in the message of the last failure
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Accepted at this time or later: 2026-11-28T09:30:00Z
    #[arg(long, value_name = "TIME")]
    created_from: Option<String>,
    /// Accepted before this time
    #[arg(long, value_name = "TIME")]
    created_until: Option<String>,
    /// Delayed until this time or later
    #[arg(long, value_name = "TIME")]
    due_from: Option<String>,
    /// Delayed until some time before this one
    #[arg(long, value_name = "TIME")]
    due_until: Option<String>,
    /// Ended at this time or later
    #[arg(long, value_name = "TIME")]
    ended_from: Option<String>,
    /// Ended before this time
    #[arg(long, value_name = "TIME")]
    ended_until: Option<String>,
}

impl Filter {
    /// The parts that are said, as the API has them.
    pub(crate) fn parts(&self) -> Vec<(&'static str, String)> {
        let said = |text: &Option<String>| text.clone().unwrap_or_default();
        let parts = [
            ("queue", self.queues.join(",")),
            ("kind", self.kinds.join(",")),
            ("tag", said(&self.tag)),
            ("correlation_id", said(&self.correlation_id)),
            ("limit_key", said(&self.limit_key)),
            ("error", said(&self.error)),
            ("created_from", said(&self.created_from)),
            ("created_until", said(&self.created_until)),
            ("due_from", said(&self.due_from)),
            ("due_until", said(&self.due_until)),
            ("ended_from", said(&self.ended_from)),
            ("ended_until", said(&self.ended_until)),
        ];
        parts.into_iter().filter(|(_, text)| !text.is_empty()).collect()
    }

    /// The same, as a body has it.
    pub(crate) fn body(&self) -> Map<String, Value> {
        self.parts().into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect()
    }
}
