//! The conversation with a console.
//!
//! Owns addresses, the token on its way, and the bounds of an answer. Goes where it was told to and nowhere else: where it is sent on,
//! people are told.

use std::net::IpAddr;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use serde_json::value::RawValue;
use ureq::http::{Response, Uri, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Error, Proxy};

use super::plain::one_line;
use super::shown::Shown;
use super::trouble::{Refusal, Trouble};

/// Bytes of an answer at most: a page of a thousand jobs with long errors has 20 MB.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// A console that is there takes a connection at once.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// A console, and how it is asked.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: Agent,
    /// Without a slash at its end.
    base: String,
    token: Option<String>,
    within: Duration,
}

/// What a console said.
#[derive(Debug)]
pub(crate) struct Answer {
    /// As it came.
    pub(crate) text: Box<RawValue>,
    value: Value,
}

impl Answer {
    pub(crate) fn shown(&self) -> Shown<'_> {
        Shown::of(&self.value)
    }

    pub(crate) const fn value(&self) -> &Value {
        &self.value
    }

    pub(crate) fn into_value(self) -> Value {
        self.value
    }
}

impl Client {
    pub(crate) fn new(at: &str, token: Option<String>, within: Duration) -> Result<Self, Trouble> {
        let wrong = |why| Trouble::Address { at: one_line(at).into_owned(), why };
        let uri: Uri = at.parse().map_err(|_| wrong("it cannot be read"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(wrong("it begins with neither http:// nor https://"));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a token is not said there, where others see it: WINDLASS_TOKEN or `--token-file`"));
        }
        if uri.query().is_some() {
            return Err(wrong("it has a question mark in it"));
        }
        // A console of this machine is reached by no detour.
        let proxy = if is_local(authority.host()) { None } else { Proxy::try_from_env() };
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy)
            .timeout_connect(Some(CONNECT_WITHIN.min(within)))
            .timeout_global(Some(within))
            .tls_config(tls)
            .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
            .build();
        let base = at.trim_end_matches('/').to_owned();
        Ok(Self { agent: config.into(), base, token, within })
    }

    /// Where it is.
    pub(crate) fn place(&self) -> &str {
        &self.base
    }

    /// Asks for something; parts of the query that are empty are left out.
    pub(crate) fn get(&self, path: &[&str], query: &[(&'static str, String)]) -> Result<Answer, Trouble> {
        let said = query.iter().filter(|(_, value)| !value.is_empty());
        let mut request =
            self.agent.get(self.address(path)).query_pairs(said.map(|(name, value)| (*name, value.as_str())));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.answer(request.call(), false)
    }

    /// Has something done.
    pub(crate) fn post(&self, path: &[&str], body: &Value) -> Result<Answer, Trouble> {
        let mut request = self.agent.post(self.address(path)).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.answer(request.send(body.to_string()), true)
    }

    fn address(&self, path: &[&str]) -> String {
        path.iter().fold(format!("{}/api/v1", self.base), |mut address, part| {
            address.push('/');
            push_encoded(&mut address, part);
            address
        })
    }

    fn answer(&self, answered: Result<Response<Body>, Error>, is_change: bool) -> Result<Answer, Trouble> {
        let mut response = answered.map_err(|error| self.trouble(error))?;
        let status = response.status();
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_owned();
        let to = response
            .headers()
            .get(header::LOCATION)
            .and_then(|to| to.to_str().ok())
            .map(|to| one_line(to).into_owned());
        let read = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = read.map_err(|error| self.trouble(error))?;
        let other = |what: String| Trouble::Other { at: self.base.clone(), what };
        match kind.as_str() {
            "application/json" if status.is_success() => {
                let text: Box<RawValue> =
                    serde_json::from_str(&text).map_err(|error| other(format!("its JSON is none: {error}")))?;
                let value =
                    serde_json::from_str(text.get()).map_err(|error| other(format!("its JSON is none: {error}")))?;
                Ok(Answer { text, value })
            }
            "application/problem+json" => {
                let mut refusal: Refusal = serde_json::from_str(&text)
                    .map_err(|error| other(format!("it answered {status}, and why is not clear: {error}")))?;
                (refusal.had_token, refusal.is_change) = (self.token.is_some(), is_change);
                Err(Trouble::Refused(refusal))
            }
            _ => Err(other(match to {
                Some(to) => format!("it answered {status}, and sends on to {to}"),
                None if kind.is_empty() => format!("it answered {status}"),
                None => format!("it answered {status}, with {}", one_line(&kind)),
            })),
        }
    }

    fn trouble(&self, error: Error) -> Trouble {
        let at = self.base.clone();
        match error {
            Error::Timeout(ureq::Timeout::Connect) => {
                Trouble::Unreachable { at, why: "nobody takes the connection".to_owned() }
            }
            Error::Timeout(_) => Trouble::Late { at, within: self.within },
            Error::Protocol(error) => Trouble::Other { at, what: format!("it does not speak HTTP: {error}") },
            Error::BodyExceedsLimit(bytes) => {
                Trouble::Other { at, what: format!("its answer has more than {bytes} bytes") }
            }
            error => Trouble::Unreachable { at, why: one_line(&error.to_string()).into_owned() },
        }
    }
}

fn is_local(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// A name as a part of a path: a queue's may have anything in it.
fn push_encoded(address: &mut String, part: &str) {
    const MEANS_SOMETHING: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    // As a whole part, dots lead upwards.
    let kept = if matches!(part, "." | "..") { NON_ALPHANUMERIC } else { MEANS_SOMETHING };
    address.extend(utf8_percent_encode(part, kept));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(at: &str) -> Result<Client, Trouble> {
        Client::new(at, None, Duration::from_secs(1))
    }

    #[test]
    fn names_stay_parts_of_the_path_whatever_is_in_them() {
        let client = client("http://localhost:1/console/").unwrap_or_else(|error| panic!("{error}"));
        let address = |part| client.address(&["queues", part, "pause"]);
        assert_eq!(address("a/b?c#d ü"), "http://localhost:1/console/api/v1/queues/a%2Fb%3Fc%23d%20%C3%BC/pause");
        assert_eq!(address(".."), "http://localhost:1/console/api/v1/queues/%2E%2E/pause");
        assert_eq!(address("v1.2"), "http://localhost:1/console/api/v1/queues/v1.2/pause");
    }

    #[test]
    fn addresses_that_are_none_are_refused_before_anything_is_sent() {
        for (at, why) in [
            ("localhost:8090", "http://"),
            ("ftp://localhost", "http://"),
            ("http://", "cannot be read"),
            ("http://ada:secret@localhost", "a token is not said there"),
            ("http://localhost/?x=1", "question mark"),
        ] {
            let error = client(at).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(why) && !error.is_empty(), "{at}: {error}");
        }
    }
}
