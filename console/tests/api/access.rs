//! Who comes in, and what may be asked: faults 79 to 84 of the catalogue.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use windlass_console::{Access, Console, Denied, Identity, Token};

use crate::bed::{Bed, OPERATOR, PAUSER, READER, engine, json_of, with_token};

async fn status_of(bed: &Bed, request: Request<Body>) -> StatusCode {
    bed.ask(request).await.status()
}

fn get(path: &str) -> axum::http::request::Builder {
    Request::get(path).header("host", "ops.example.org")
}

#[tokio::test]
async fn without_a_token_that_is_known_nobody_comes_in_anywhere() {
    let bed = Bed::new().await;
    let document = bed.get("/api/v1/openapi.json").await;
    let mut asked = 0;
    for (path, ways) in document["paths"].as_object().unwrap() {
        for way in ways.as_object().unwrap().keys() {
            let path = format!("/api/v1{path}").replace(['{', '}'], "");
            let method: Method = way.to_uppercase().parse().unwrap();
            for said in [
                None,
                Some("Bearer"),
                Some("Bearer wrong-wrong-wrong-wrong-wrong-wrong"),
                Some("Basic !"),
                Some("Digest x"),
            ] {
                let mut request = get(&path).method(method.clone());
                if let Some(said) = said {
                    request = request.header(header::AUTHORIZATION, said);
                }
                let response = bed.ask(request.body(Body::empty()).unwrap()).await;
                assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{way} {path} with {said:?}");
                assert!(response.headers().contains_key(header::WWW_AUTHENTICATE));
                asked += 1;
            }
        }
    }
    assert!(asked > 100, "{asked} requests");
    let nowhere = get("/api/v1/nothing").body(Body::empty()).unwrap();
    assert_eq!(status_of(&bed, nowhere).await, StatusCode::UNAUTHORIZED, "nobody learns what is there");
    bed.stop().await;
}

#[tokio::test]
async fn a_browser_may_give_the_token_as_a_password() {
    let bed = Bed::new().await;
    // ada:operator-operator-operator-operator
    let pair = "YWRhOm9wZXJhdG9yLW9wZXJhdG9yLW9wZXJhdG9yLW9wZXJhdG9y";
    let request = get("/api/v1/queues").header(header::AUTHORIZATION, format!("Basic {pair}")).body(Body::empty());
    assert_eq!(status_of(&bed, request.unwrap()).await, StatusCode::OK);
    bed.stop().await;
}

#[test]
fn a_token_that_could_be_guessed_is_none() {
    let error = Token::operator("ada", "short").unwrap_err().to_string();
    assert!(error.contains("`ada`") && error.contains("5 characters") && error.contains("32"), "{error}");
    assert!(!format!("{:?}", Token::operator("ada", OPERATOR).unwrap()).contains("operator-"));
}

#[tokio::test]
async fn a_reader_changes_nothing_and_a_permission_is_for_one_action() {
    let bed = Bed::new().await;
    let document = bed.get("/api/v1/openapi.json").await;
    let (job, flow) = (bed.dead().await.to_string(), bed.flow().await);
    for (path, _) in document["paths"].as_object().unwrap().iter().filter(|(_, ways)| ways.get("post").is_some()) {
        let id = if path.starts_with("/flows") { &flow } else { &job };
        let whole = format!("/api/v1{path}");
        let whole = whole
            .replace("{id}", id)
            .replace("{queue}", "mail")
            .replace("{name}", "nightly")
            .replace("{what}", "pause");
        let whole = whole.replace("{step}", "confirm");
        let body = match path.as_str() {
            "/queues/{queue}/purge" => json!({"confirm": "mail"}),
            "/limits/set" => json!({"of": {"scope": "queue", "name": "mail"}, "set": {"slots": 1}}),
            "/limits/reset" => json!({"of": {"scope": "queue", "name": "mail"}}),
            "/jobs/steer" => json!({"do": {"verb": "cancel"}, "filter": {"queue": "mail"}}),
            "/jobs/{id}/steer" => json!({"verb": "requeue"}),
            "/jobs/{id}/edit" => json!({"payload": {}}),
            _ => json!({}),
        };
        let before = bed.get("/api/v1/queues").await;
        for token in [READER, PAUSER].into_iter().take(if path == "/queues/{queue}/pause" { 1 } else { 2 }) {
            let (status, problem) = bed.post_as(token, &whole, &body).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{whole}: {problem}");
        }
        assert_eq!(bed.get("/api/v1/queues").await["mail"], before["mail"]);
    }
    assert_eq!(bed.post_as(PAUSER, "/api/v1/queues/mail/pause", &json!({})).await.0, StatusCode::OK);
    assert_eq!(bed.post_as(PAUSER, "/api/v1/queues/mail/resume", &json!({})).await.0, StatusCode::FORBIDDEN);
    bed.stop().await;
}

#[tokio::test]
async fn a_request_that_another_page_made_changes_nothing() {
    let bed = Bed::new().await;
    let pause =
        || with_token(OPERATOR, Request::post("/api/v1/queues/mail/pause")).header("content-type", "application/json");
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "https://ops.example.org.evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let request = pause().header(name, value).body(Body::from("{}")).unwrap();
        assert_eq!(status_of(&bed, request).await, StatusCode::FORBIDDEN, "{name}: {value}");
    }
    // What a form can send without asking first is not taken for JSON.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let request = with_token(OPERATOR, Request::post("/api/v1/queues/mail/pause")).header("content-type", kind);
        let status = status_of(&bed, request.body(Body::from("{}")).unwrap()).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    assert!(!bed.engine.stats().await.unwrap()[0].paused);
    let own = pause().header("origin", "https://ops.example.org").header("sec-fetch-site", "same-origin");
    assert_eq!(status_of(&bed, own.body(Body::from("{}")).unwrap()).await, StatusCode::OK);
    bed.stop().await;
}

#[tokio::test]
async fn reading_changes_nothing() {
    let bed = Bed::new().await;
    let document = bed.get("/api/v1/openapi.json").await;
    for (path, _) in document["paths"].as_object().unwrap().iter().filter(|(_, ways)| ways.get("post").is_some()) {
        let path = format!("/api/v1{path}").replace(['{', '}'], "");
        let (status, answer) = bed.get_as(OPERATOR, &path).await;
        let refused = [StatusCode::METHOD_NOT_ALLOWED, StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND];
        assert!(refused.contains(&status), "GET {path} is {status}: {answer}");
    }
    assert!(bed.console.audit(10).is_empty());
    bed.stop().await;
}

fn from(peer: Option<&str>, host: &str) -> Request<Body> {
    let mut request = Request::get("/api/v1/queues").header("host", host).body(Body::empty()).unwrap();
    if let Some(peer) = peer {
        request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
    }
    request
}

#[tokio::test]
async fn a_console_for_this_machine_is_for_nobody_else_and_under_no_other_name() {
    let engine = engine().await;
    let bed = Bed::of(engine.clone(), Console::new(engine, Access::loopback(Identity::operator("me"))));
    for (peer, host, status) in [
        (Some("127.0.0.1:4"), "localhost:8080", 200),
        (Some("[::1]:4"), "[::1]:8080", 200),
        (Some("[::ffff:127.0.0.1]:4"), "127.0.0.1", 200),
        (Some("10.0.0.7:4"), "localhost:8080", 403),
        (None, "localhost:8080", 403),
        (Some("127.0.0.1:4"), "evil.example:8080", 421),
        (Some("127.0.0.1:4"), "localhost.evil.example", 421),
        (Some("127.0.0.1:4"), "127.0.0.1.evil.example", 421),
    ] {
        assert_eq!(status_of(&bed, from(peer, host)).await.as_u16(), status, "{peer:?} as {host}");
    }
    bed.stop().await;
}

#[tokio::test]
async fn a_console_with_a_name_answers_to_no_other() {
    let engine = engine().await;
    let bed = Bed::of(engine.clone(), Console::new(engine, crate::bed::access()).hosts(["ops.example.org"]));
    bed.get("/api/v1/queues").await;
    let request = Request::get("/api/v1/queues").header("host", "other.example.org");
    let request = request.header("authorization", format!("Bearer {OPERATOR}")).body(Body::empty()).unwrap();
    assert_eq!(status_of(&bed, request).await, StatusCode::MISDIRECTED_REQUEST);
    bed.stop().await;
}

#[tokio::test]
async fn a_service_decides_by_its_own_sessions() {
    let engine = engine().await;
    let access = Access::service(|credentials| async move {
        match credentials.headers.get("cookie").and_then(|cookie| cookie.to_str().ok()) {
            Some("session=ada") => Ok(Identity::operator("ada")),
            Some("session=eve") => Err(Denied::Forbidden("eve may not see jobs".to_owned())),
            _ => Err(Denied::Unknown("log in first".to_owned())),
        }
    });
    let bed = Bed::of(engine.clone(), Console::new(engine, access));
    for (cookie, status) in [("session=ada", 200), ("session=eve", 403), ("session=bob", 401)] {
        let request = get("/api/v1/queues").header("cookie", cookie).body(Body::empty()).unwrap();
        let response = bed.ask(request).await;
        assert_eq!(response.status().as_u16(), status, "{cookie}");
        assert!(!response.headers().contains_key(header::WWW_AUTHENTICATE), "a browser cannot help");
    }
    bed.stop().await;
}

#[tokio::test]
async fn giant_deep_and_broken_bodies_are_refused() {
    let bed = Bed::new().await;
    let id = bed.dead().await;
    let edit = format!("/api/v1/jobs/{id}/edit");
    let deep = format!("{{\"payload\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let giant = format!("{{\"payload\": \"{}\"}}", "x".repeat(3 << 20));
    for (body, status) in [
        (deep, 400),
        (giant, 413),
        ("{\"payload\": 1".to_owned(), 400),
        ("\u{0}".to_owned(), 400),
        ("[]".to_owned(), 422),
    ] {
        let request = with_token(OPERATOR, Request::post(&edit)).header("content-type", "application/json");
        let (status_is, problem) = json_of(bed.ask(request.body(Body::from(body)).unwrap()).await).await;
        assert_eq!(status_is.as_u16(), status, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
    }
    assert_eq!(bed.engine.job(id).await.unwrap().state.as_str(), "dead");
    bed.stop().await;
}

#[tokio::test]
async fn paths_lead_nowhere_else_and_what_is_said_comes_back_as_json_only() {
    let bed = Bed::new().await;
    for path in [
        "/api/v1/../../../etc/passwd",
        "/api/v1/..%2f..%2fetc%2fpasswd",
        "/api/v1/jobs/..%2f..%2fetc%2fpasswd",
        "/api/v1/jobs/%00",
        "/api/v1/jobs/x%0d%0aset-cookie:%20a=b",
        "/api/v1/queues/%3Cscript%3E/pause",
    ] {
        let request = with_token(OPERATOR, Request::get(path)).body(Body::empty()).unwrap();
        let response = bed.ask(request).await;
        assert!(response.status().is_client_error(), "{path}: {}", response.status());
        let headers = response.headers();
        assert!(!headers.contains_key("set-cookie"));
        if let Some(kind) = headers.get(header::CONTENT_TYPE) {
            assert!(kind.to_str().unwrap().starts_with("application/"), "{path}: {kind:?}");
        }
    }
    bed.stop().await;
}

#[tokio::test]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let bed = Bed::new().await;
    for (token, path) in [(OPERATOR, "/api/v1/queues"), (OPERATOR, "/api/v1/none"), ("none", "/api/v1/queues")] {
        let request = with_token(token, Request::get(path)).body(Body::empty()).unwrap();
        let response = bed.ask(request).await;
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("cache-control"), "no-store");
    }
    bed.stop().await;
}

#[tokio::test]
async fn under_any_prefix_it_is_the_same() {
    let bed = Bed::new().await;
    let nested = Router::new().nest("/ops/jobs", bed.console.router());
    let bed = Bed { router: nested, ..bed };
    let document: Value = bed.get("/ops/jobs/api/v1/openapi.json").await;
    assert_eq!(document["servers"][0]["url"], "/ops/jobs/api/v1");
    bed.get("/ops/jobs/api/v1/overview").await;
    bed.stop().await;
}
