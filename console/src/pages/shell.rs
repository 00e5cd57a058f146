//! What stands around every page.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::assets;
use crate::access::Role;
use crate::action::Action;
use crate::console::Console;
use crate::guard::Visitor;
use crate::view::hex;

/// Each page of the navigation: its path, its name, and its icon's place in the sprite.
const TABS: [(&str, &str); 9] = [
    ("/queues", "Queues"),
    ("/jobs", "Jobs"),
    ("/dead", "Dead letters"),
    ("/schedules", "Schedules"),
    ("/flows", "Flows"),
    ("/workers", "Workers"),
    ("/orders", "Orders"),
    ("/limits", "Limits"),
    ("/audit", "Audit"),
];

/// What stands around a page.
#[derive(Clone, Debug)]
pub(super) struct Shell {
    pub(super) base: String,
    pub(super) token: String,
    pub(super) title: String,
    pub(super) tab: &'static str,
    pub(super) environment: Option<String>,
    pub(super) message: Option<String>,
    pub(super) visitor: Visitor,
}

impl Shell {
    pub(super) fn new(console: &Console, visitor: &Visitor, tab: &'static str, title: impl Into<String>) -> Self {
        Self {
            base: visitor.base.clone(),
            token: visitor.form_token.clone(),
            title: title.into(),
            tab,
            environment: console.environment_name().map(str::to_owned),
            message: None,
            visitor: visitor.clone(),
        }
    }

    /// Only a sentence that this console said to this visitor is shown: else a link could put words into its mouth.
    pub(super) fn with_message(mut self, visitor: &Visitor, said: Option<&str>, sealed: Option<&str>) -> Self {
        if let (Some(said), Some(sealed)) = (said, sealed)
            && bool::from(seal(visitor, said).as_bytes().ct_eq(sealed.as_bytes()))
        {
            self.message = Some(said.to_owned());
        }
        self
    }

    /// The overview's address: a prefix has no slash behind it.
    pub(super) fn home(&self) -> &str {
        if self.base.is_empty() { "/" } else { &self.base }
    }

    pub(super) fn asset(&self, file: &str) -> String {
        format!("{}/assets/{}/{file}", self.base, assets::hash())
    }

    pub(super) fn tabs(&self) -> impl Iterator<Item = (String, &'static str, bool)> {
        let home = std::iter::once((self.home().to_owned(), "Overview", self.tab == "/"));
        let others = TABS.iter().map(|(path, name)| (format!("{}{path}", self.base), *name, self.tab == *path));
        home.chain(others)
    }

    pub(super) fn role(&self) -> &'static str {
        match self.visitor.identity.role() {
            Role::Reader => "reader",
            Role::Operator => "operator",
        }
    }

    pub(super) fn may(&self, action: Action) -> bool {
        self.visitor.identity.may(action)
    }

    pub(super) fn may_any(&self, actions: &[Action]) -> bool {
        actions.iter().any(|action| self.may(*action))
    }
}

/// What shows that a sentence is one of this console to this visitor.
pub(super) fn seal(visitor: &Visitor, said: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(visitor.form_token.as_bytes()) else {
        unreachable!("a key of any length will do")
    };
    mac.update(said.as_bytes());
    hex(&mac.finalize().into_bytes()[..16])
}
