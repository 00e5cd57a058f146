//! Who did what.

use askama::Template;

use super::shell::Shell;
use super::submitted::Ask;
use super::{Answer, page, text};
use crate::audit::AuditEntry;

/// Entries that are shown; the API has all that are kept.
const SHOWN: usize = 200;

#[derive(Template)]
#[template(path = "audit.html")]
struct Audit {
    shell: Shell,
    entries: Vec<AuditEntry>,
}

pub(super) async fn list(ask: Ask) -> Answer {
    page(&Audit { shell: ask.shell("/audit", "Audit"), entries: ask.console.audit(SHOWN) })
}
