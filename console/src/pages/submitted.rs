//! What a request to a page brings: a query, or the fields of a form that this console gave.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use axum::RequestExt;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Redirect, Response};

use super::shell::{Shell, seal};
use super::text::encode;
use crate::api::Problem;
use crate::api::look::Fresh;
use crate::console::Console;
use crate::guard::Visitor;

/// Names and values. What is blank was not said.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(BTreeMap<String, String>);

impl Fields {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.trim().is_empty())
    }

    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    pub(super) fn need(&self, name: &str) -> Result<&str, Problem> {
        self.text(name).ok_or_else(|| Problem::bad(format!("`{name}` is missing in the form")))
    }

    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.trim().parse().map_err(|_| {
            let shown: String = text.chars().take(50).collect();
            Problem::bad(format!("`{name}`: `{shown}` is no such number"))
        });
        number.map(Some)
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.text(name).is_some()
    }

    /// The same, and this; or not this.
    pub(super) fn with(&self, name: &str, text: Option<&str>) -> Self {
        let mut fields = self.0.clone();
        match text {
            Some(text) => drop(fields.insert(name.to_owned(), text.to_owned())),
            None => drop(fields.remove(name)),
        }
        Self(fields)
    }

    /// What was said of these, as a query that says the same; with a `?` before it, if it says anything.
    pub(super) fn query(&self, names: &[&str]) -> String {
        let said = names.iter().filter_map(|name| self.text(name).map(|text| format!("{name}={}", encode(text))));
        let said: Vec<_> = said.collect();
        if said.is_empty() { String::new() } else { format!("?{}", said.join("&")) }
    }
}

impl<const N: usize> From<[(&str, Option<&str>); N]> for Fields {
    fn from(pairs: [(&str, Option<&str>); N]) -> Self {
        let said = pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        Self(said.collect())
    }
}

/// Somebody looks.
pub(super) struct Ask {
    pub(super) console: Console,
    pub(super) visitor: Visitor,
    pub(super) fields: Fields,
    /// It is the page's own script, which only wants what changes by itself.
    pub(super) is_live: bool,
}

impl Ask {
    pub(super) fn fresh(&self) -> Fresh {
        if self.is_live { Fresh::Lately } else { Fresh::Now }
    }

    /// What this look sees. Those who watch the same share it: `of` tells it from others.
    pub(super) async fn shared<T: Clone + Send + Sync + 'static>(
        &self,
        of: impl fmt::Display,
        look: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        if self.is_live { self.console.sampler().shared(of.to_string(), look).await } else { look.await }
    }

    pub(super) fn shell(&self, tab: &'static str, title: impl Into<String>) -> Shell {
        let shell = Shell::new(&self.console, &self.visitor, tab, title);
        shell.with_message(&self.visitor, self.fields.text("said"), self.fields.text("seal"))
    }
}

impl FromRequestParts<Console> for Ask {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Problem> {
        let visitor = Visitor::of(&parts.extensions)?;
        let Query(fields) = Query::try_from_uri(&parts.uri)?;
        let is_live = parts.headers.contains_key("x-windlass-live");
        Ok(Self { console: console.clone(), visitor, fields: Fields(fields), is_live })
    }
}

/// Somebody sent a form of this console.
pub(super) struct Submitted {
    pub(super) console: Console,
    pub(super) visitor: Visitor,
    pub(super) fields: Fields,
}

impl Submitted {
    pub(super) fn shell(&self, tab: &'static str, title: impl Into<String>) -> Shell {
        Shell::new(&self.console, &self.visitor, tab, title)
    }

    /// To a page below the base, with a sentence on what was done.
    pub(super) fn done(&self, to: &str, said: &str) -> Response {
        let sign = if to.contains('?') { '&' } else { '?' };
        let seal = seal(&self.visitor, said);
        let to = format!("{}{to}{sign}said={}&seal={seal}", self.visitor.base, encode(said));
        Redirect::to(&to).into_response()
    }
}

impl FromRequest<Console> for Submitted {
    type Rejection = Problem;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let visitor = Visitor::of(&parts.extensions)?;
        let form: Result<Form<BTreeMap<String, String>>, FormRejection> =
            Request::from_parts(parts, body).extract().await;
        let Form(fields) = form.map_err(|no| Problem::new(no.status(), "not understood", no.body_text()))?;
        let fields = Fields(fields);
        visitor.gave(fields.text("token").unwrap_or_default())?;
        Ok(Self { console: console.clone(), visitor, fields })
    }
}
