//! Who may come in, and what they may do.
//!
//! Owns the question, and three answers to it: callers of this machine, tokens, and whatever the service decides. Never a password:
//! services have a better place for those.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use headers::authorization::{Basic, Bearer};
use headers::{Authorization, HeaderMapExt};
use serde::Serialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

use crate::action::Action;

/// A token shorter than this could be guessed: 128 bits as hexadecimal digits have 32 characters.
const TOKEN_CHARS_MIN: usize = 32;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks, and changes nothing.
    Reader,
    /// Looks and steers.
    Operator,
}

/// Somebody who came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) not: Vec<Action>,
}

impl Identity {
    /// Somebody who may look. The name stands in the audit log.
    #[must_use]
    pub fn reader(name: impl Into<String>) -> Self {
        Self { name: name.into(), role: Role::Reader, not: Vec::new() }
    }

    /// Somebody who may look and steer.
    #[must_use]
    pub fn operator(name: impl Into<String>) -> Self {
        Self { name: name.into(), role: Role::Operator, not: Vec::new() }
    }

    /// Somebody who may look, and of all that can be done only this.
    #[must_use]
    pub fn only(name: impl Into<String>, actions: &[Action]) -> Self {
        let not = Action::ALL.into_iter().filter(|action| !actions.contains(action)).collect();
        Self { name: name.into(), role: Role::Operator, not }
    }

    /// As before, but for these.
    #[must_use]
    pub fn except(mut self, actions: &[Action]) -> Self {
        self.not.extend(actions);
        self
    }

    /// Who it is.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether they look only, or steer.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Whether they may do this.
    #[must_use]
    pub fn may(&self, action: Action) -> bool {
        self.role == Role::Operator && !self.not.contains(&action)
    }
}

/// Why somebody does not come in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// They did not say who they are, or not so that it can be believed.
    #[error("{0}")]
    Unknown(String),
    /// It is known who they are, and they may not.
    #[error("{0}")]
    Forbidden(String),
}

/// What a service looks at to decide who somebody is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Credentials {
    /// The request's headers: cookies and `Authorization` among them.
    pub headers: HeaderMap,
    /// What layers of the service left with the request, such as a session.
    pub extensions: axum::http::Extensions,
    /// From where the connection comes, if the service is [served with that](axum::Router::into_make_service_with_connect_info).
    pub peer: Option<SocketAddr>,
}

fn peer_of(parts: &Parts) -> Option<SocketAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}

type Decision = Pin<Box<dyn Future<Output = Result<Identity, Denied>> + Send>>;

/// Who may come in. There is no default: whoever mounts a console decides.
#[derive(Clone)]
pub struct Access(Kind);

#[derive(Clone)]
enum Kind {
    Loopback(Identity),
    Tokens(Arc<[Token]>),
    Service(Arc<dyn Fn(Credentials) -> Decision + Send + Sync>),
}

impl Access {
    /// Whoever calls from this machine comes in as this, and nobody else: for development, and behind a tunnel. The service has to
    /// be served with [connect info](axum::Router::into_make_service_with_connect_info), or nobody comes in. Requests that name
    /// another host than `localhost` or an address of it are refused, lest a web page reaches the console by a name of its own.
    ///
    /// Where a proxy on this machine passes on what comes from outside, this would let the whole world in: use tokens there.
    #[must_use]
    pub fn loopback(identity: Identity) -> Self {
        Self(Kind::Loopback(identity))
    }

    /// Whoever has one of these tokens comes in, as `Authorization: Bearer TOKEN`, or with any user name and the token as the
    /// password where a browser asks. Over a network this wants TLS before it.
    #[must_use]
    pub fn tokens(tokens: impl IntoIterator<Item = Token>) -> Self {
        Self(Kind::Tokens(tokens.into_iter().collect()))
    }

    /// The service decides, with its own sessions. It is asked for every request.
    pub fn service<F, D>(decide: F) -> Self
    where
        F: Fn(Credentials) -> D + Send + Sync + 'static,
        D: Future<Output = Result<Identity, Denied>> + Send + 'static,
    {
        Self(Kind::Service(Arc::new(move |credentials| Box::pin(decide(credentials)))))
    }

    /// Whether the name of the host has to be one of this machine.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.0, Kind::Loopback(_))
    }

    /// Whether a browser that is asked for name and password can help.
    pub(crate) fn asks_for_tokens(&self) -> bool {
        matches!(self.0, Kind::Tokens(_))
    }

    pub(crate) async fn decide(&self, parts: &Parts) -> Result<Identity, Denied> {
        let decision = match &self.0 {
            Kind::Loopback(identity) => return loopback(identity, peer_of(parts).map(|peer| peer.ip())),
            Kind::Tokens(tokens) => return by_token(tokens, &parts.headers),
            // What the service decides by is its own: it may keep it for longer than the request lasts.
            Kind::Service(decide) => {
                let (headers, extensions) = (parts.headers.clone(), parts.extensions.clone());
                decide(Credentials { headers, extensions, peer: peer_of(parts) })
            }
        };
        decision.await
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Loopback(_) => "Access::loopback",
            Kind::Tokens(_) => "Access::tokens",
            Kind::Service(_) => "Access::service",
        })
    }
}

fn loopback(identity: &Identity, peer: Option<IpAddr>) -> Result<Identity, Denied> {
    match peer.map(|ip| ip.to_canonical()) {
        Some(ip) if ip.is_loopback() => Ok(identity.clone()),
        Some(ip) => Err(Denied::Forbidden(format!("only callers of this machine come in, and {ip} is none"))),
        None => {
            let how = "serve the service with `into_make_service_with_connect_info::<SocketAddr>()`";
            Err(Denied::Forbidden(format!(
                "only callers of this machine come in, and nothing says where this is from: {how}"
            )))
        }
    }
}

fn by_token(tokens: &[Token], headers: &HeaderMap) -> Result<Identity, Denied> {
    let unknown = |why: &str| Denied::Unknown(why.to_owned());
    let bearer = headers.typed_get::<Authorization<Bearer>>().map(|said| said.token().to_owned());
    let basic = || headers.typed_get::<Authorization<Basic>>().map(|said| said.password().to_owned());
    let Some(secret) = bearer.or_else(basic) else {
        return Err(unknown(
            "a token is needed: `Authorization: Bearer TOKEN`, or `Basic` with the token as the password",
        ));
    };
    let digest = Sha256::digest(secret.as_bytes());
    // All of them are compared, whichever it is.
    let mut found = None;
    for token in tokens {
        if bool::from(token.digest.ct_eq(&digest[..])) {
            found = Some(&token.identity);
        }
    }
    found.cloned().ok_or_else(|| unknown("this token is not known here"))
}

/// A secret that lets somebody in. What is kept is its digest.
#[derive(Clone)]
pub struct Token {
    identity: Identity,
    digest: [u8; 32],
}

/// A text that is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the token of `{name}` has {chars} characters, and {TOKEN_CHARS_MIN} are needed, lest it be guessed: \
     `openssl rand -hex 32` makes one"
)]
pub struct NoToken {
    name: String,
    chars: usize,
}

impl Token {
    /// A token of somebody who may look.
    ///
    /// # Errors
    /// [`NoToken`], where the secret has less than 32 characters.
    pub fn reader(name: impl Into<String>, secret: impl AsRef<str>) -> Result<Self, NoToken> {
        Self::of(Identity::reader(name), secret)
    }

    /// A token of somebody who may look and steer.
    ///
    /// # Errors
    /// [`NoToken`], where the secret has less than 32 characters.
    pub fn operator(name: impl Into<String>, secret: impl AsRef<str>) -> Result<Self, NoToken> {
        Self::of(Identity::operator(name), secret)
    }

    /// A token of somebody.
    ///
    /// # Errors
    /// [`NoToken`], where the secret has less than 32 characters.
    pub fn of(identity: Identity, secret: impl AsRef<str>) -> Result<Self, NoToken> {
        let secret = secret.as_ref();
        let chars = secret.chars().count();
        if chars < TOKEN_CHARS_MIN {
            return Err(NoToken { name: identity.name, chars });
        }
        Ok(Self { identity, digest: Sha256::digest(secret.as_bytes()).into() })
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("of", &self.identity.name).finish_non_exhaustive()
    }
}
