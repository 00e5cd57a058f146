//! What every request passes: whether it is let in, and what its answer may do in a browser.
//!
//! Owns the checks of host, origin and identity, the bounds, and the headers of answers. Never decides what an identity may do: each
//! action asks for itself.

use std::time::Duration;

use axum::extract::{OriginalUri, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tokio::time::timeout;

use crate::access::{Denied, Identity};
use crate::action::Action;
use crate::api::Problem;
use crate::console::Console;
use crate::pages;
use crate::view::hex;

/// Bytes of a body at most: an edited payload is the largest.
pub(crate) const BODY_BYTES_MAX: usize = 2 << 20;
/// For how long a request may take: whoever waits longer has gone. What is streamed has begun by then.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Nothing is loaded from elsewhere, no script stands in a page, and no other page shows one of these.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                   form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Who asks, and from where.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) identity: Identity,
    /// What stands before the console's own paths: `/console`, or nothing.
    pub(crate) base: String,
    /// What forms have to bring back.
    pub(crate) form_token: String,
}

impl Visitor {
    /// Who was let in with this request.
    pub(crate) fn of(extensions: &Extensions) -> Result<Self, Problem> {
        // The guard puts it there.
        let nobody =
            || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no visitor", "the console's guard did not run");
        extensions.get::<Self>().cloned().ok_or_else(nobody)
    }

    /// Whether they may do this, said as an answer.
    pub(crate) fn may(&self, action: Action) -> Result<(), Problem> {
        if self.identity.may(action) {
            return Ok(());
        }
        let detail = format!("`{}` may not do this: {action}", self.identity.name());
        Err(Problem::new(StatusCode::FORBIDDEN, "not permitted", detail))
    }

    /// Whether a form is one that this console gave to this visitor.
    pub(crate) fn gave(&self, form_token: &str) -> Result<(), Problem> {
        if bool::from(self.form_token.as_bytes().ct_eq(form_token.as_bytes())) {
            return Ok(());
        }
        let detail = "the form is an old one, or of another page: load the page again".to_owned();
        Err(Problem::new(StatusCode::FORBIDDEN, "not a form of this console", detail))
    }
}

/// A secret of this process, by which it knows its forms.
#[derive(Clone)]
pub(crate) struct FormKey([u8; 32]);

impl FormKey {
    pub(crate) fn new() -> Self {
        let (one, two) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        let mut key = [0; 32];
        key[..16].copy_from_slice(one.as_bytes());
        key[16..].copy_from_slice(two.as_bytes());
        Self(key)
    }

    fn token_of(&self, identity: &Identity) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { unreachable!("a key of any length will do") };
        mac.update(identity.name().as_bytes());
        hex(&mac.finalize().into_bytes())
    }
}

/// Around all of the console's routes.
pub(crate) async fn guard(State(console): State<Console>, request: Request, next: Next) -> Response {
    let is_page = pages::is_page(request.uri().path());
    let let_in = let_in(&console, request).await;
    let visitor = let_in.as_ref().ok().and_then(|request| request.extensions().get::<Visitor>().cloned());
    let mut response = match let_in {
        Ok(request) => match timeout(ANSWER_WITHIN, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Problem::new(
                StatusCode::GATEWAY_TIMEOUT,
                "no answer in time",
                format!("the engine did not answer within {} s: its health says why", ANSWER_WITHIN.as_secs()),
            )
            .into_response(),
        },
        Err(refusal) => refusal,
    };
    if is_page {
        response = pages::in_html(&console, visitor.as_ref(), response);
    }
    let headers = response.headers_mut();
    let texts = [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    for (name, text) in texts {
        headers.insert(name, HeaderValue::from_static(text));
    }
    // What is shown is of now, and for one pair of eyes. Assets say otherwise.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn let_in(console: &Console, mut request: Request) -> Result<Request, Response> {
    check_host(console, request.headers(), request.uri()).map_err(Problem::into_response)?;
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !is_safe {
        check_origin(request.headers(), request.uri()).map_err(Problem::into_response)?;
    }
    let (parts, body) = request.into_parts();
    let identity = console.access().decide(&parts).await.map_err(|denied| refuse(console, &denied))?;
    let form_token = console.form_key().token_of(&identity);
    request = Request::from_parts(parts, body);
    let visitor = Visitor { identity, base: base_of(&request), form_token };
    request.extensions_mut().insert(visitor);
    Ok(request)
}

fn refuse(console: &Console, denied: &Denied) -> Response {
    let (status, title) = match denied {
        Denied::Unknown(_) => (StatusCode::UNAUTHORIZED, "not known"),
        Denied::Forbidden(_) => (StatusCode::FORBIDDEN, "not permitted"),
    };
    let mut response = Problem::new(status, title, denied.to_string()).into_response();
    if status == StatusCode::UNAUTHORIZED && console.access().asks_for_tokens() {
        let how = HeaderValue::from_static("Basic realm=\"windlass\", charset=\"UTF-8\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
    }
    response
}

/// What a router around this one has taken off the path.
fn base_of(request: &Request) -> String {
    let own = request.uri().path();
    let whole = request.extensions().get::<OriginalUri>().map_or(own, |original| original.0.path());
    let base = whole.strip_suffix(own).or_else(|| (own == "/").then_some(whole)).unwrap_or_default();
    base.trim_end_matches('/').to_owned()
}

/// The host that a request names, without its port.
fn host_of<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    named.or_else(|| uri.authority().map(axum::http::uri::Authority::as_str))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of a bare address of IPv6 are none of a port.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

fn check_host(console: &Console, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    let hosts = console.known_hosts();
    if hosts.is_empty() && !console.access().is_local() {
        return Ok(());
    }
    let host = host_of(headers, uri).unwrap_or_default();
    let name = without_port(host);
    let is_named = hosts.iter().any(|known| known.eq_ignore_ascii_case(name));
    let is_local = || {
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    };
    if is_named || (console.access().is_local() && is_local()) {
        return Ok(());
    }
    let shown: String = host.chars().take(100).collect();
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "another host", format!("`{shown}` is no host of this console")))
}

/// A change has to come from the console's own pages, or from no page at all.
fn check_origin(headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let elsewhere = |what: &str| {
        let detail = format!("a change has to come from a page of this console, and {what}");
        Err(Problem::new(StatusCode::FORBIDDEN, "from elsewhere", detail))
    };
    if let Some(site) = text("sec-fetch-site")
        && !matches!(site, "same-origin" | "none")
    {
        return elsewhere("the browser says that this does not");
    }
    let Some(origin) = text("origin") else { return Ok(()) };
    let from = origin.split_once("://").map(|(_, host)| host);
    if from.is_none() || from != host_of(headers, uri) {
        return elsewhere("its origin is another one");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_none_of_the_name() {
        for (host, name) in [
            ("localhost", "localhost"),
            ("localhost:80", "localhost"),
            ("127.0.0.1:8080", "127.0.0.1"),
            ("[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
        ] {
            assert_eq!(without_port(host), name, "{host}");
        }
    }

    #[test]
    fn a_change_comes_from_a_page_of_the_same_host_or_from_none() {
        let check = |pairs: &[(&'static str, &'static str)]| {
            let headers: HeaderMap = pairs
                .iter()
                .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            check_origin(&headers, &Uri::from_static("/x")).is_ok()
        };
        assert!(check(&[("host", "a:1")]));
        assert!(check(&[("host", "a:1"), ("origin", "http://a:1")]));
        assert!(!check(&[("host", "a:1"), ("origin", "http://a:2")]));
        assert!(!check(&[("host", "a:1"), ("origin", "null")]));
        assert!(!check(&[("host", "a:1"), ("origin", "http://b")]));
        assert!(!check(&[("host", "a"), ("sec-fetch-site", "cross-site")]));
        assert!(!check(&[("host", "a"), ("sec-fetch-site", "same-site")]));
        assert!(check(&[("host", "a"), ("sec-fetch-site", "same-origin"), ("origin", "https://a")]));
    }

    #[test]
    fn a_form_token_is_of_one_person_and_one_process() {
        let (one, two) = (FormKey::new(), FormKey::new());
        let (ada, bob) = (Identity::operator("ada"), Identity::operator("bob"));
        assert_eq!(one.token_of(&ada), one.token_of(&ada));
        assert_ne!(one.token_of(&ada), one.token_of(&bob));
        assert_ne!(one.token_of(&ada), two.token_of(&ada));
    }
}
