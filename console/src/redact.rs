//! What of a payload may be seen: the service decides.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// What a service does to payloads, outputs and checkpoints before anybody sees them.
pub(crate) type Redact = Arc<dyn Fn(&str, &mut Value) + Send + Sync>;

/// The service's, if it has one.
#[derive(Clone, Default)]
pub(crate) struct Redaction(pub(crate) Option<Redact>);

impl Redaction {
    /// What is shown of these bytes of a job of this kind. Bytes that are no JSON are not shown where something may be hidden.
    pub(crate) fn shown(&self, kind: &str, bytes: &[u8]) -> Value {
        let Ok(mut value) = serde_json::from_slice(bytes) else {
            let text = if self.0.is_some() { None } else { std::str::from_utf8(bytes).ok() };
            return text.map_or_else(|| Value::from(format!("{} bytes that are no JSON", bytes.len())), Value::from);
        };
        self.redact(kind, &mut value);
        value
    }

    pub(crate) fn redact(&self, kind: &str, value: &mut Value) {
        if let Some(redact) = &self.0 {
            redact(kind, value);
        }
    }

    /// What is shown of a line that a job logged: for the hook, it is a JSON string.
    pub(crate) fn line(&self, kind: &str, text: &str) -> String {
        if !self.is_there() {
            return text.to_owned();
        }
        let mut value = Value::from(text);
        self.redact(kind, &mut value);
        if let Value::String(text) = value { text } else { value.to_string() }
    }

    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "by the service" } else { "none" })
    }
}
