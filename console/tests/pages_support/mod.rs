//! An engine with something of everything, a console before it, and pages that can be asked what stands on them.

#![expect(clippy::unwrap_used, reason = "a test ends where its house does not stand")]

use std::sync::{Arc, Mutex, Once};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use scraper::{ElementRef, Html, Selector};
use serde::{Deserialize, Serialize};
use tower::ServiceExt;
use tracing_subscriber::prelude::*;
use windlass::{
    AttemptLogLayer, Context, Draft, Engine, Filter, Flow, FlowId, FlowStep, HOUR, Job, JobError, JobId, LimitOf,
    MemoryJournal, Override, QueueConfig, Schedule, StepDraft, Verb,
};
use windlass_console::{Access, Console, Identity};

/// Where a console is mounted.
pub(crate) const BASES: [&str; 3] = ["", "/console", "/deep/down/console"];

/// What somebody may put into any text.
pub(crate) const CORPUS: [&str; 9] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "</textarea></pre><svg onload=alert(1)>",
    "</title><style>*{display:none}</style>",
    "&lt;b&gt; &amp; {{ 7*7 }} ${7*7}",
    "\u{202e}drawkcab \u{0} \u{feff} ﷽ 🦀",
    "<!--\r\n--><a href='//evil.example'>x</a>",
];

#[derive(Serialize, Deserialize)]
pub(crate) struct Mail {
    text: String,
}

impl Job for Mail {
    const KIND: &'static str = "mail";
    const QUEUE: &'static str = "mail";
    type Output = String;
}

impl FlowStep for Mail {
    type Input = ();
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Breaks {
    text: String,
}

impl Job for Breaks {
    const KIND: &'static str = "breaks";
    const QUEUE: &'static str = "mail";
    type Output = ();
}

impl FlowStep for Breaks {
    type Input = ();
}

pub(crate) fn mail_of(text: &str) -> Mail {
    Mail { text: text.to_owned() }
}

async fn mail(mail: Mail, _: Context<()>) -> Result<String, JobError> {
    Ok(mail.text)
}

async fn breaks(breaks: Breaks, _: Context<()>) -> Result<(), JobError> {
    tracing::warn!("{}", breaks.text);
    Err(JobError::permanent(breaks.text))
}

/// An engine, and what stands in it.
pub(crate) struct House {
    pub(crate) engine: Engine,
    pub(crate) dead: JobId,
    pub(crate) delayed: JobId,
    pub(crate) delayed_too: JobId,
    pub(crate) flow: String,
    pub(crate) order: String,
    console: Console,
    /// Who comes in to that console.
    who: Arc<Mutex<Identity>>,
}

pub(crate) async fn house() -> House {
    static LOGS: Once = Once::new();
    LOGS.call_once(|| tracing_subscriber::registry().with(AttemptLogLayer::new()).init());
    let text = || Mail { text: "hello".to_owned() };
    let engine = Engine::builder()
        .journal(MemoryJournal::new())
        .queue(QueueConfig::new("mail"))
        .queue(QueueConfig::new("empty"))
        .handler(mail)
        .handler(breaks)
        .schedule(Schedule::cron("nightly", "30 2 * * *", &text()).zone("Europe/Berlin"))
        .start()
        .await
        .unwrap();
    engine.enqueue(text()).and_wait().await.unwrap();
    let broken = engine.enqueue(Breaks { text: "no user `ada` at 17".to_owned() }).await.unwrap();
    broken.wait().await.unwrap_err();
    let delayed = engine.enqueue(text()).delay(HOUR).tag("tenant:1").limit_key("acme").await.unwrap().id();
    let delayed_too = engine.enqueue(text()).delay(HOUR).correlation_id("c 1").await.unwrap().id();
    for _ in 0..3 {
        engine.enqueue(text()).queue("empty").delay(2 * HOUR).await.unwrap();
    }
    let mut flow = Flow::new("order");
    let load = flow.first(StepDraft::new(&text()).named("load"));
    let paid = flow.signal::<u32>("paid", &load, None);
    let later = flow.wait("later", &load, HOUR);
    let failing = StepDraft::new(&Breaks { text: "nothing".to_owned() }).named("fails").optional();
    flow.after(&load, failing);
    flow.after((&paid, &later), StepDraft::new(&text()).named("ship"));
    let flow = engine.submit(flow).await.unwrap();
    flow.wait_step("fails").await.unwrap();
    // It waits for nobody, and takes for ever: one a second, of which there is none at first.
    let reprioritised = Verb::Reprioritise(windlass::Priority(9));
    let order = engine.steer_all(reprioritised, Filter::new().queue("empty")).rate_per_s(1).await.unwrap().id;
    let who = Arc::new(Mutex::new(Identity::operator("ada")));
    let console = Console::new(engine.clone(), access(Arc::clone(&who))).environment("staging");
    let (dead, flow, order) = (broken.id(), flow.id().to_string(), order.to_string());
    House { engine, dead, delayed, delayed_too, flow, order, console, who }
}

fn access(who: Arc<Mutex<Identity>>) -> Access {
    Access::service(move |_| {
        let identity = who.lock().unwrap().clone();
        async move { Ok(identity) }
    })
}

impl House {
    /// The console of `ada`, with all that was done through it.
    pub(crate) fn console(&self) -> &Console {
        &self.console
    }

    pub(crate) fn console_for(&self, identity: Identity) -> Console {
        Console::new(self.engine.clone(), access(Arc::new(Mutex::new(identity)))).environment("staging")
    }

    pub(crate) fn site(&self, base: &'static str, identity: Identity) -> Site {
        let is_adas = identity == Identity::operator("ada");
        self.site_of(base, &if is_adas { self.console.clone() } else { self.console_for(identity) })
    }

    /// Somebody who once was an operator sends a form that was given to them then.
    pub(crate) async fn post_as(&self, identity: Identity, path: &str, fields: &str) -> Page {
        let site = self.site_of("/console", &self.console);
        let be = |identity| *self.who.lock().unwrap() = identity;
        be(Identity::operator(identity.name()));
        let token = site.token().await;
        be(identity);
        let page = site.post_with(path, fields, &token).await;
        be(Identity::operator("ada"));
        page
    }

    #[expect(clippy::unused_self, reason = "a site is one of this house")]
    pub(crate) fn site_of(&self, base: &'static str, console: &Console) -> Site {
        let routes = if base.is_empty() { console.router() } else { Router::new().nest(base, console.router()) };
        Site { base, routes }
    }

    /// For each of the corpus a dead letter, with it in its payload, its labels and its error; a flow, with it as the name of a step;
    /// and a limit, of it as a key.
    pub(crate) async fn evil(&self) -> (Vec<JobId>, Vec<FlowId>) {
        let (mut ids, mut flows) = (Vec::new(), Vec::new());
        for bad in CORPUS {
            let draft = Draft::new(&Breaks { text: bad.to_owned() });
            let draft = draft.tag(bad).correlation_id(bad).limit_key(bad).trace_context(bad);
            let draft = draft.unique(windlass::Unique::key(bad));
            let id = self.engine.enqueue_all([draft]).await.unwrap()[0].id;
            self.engine.handle::<Breaks>(id).wait().await.unwrap_err();
            ids.push(id);
            let mut flow = Flow::new("evil");
            let paid = flow.signal::<u32>(bad, (), None);
            flow.after(&paid, Mail { text: bad.to_owned() });
            flows.push(self.engine.submit(flow).await.unwrap().id());
            let limit = Override::new().concurrency(2);
            self.engine.override_limit(LimitOf::key("mail", bad), limit).await.unwrap();
        }
        (ids, flows)
    }
}

/// As it stands in a URL.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A console at a base.
pub(crate) struct Site {
    base: &'static str,
    routes: Router,
}

impl Site {
    async fn send(&self, request: Request<Body>) -> Page {
        let response = self.routes.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Page { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    /// A path below the base.
    pub(crate) async fn get(&self, path: &str) -> Page {
        let whole = format!("{}{path}", self.base);
        // A host without a path has one.
        let whole = if whole.is_empty() { "/".to_owned() } else { whole };
        let whole = whole.replace("/console/?", "/console?");
        self.send(Request::get(whole).body(Body::empty()).unwrap()).await
    }

    /// A path below the base, as the script of a page asks for it again.
    pub(crate) async fn get_live(&self, path: &str) -> Page {
        let request = Request::get(format!("{}{path}", self.base)).header("x-windlass-live", "1");
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// What forms have to bring back.
    pub(crate) async fn token(&self) -> String {
        let page = self.get("/limits").await;
        page.maybe("input[name=token]", "value").unwrap_or_default()
    }

    pub(crate) async fn post(&self, path: &str, fields: &str) -> Page {
        self.post_with(path, fields, &self.token().await).await
    }

    pub(crate) async fn post_with(&self, path: &str, fields: &str, token: &str) -> Page {
        let fields = format!("token={token}&{}", fields.replace(&format!("token={token}&"), ""));
        let request = Request::post(format!("{}{path}", self.base));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(fields)).unwrap()).await
    }
}

/// What came back.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) text: String,
}

/// Elements that the templates have. What is none of these came of something else.
const ELEMENTS: &str = "a article b body button circle code datalist dd details div dl dt figcaption figure form g h1 h2 h3 head \
    header html img input label li link main meta nav ol optgroup option p path picture pre progress rect script section select \
    source span strong summary svg table tbody td text textarea th thead time title tr ul";

impl Page {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn each<T>(&self, selector: &str, of: impl Fn(ElementRef<'_>) -> T) -> Vec<T> {
        Html::parse_document(&self.text).select(&Selector::parse(selector).unwrap()).map(of).collect()
    }

    /// The names of all elements that it selects.
    pub(crate) fn all(&self, selector: &str) -> Vec<String> {
        self.each(selector, |element| element.value().name().to_owned())
    }

    pub(crate) fn maybe(&self, selector: &str, attribute: &str) -> Option<String> {
        self.each(selector, |element| element.attr(attribute).map(str::to_owned)).into_iter().next().flatten()
    }

    pub(crate) fn attribute(&self, selector: &str, attribute: &str) -> String {
        self.maybe(selector, attribute).unwrap()
    }

    /// The text of the first one.
    pub(crate) fn shown(&self, selector: &str) -> String {
        self.each(selector, |element| element.text().collect::<String>()).swap_remove(0)
    }

    /// The texts of all that it selects.
    pub(crate) fn texts(&self, selector: &str) -> Vec<String> {
        self.each(selector, |element| element.text().collect::<String>().trim().to_owned())
    }

    /// The hidden fields of a form.
    pub(crate) fn fields(&self, form: &str) -> Vec<(String, String)> {
        let field = |element: ElementRef<'_>| {
            (element.attr("name").unwrap().to_owned(), element.attr("value").unwrap().to_owned())
        };
        self.each(&format!("{form} input[type=hidden]"), field)
    }

    /// Where its links lead, below the base.
    pub(crate) fn links(&self, base: &str) -> Vec<String> {
        let links = self.each("a[href]", |element| element.attr("href").unwrap().to_owned());
        links.iter().filter_map(|link| link.strip_prefix(base)).map(str::to_owned).collect()
    }

    /// No element and no attribute that is none of the templates', no script or style in it, no address outside of the base, and a label
    /// for each field.
    pub(crate) fn is_sound(&self, base: &str) {
        assert!(self.header("content-security-policy").contains("default-src 'none'"));
        let known: Vec<_> = ELEMENTS.split_whitespace().collect();
        let document = Html::parse_document(&self.text);
        assert!(document.select(&Selector::parse("main, h1").unwrap()).next().is_some());
        for element in document.select(&Selector::parse("*").unwrap()) {
            let name = element.value().name();
            assert!(known.contains(&name), "<{name}> in {}", self.text);
            if name == "script" {
                assert!(element.attr("src").is_some() && element.text().collect::<String>().trim().is_empty());
            }
            for (attribute, value) in element.value().attrs() {
                assert!(attribute != "style" && !attribute.starts_with("on"), "{name} {attribute} in {}", self.text);
                if matches!(attribute, "href" | "src" | "action" | "srcset" | "formaction") && value != "#main" {
                    let rest = value.strip_prefix(base).unwrap_or_else(|| panic!("{value} is not below {base}"));
                    let is_path = rest.starts_with('/') && !rest.starts_with("//");
                    assert!(is_path || rest.is_empty() || rest.starts_with('?'), "{name} {attribute}={value}");
                }
            }
            let is_field = matches!(name, "input" | "select" | "textarea") && element.attr("type") != Some("hidden");
            let is_labelled =
                element.ancestors().filter_map(ElementRef::wrap).any(|above| above.value().name() == "label");
            assert!(!is_field || is_labelled, "{} has no label", element.html());
            assert!(name != "th" || element.attr("scope").is_some(), "{} has no scope", element.html());
        }
    }
}
