//! What people put into jobs, flows and limits, looked at by something that would run it.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use windlass::{Draft, Flow, FlowId, HOUR, JobId, LimitOf, Override, Unique};
use windlass_console::{Access, Console, Identity};

use crate::driver::{Browser, browser, button};
use crate::house::{House, Mail, Site, Watch, broken, house, pages_of, text};

/// Each says so where it is run: by a mark on the window, or by a dialog that nothing else survives.
const CORPUS: [&str; 28] = [
    "<script>window.hit=1;alert(1)</script>",
    "</script><script>window.hit=1</script>",
    "<img src=x onerror=window.hit=1>",
    "\"><img src=x onerror=\"window.hit=1\">",
    "' autofocus onfocus='window.hit=1",
    "\" autofocus onfocus=\"window.hit=1\" x=\"",
    "` onmouseover=`window.hit=1",
    "javascript:window.hit=1//",
    "JaVaScRiPt&colon;window.hit=1",
    "data:text/html,<script>opener.hit=1</script>",
    "</textarea></pre></title></style><svg onload=window.hit=1>",
    "<svg><animate onbegin=window.hit=1 attributeName=x dur=1s>",
    "<svg><script href=data:,window.hit=1 />",
    "<details open ontoggle=window.hit=1>",
    "<iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
    "<math><mtext></table><img src onerror=window.hit=1>",
    "<noscript><p title='</noscript><img src onerror=window.hit=1>'>",
    "<template><img src onerror=window.hit=1></template>",
    "<base href=//evil.example/><a href=x>x</a>",
    "<meta http-equiv=refresh content='0;url=javascript:window.hit=1'>",
    "<form action=//evil.example/><input name=token></form>",
    "<style>*{display:none!important}</style><link rel=stylesheet href=//evil.example/>",
    "<object data=javascript:window.hit=1></object><embed src=x>",
    "{{constructor.constructor('window.hit=1')()}} ${window.hit=1} <%= 7*7 %>",
    "&lt;img src=x onerror=window.hit=1&gt; &amp;#x3c; %3Cscript%3E",
    "\u{202e}drawkcab\u{202c} \u{feff}\u{200b}\u{2028} ﷽ 🦀",
    "tab\tbell\u{7} escape\u{1b}[31m nul\u{0} end\r\nof line",
    "<!--><img src=x onerror=window.hit=1>--><![CDATA[<img src=x onerror=window.hit=1>]]>",
];

/// What stands in no template, or leads out of the console, or would be run.
const FOREIGN: &str = "(() => {
    const known = new Set('a article b body button circle code datalist dd details dialog div dl dt figcaption figure form g h1 h2 h3 \
        head header html img input label li link main meta nav ol optgroup option p path picture pre progress rect script section \
        select source span strong summary svg table tbody td text textarea th thead time title tr ul'.split(/ +/));
    const base = arguments[0], foreign = [];
    for (const element of document.querySelectorAll('*')) {
        if (!known.has(element.localName)) foreign.push(element.outerHTML);
        for (const { name, value } of element.attributes) {
            if (name.startsWith('on') || name === 'style' || name === 'srcdoc' || name === 'autofocus') foreign.push(element.outerHTML);
            const leads = ['href', 'src', 'action', 'formaction', 'data'].includes(name);
            if (leads && value !== '#main' && !new URL(value, document.baseURI).href.startsWith(base)) foreign.push(element.outerHTML);
        }
    }
    if (document.querySelector('base, iframe, object, meta[http-equiv], script:not([src])') !== null) foreign.push('an element of another world');
    if (window.hit !== undefined) foreign.push('it was run');
    return foreign;
})()";

/// All of them, wherever an engine takes a text.
struct Evil {
    pages: Vec<String>,
    flow: FlowId,
}

async fn evil(house: &House) -> Evil {
    let all = CORPUS.join("\n");
    for bad in CORPUS {
        let draft =
            Draft::new(&broken(bad)).correlation_id(bad).limit_key(bad).trace_context(bad).unique(Unique::key(bad));
        let id = house.engine.enqueue_all([draft]).await.unwrap()[0].id;
        house.engine.handle::<Mail>(id).wait().await.unwrap_err();
        let limit = Override::new().concurrency(2);
        house.engine.override_limit(LimitOf::key("mail", bad), limit).await.unwrap();
    }
    let mut jobs: Vec<JobId> = Vec::new();
    for tags in CORPUS.chunks(14) {
        let draft = tags.iter().fold(Draft::new(&text(&all)), |draft, tag| draft.tag(tag));
        let id = house.engine.enqueue_all([draft]).await.unwrap()[0].id;
        house.engine.handle::<Mail>(id).wait().await.unwrap();
        jobs.push(id);
    }
    let watch = Watch { says: json!(CORPUS) };
    jobs.push(house.engine.enqueue(watch).await.unwrap().id());
    house.is(jobs[2], windlass::JobState::Running).await;
    jobs.push(house.engine.enqueue(broken(&all)).await.unwrap().id());
    jobs.push(house.engine.enqueue(text(&all)).delay(HOUR).unique(Unique::key(CORPUS[0])).await.unwrap().id());
    let mut flow = Flow::new("evil");
    for bad in CORPUS {
        let signal = flow.signal::<u32>(bad, (), None);
        flow.after(&signal, broken(bad));
    }
    let flow = house.engine.submit(flow).await.unwrap().id();
    let mut pages: Vec<_> = jobs.iter().map(|id| format!("/jobs/{id}")).collect();
    pages.push(format!("/flows/{flow}"));
    for bad in [CORPUS[0], CORPUS[4], CORPUS[5], CORPUS[10]] {
        let bad = encoded(bad);
        let fields = ["kind", "queue", "tag", "limit_key", "correlation_id", "error", "said", "after"];
        let query: Vec<_> = fields.map(|field| format!("{field}={bad}")).into();
        pages.push(format!("/jobs?{}", query[..7].join("&")));
        pages.push(format!("/dead?{}", query[..6].join("&")));
        pages.extend([
            format!("/queue?name={bad}"),
            format!("/nothing/{bad}"),
            format!("?span={bad}&said={bad}&seal={bad}"),
        ]);
    }
    Evil { pages, flow }
}

/// As it stands in a URL.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

async fn is_harmless(browser: &Browser, site: &Site, what: &str) {
    let foreign: Vec<String> = browser.ask_with(FOREIGN, vec![site.at("").into()]).await;
    assert!(foreign.is_empty(), "{what}: {foreign:?}");
    let complaints = browser.complaints().await;
    let bad: Vec<_> = complaints.iter().filter(|complaint| !complaint.contains("Failed to load resource")).collect();
    assert!(bad.is_empty(), "{what}: {bad:?}");
}

#[tokio::test]
async fn what_people_put_into_jobs_is_run_on_no_page() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let evil = evil(&house).await;
    let access = Access::loopback(Identity::operator("<img src=x onerror=window.hit=1>"));
    let console = Console::new(house.engine.clone(), access).environment("\"><svg onload=window.hit=1>");
    let site = Site::of(console, "/console").await;
    // Something stands in the audit log too.
    browser.go(&site.at(&format!("/flows/{}", evil.flow))).await;
    browser.open_first_menu().await;
    browser.follow("//details[@open]//button").await;
    let said = browser.text("//*[@role='status']").await;
    assert!(said.contains("window.hit"), "{said}");
    for path in pages_of(&house).iter().chain(&evil.pages) {
        browser.go(&site.at(path)).await;
        is_harmless(&browser, &site, path).await;
    }
    browser.end().await;
}

#[tokio::test]
async fn what_people_put_into_jobs_is_shown_as_it_is_and_found_again() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let evil = evil(&house).await;
    let site = Site::of_ada(&house).await;
    let mut tags = Vec::new();
    for page in &evil.pages[..2] {
        browser.go(&site.at(page)).await;
        let links = "[...document.querySelectorAll('a.tag')].map((tag) => new URL(tag.href).searchParams.get('tag'))";
        tags.extend(browser.ask::<Vec<String>>(links).await);
        let payload: String = browser.ask("JSON.parse(document.querySelector('pre').textContent).text").await;
        assert_eq!(payload, CORPUS.join("\n"));
    }
    tags.sort_unstable();
    let mut corpus = CORPUS.to_vec();
    corpus.sort_unstable();
    assert_eq!(tags, corpus, "each leads to those that have it");

    // A filter by one, what is done to all that meet it, and what comes while somebody looks.
    for tag in [CORPUS[0], CORPUS[5], CORPUS[24], CORPUS[26]] {
        browser.go(&site.at(&format!("/jobs?tag={}", encoded(tag)))).await;
        assert_eq!(browser.count("//tbody/tr").await, 1, "{tag}");
        browser.fill("//form[.//button[contains(., 'Count first')]]", "Do", "Discard").await;
        browser.follow("//button[contains(., 'Count first')]").await;
        is_harmless(&browser, &site, tag).await;
        let said: String = browser.ask("document.querySelector('input[name=tag]').value").await;
        // A form has lines as the network has them, and knows no sign that stands for nothing.
        assert_eq!(said.replace(['\r', '\0', '\u{fffd}'], ""), tag.replace(['\r', '\0'], ""));
    }
    browser.go(&site.at("/jobs?state=dead")).await;
    let late = broken("late <img src=x onerror=window.hit=1>");
    house.engine.enqueue(late).await.unwrap().wait().await.unwrap_err();
    browser.until("document.querySelector('main').innerText.includes('late <img')").await;
    is_harmless(&browser, &site, "what came later").await;
    browser.click(&button("//form[@role='search']", "Filter")).await;
    browser.end().await;
}

/// What is looked for above would be found.
#[tokio::test]
async fn what_a_page_would_run_is_noticed() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    browser.go(&site.at("/audit")).await;
    let foreign = async || browser.ask_with::<Vec<String>>(FOREIGN, vec![site.at("").into()]).await;
    assert!(foreign().await.is_empty());
    for bad in CORPUS.iter().filter(|bad| bad.contains('<') && !bad.contains("&lt;")) {
        let put = "(document.querySelector('main').innerHTML = `<textarea></textarea>${arguments[0]}`, true)";
        browser.ask_with::<bool>(put, vec![(*bad).into()]).await;
        let has_tags: bool = browser.ask("document.querySelector('main').children.length > 1").await;
        assert!(!has_tags || !foreign().await.is_empty(), "{bad}");
    }
    browser.complaints().await;
    browser.end().await;
}

impl Browser {
    async fn open_first_menu(&self) {
        self.click("(//summary[normalize-space()='Signal'])[1]").await;
    }
}
