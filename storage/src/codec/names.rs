//! Names that many records share.

use std::collections::HashMap;

use windlass_scheduler::job::Name;

/// Names that were read already: a million jobs share a few, and a text need not be copied for each.
#[derive(Debug, Default)]
pub struct Names(HashMap<Box<str>, Name>);

impl Names {
    /// More distinct ones are not remembered, so that damaged or odd data cannot fill memory.
    const KEPT_MAX: usize = 4_096;

    /// The name for this text.
    pub fn intern(&mut self, text: &str) -> Name {
        if let Some(name) = self.0.get(text) {
            return name.clone();
        }
        let name = Name::from(text);
        if self.0.len() < Self::KEPT_MAX {
            self.0.insert(text.into(), name.clone());
        }
        name
    }
}
