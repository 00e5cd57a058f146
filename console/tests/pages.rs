//! The pages, from outside: every one, every form, and what people put into payloads.

mod pages_live;
mod pages_support;

use std::collections::BTreeSet;

use axum::http::StatusCode;
use pages_support::{BASES, House, house};
use windlass::{Filter, JobState};
use windlass_console::{Access, Action, Console, Identity, Token};

/// All pages without what stands in the house.
const PAGES: [&str; 11] = [
    "",
    "/queues",
    "/jobs",
    "/jobs?state=dead&kind=breaks&created_from=2020-01-01T00:00",
    "/dead",
    "/schedules",
    "/flows",
    "/workers",
    "/orders",
    "/limits",
    "/audit",
];

/// All pages, those of what stands in the house among them.
fn pages_of(house: &House) -> Vec<String> {
    let own = [
        "/queue?name=mail".to_owned(),
        format!("/jobs/{}", house.dead),
        format!("/jobs/{}", house.delayed),
        format!("/flows/{}", house.flow),
        "/flows?state=running".to_owned(),
        "/?span=week".to_owned(),
    ];
    PAGES.iter().map(|page| (*page).to_owned()).chain(own).collect()
}

#[tokio::test]
async fn every_page_answers_at_every_base_and_all_that_it_names_is_below_it() {
    let house = house().await;
    for base in BASES {
        let site = house.site(base, Identity::operator("ada"));
        for path in pages_of(&house) {
            let page = site.get(&path).await;
            assert_eq!(page.status, StatusCode::OK, "{base}{path}: {}", page.text);
            assert!(page.header("content-type").starts_with("text/html"));
            page.is_sound(base);
            assert!(page.text.contains("ada"), "{path} says who looks");
            assert_eq!(page.all("nav a[aria-current=page]").len(), 1, "{path} marks where one is");
        }
    }
}

#[tokio::test]
async fn every_link_on_every_page_leads_somewhere() {
    let house = house().await;
    let site = house.site("/console", Identity::operator("ada"));
    let mut seen = BTreeSet::new();
    for path in pages_of(&house) {
        let page = site.get(&path).await;
        for link in page.links("/console") {
            if seen.insert(link.clone()) {
                let led = site.get(&link).await;
                assert_eq!(led.status, StatusCode::OK, "{link} on {path}");
            }
        }
    }
    assert!(seen.len() > 40, "{seen:?}");
}

#[tokio::test]
async fn a_list_of_jobs_leads_to_each_state_with_as_many_as_are_in_it() {
    let house = house().await;
    let site = house.site("/console", Identity::operator("ada"));
    let page = site.get("/jobs").await;
    let choices = page.texts(".switch a");
    let all: u64 = choices[0].strip_prefix("all ").unwrap().parse().unwrap();
    let mut sum = 0;
    for state in JobState::ALL {
        let there = house.engine.count(Filter::new().state(state)).await.unwrap();
        assert!(choices.contains(&format!("{state} {there}")), "{there} are {state}: {choices:?}");
        sum += there;
    }
    assert_eq!((all, choices.len()), (sum, 10), "{choices:?}");
    // What else is said stays said, and what only a walk over all jobs would tell is not told.
    let page = site.get("/jobs?kind=breaks&state=dead").await;
    assert_eq!(page.texts(".switch a")[..2], ["all", "waiting"]);
    assert_eq!(page.texts(".switch a[aria-current]"), ["dead"]);
    assert!(
        page.links("/console").contains(&"/jobs?state=parked&kind=breaks".to_owned()),
        "{:?}",
        page.links("/console")
    );
}

/// Each form: its path, its fields, and the permission that it asks for.
fn forms(house: &House) -> Vec<(String, String, Action)> {
    let (dead, waits, flow) = (house.dead, house.delayed, &house.flow);
    let queues = || "/queues".to_owned();
    let job = |id| format!("/jobs/{id}");
    let limits = "scope=queue&name=mail&back=queue";
    vec![
        (queues(), "verb=pause&queue=mail".to_owned(), Action::PauseQueue),
        (queues(), "verb=resume&queue=mail".to_owned(), Action::ResumeQueue),
        (queues(), "verb=purge&queue=empty&confirm=empty".to_owned(), Action::PurgeQueue),
        ("/limits".to_owned(), format!("{limits}&verb=set&slots=3&jobs=5&per_s=2.5&burst=2"), Action::SetLimit),
        ("/limits".to_owned(), format!("{limits}&verb=reset"), Action::SetLimit),
        (job(waits), "verb=reprioritise&priority=7".to_owned(), Action::Reprioritise),
        (job(waits), "verb=reschedule&in_s=9000".to_owned(), Action::Reschedule),
        (job(waits), "verb=move&queue_to=empty".to_owned(), Action::Move),
        (job(waits), "verb=edit&payload=%7B%22text%22%3A%22other%22%7D".to_owned(), Action::Edit),
        (job(waits), "verb=cancel".to_owned(), Action::Cancel),
        (job(waits), "verb=discard".to_owned(), Action::Discard),
        (job(dead), "verb=requeue".to_owned(), Action::Requeue),
        (job(house.delayed_too), "verb=run_now".to_owned(), Action::RunNow),
        ("/jobs".to_owned(), "verb=cancel&queue=empty&meant=yes&jobs=0".to_owned(), Action::Cancel),
        ("/orders".to_owned(), format!("order={}", house.order), Action::CancelOrder),
        ("/schedules".to_owned(), "verb=pause&schedule=nightly".to_owned(), Action::PauseSchedule),
        ("/schedules".to_owned(), "verb=resume&schedule=nightly".to_owned(), Action::ResumeSchedule),
        ("/schedules".to_owned(), "verb=run&schedule=nightly".to_owned(), Action::RunSchedule),
        ("/schedules".to_owned(), "verb=remove&schedule=nightly".to_owned(), Action::RemoveSchedule),
        (format!("/flows/{flow}"), "verb=signal&step=paid&payload=17".to_owned(), Action::Signal),
        (format!("/flows/{flow}"), "verb=skip&step=later".to_owned(), Action::SkipStep),
        (format!("/flows/{flow}"), "verb=retry&step=fails".to_owned(), Action::RetryStep),
        (format!("/flows/{flow}"), "verb=cancel".to_owned(), Action::CancelFlow),
    ]
}

#[tokio::test]
async fn every_form_is_refused_without_its_token_to_readers_and_to_those_who_may_not() {
    let house = house().await;
    let tried: BTreeSet<_> = forms(&house).iter().map(|(_, _, action)| action.as_str()).collect();
    let all: BTreeSet<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
    assert_eq!(tried, all, "each action has a form");
    let before = house.engine.stats().await.unwrap();
    for (path, fields, action) in forms(&house) {
        let operator = house.site("/console", Identity::operator("ada"));
        for token in ["", "nonsense", &house.site("/console", Identity::operator("bob")).token().await] {
            let page = operator.post_with(&path, &fields, token).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{path} {fields}");
            page.is_sound("/console");
        }
        let rest: Vec<_> = Action::ALL.into_iter().filter(|other| *other != action).collect();
        for identity in [Identity::reader("eve"), Identity::only("eve", &rest)] {
            let page = house.post_as(identity, &path, &fields).await;
            assert_eq!(page.status, StatusCode::FORBIDDEN, "{path} {fields}");
            assert!(page.text.contains("may not do this"), "{}", page.text);
        }
    }
    let after = house.engine.stats().await.unwrap();
    assert!(before.iter().zip(&after).all(|(one, other)| one.paused == other.paused && one.live() == other.live()));
}

#[tokio::test]
async fn every_form_does_what_it_says_and_says_what_it_did() {
    let house = house().await;
    let site = house.site("/console", Identity::operator("ada"));
    for (path, fields, action) in forms(&house) {
        let page = site.post(&path, &fields).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{path} {fields}: {}", page.text);
        let to = page.header("location").to_owned();
        let shown = site.get(to.strip_prefix("/console").unwrap()).await;
        assert_eq!(shown.status, StatusCode::OK, "{to}");
        assert_eq!(shown.all(".message").len(), 1, "{to}");
        let noted = &house.console().audit(1)[0];
        assert_eq!((noted.action, noted.outcome.as_str(), noted.who.as_str()), (action, "done", "ada"));
    }
}

#[tokio::test]
async fn readers_are_shown_no_forms_that_change_anything() {
    let house = house().await;
    for path in pages_of(&house) {
        let page = house.site("/console", Identity::reader("eve")).get(&path).await;
        assert!(page.all("form[method=post]").is_empty(), "{path}");
        assert!(page.text.contains("reader"));
    }
}

#[tokio::test]
async fn a_sentence_is_shown_only_if_it_is_the_consoles_own() {
    let house = house().await;
    let site = house.site("/console", Identity::operator("ada"));
    let to = site.post("/queues", "verb=pause&queue=mail").await.header("location").to_owned();
    let own = to.strip_prefix("/console").unwrap();
    assert_eq!(site.get(own).await.all(".message").len(), 1);
    assert!(site.get(&own.replace("paused", "purged")).await.all(".message").is_empty());
    assert!(house.site("/console", Identity::operator("bob")).get(own).await.all(".message").is_empty());
}

#[tokio::test]
async fn many_jobs_are_counted_before_anything_is_done_to_them() {
    let house = house().await;
    let site = house.site("/console", Identity::operator("ada"));
    let counted = site.post("/jobs", "verb=cancel&state=delayed").await;
    assert_eq!(counted.status, StatusCode::OK);
    counted.is_sound("/console");
    assert!(counted.text.contains("jobs are to be cancelled"), "{}", counted.text);
    assert!(house.engine.orders().await.unwrap().iter().all(|order| order.id.to_string() == house.order));
    let fields: Vec<_> = counted.fields("main form[method=post]");
    assert!(fields.contains(&("state".to_owned(), "delayed".to_owned())), "{fields:?}");
    let typed = site.post("/jobs", "verb=cancel&state=delayed&meant=yes&jobs=100&typed=99").await;
    assert_eq!(typed.status, StatusCode::BAD_REQUEST);
    let again: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(site.post("/jobs", &again.join("&")).await.status, StatusCode::SEE_OTHER);
    assert_eq!(house.engine.orders().await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_people_put_into_jobs_becomes_no_markup() {
    let house = house().await;
    let (evil, flows) = house.evil().await;
    let site = house.site("/console", Identity::operator("<script>alert(0)</script>"));
    let mut paths = pages_of(&house);
    paths.extend(evil.iter().map(|id| format!("/jobs/{id}")));
    paths.extend(flows.iter().map(|id| format!("/flows/{id}")));
    for bad in pages_support::CORPUS {
        let bad = pages_support::encoded(bad);
        for name in ["kind", "queue", "tag", "limit_key", "correlation_id", "error", "after", "said", "span"] {
            paths.push(format!("/jobs?{name}={bad}"));
            paths.push(format!("/dead?{name}={bad}"));
        }
        paths.extend([format!("/queue?name={bad}"), format!("/nothing/{bad}"), format!("/jobs/{bad}")]);
    }
    for path in &paths {
        let page = site.get(path).await;
        page.is_sound("/console");
        assert_ne!(page.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
    // They are shown, as what they are.
    for (id, bad) in evil.iter().zip(pages_support::CORPUS) {
        let page = site.get(&format!("/jobs/{id}")).await;
        assert!(page.shown("pre").contains(&serde_json::to_string(bad).unwrap()), "{bad}");
        // A parser of HTML passes by what stands for nothing, and knows one end of a line.
        let parsed = bad.replace('\0', "").replace("\r\n", "\n");
        assert_eq!(page.shown(".tag"), parsed);
        assert!(page.shown(".log").contains(&parsed), "{bad}");
    }
}

#[tokio::test]
async fn problems_of_pages_are_html_and_those_of_the_api_json() {
    let house = house().await;
    let site = house.site("/console", Identity::operator("ada"));
    for path in ["/nothing", "/jobs/nonsense", "/queue", "/queue?name=nobody", "/jobs?state=nonsense", "/chart/x.svg"] {
        let page = site.get(path).await;
        assert!(page.status.is_client_error(), "{path}");
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
        page.is_sound("/console");
        assert_eq!(page.all("nav a").len(), 10, "{path}");
    }
    let json = site.get("/api/v1/jobs/nonsense").await;
    assert_eq!(json.header("content-type"), "application/problem+json");
    let tokens = Access::tokens([Token::reader("eve", "0123456789abcdef0123456789abcdef").unwrap()]);
    let unknown = house.site_of("/console", &Console::new(house.engine.clone(), tokens)).get("/jobs").await;
    assert_eq!(unknown.status, StatusCode::UNAUTHORIZED);
    assert!(unknown.header("www-authenticate").starts_with("Basic"));
    assert!(unknown.header("content-type").starts_with("text/html"));
}

#[tokio::test]
async fn assets_are_kept_for_long_and_have_another_address_with_another_content() {
    let house = house().await;
    let site = house.site("/console", Identity::reader("eve"));
    let page = site.get("").await;
    let style = page.attribute("link[rel=stylesheet]", "href");
    let script = page.attribute("script", "src");
    for (address, kind) in [(style, "text/css; charset=utf-8"), (script, "text/javascript; charset=utf-8")] {
        let file = site.get(address.strip_prefix("/console").unwrap()).await;
        assert_eq!((file.status, file.header("content-type")), (StatusCode::OK, kind));
        assert!(file.header("cache-control").contains("immutable"));
    }
    assert_eq!(site.get("/assets/0000000000000000/console.css").await.status, StatusCode::NOT_FOUND);
    assert_eq!(page.header("cache-control"), "no-store");
}

#[tokio::test]
async fn history_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.json");
    let since = async |house: &House| {
        let console = house.console_for(Identity::operator("ada")).history_at(&path);
        let site = house.site_of("/console", &console);
        loop {
            let page = site.get("").await;
            assert!(!page.text.contains("begins with the process"));
            if let Some(since) = page.maybe("#since time", "datetime") {
                return since;
            }
            tokio::task::yield_now().await;
        }
    };
    let first = house().await;
    let began = since(&first).await;
    // The last console of it was gone with the site.
    assert!(path.exists());
    drop(first);
    assert_eq!(since(&house().await).await, began);
    let fresh = house().await.site("/console", Identity::operator("ada")).get("").await;
    assert!(fresh.text.contains("history begins with the process"));
}

#[tokio::test]
async fn a_slash_behind_the_prefix_is_answered_where_it_is_nested_as_a_service() {
    let house = house().await;
    let ask = async |routes: axum::Router, path: &str| {
        let request = axum::http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        tower::ServiceExt::oneshot(routes, request).await.unwrap().status()
    };
    let nested = || axum::Router::new().nest("/console", house.console().router());
    let service = || axum::Router::new().nest_service("/console", house.console().router());
    assert_eq!(ask(nested(), "/console").await, StatusCode::OK);
    assert_eq!(ask(nested(), "/console/").await, StatusCode::NOT_FOUND);
    for path in ["/console", "/console/", "/console/queues"] {
        assert_eq!(ask(service(), path).await, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn charts_are_drawn_without_scripts() {
    let house = house().await;
    let site = house.site("/console", Identity::reader("eve"));
    for file in ["depth.svg", "throughput.svg"] {
        let mut drawn = Vec::new();
        for theme in ["light", "dark"] {
            drawn.push(site.get(&format!("/chart/{file}?span=week&theme={theme}")).await);
        }
        assert!(drawn.iter().all(|chart| chart.header("content-type") == "image/svg+xml"));
        assert!(drawn.iter().all(|chart| chart.text.starts_with("<svg") && !chart.text.contains("<script")));
        assert_ne!(drawn[0].text, drawn[1].text);
    }
}

#[tokio::test]
async fn charts_of_a_queue_are_its_own_and_the_service_s_start_is_marked_with_its_version() {
    let house = house().await;
    let console = house.console_for(Identity::reader("eve")).version("2.0 <b>\"x\"&");
    let site = house.site_of("/console", &console);
    let page = site.get("/queue?name=mail&span=week").await;
    let source = page.attribute("[data-live=charts] img", "src");
    assert!(source.contains("span=week") && source.ends_with("&queue=mail"), "{source}");
    page.is_sound("/console");
    let chart = async |of: &str| site.get(&format!("/chart/depth.svg?span=hour{of}")).await;
    // Until the first sample is taken.
    while chart("").await.text == chart("&queue=empty").await.text {
        tokio::task::yield_now().await;
    }
    for of in ["", "&queue=mail", "&queue=nobody"] {
        let chart = chart(of).await;
        assert_eq!(chart.all("svg g.start line").len(), 1, "{}", chart.text);
        assert_eq!(chart.shown("svg g.start text"), "2.0 <b>\"x\"&");
        assert!(!chart.text.contains("<b>"));
    }
}
