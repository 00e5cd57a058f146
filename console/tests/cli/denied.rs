//! Consoles that are not there, are none, or say no.

use std::fs;
use std::net::TcpListener;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;

use crate::served::{OPERATOR, READER, Service, asking, serve};
use crate::world::{Ran, program, ran, runtime};

fn refused(url: &str, token: &str, words: &[&str]) -> String {
    let Ran { code, out, err } = ran(&asking(url, token).args(words).output().unwrap());
    assert_eq!((code, out.as_str()), (2, ""), "{words:?}: {err}");
    assert!(err.starts_with("windlass: ") && err.lines().count() == 1, "{words:?}: {err}");
    err
}

#[test]
fn nobody_there_is_said_with_where_and_what_to_do() {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}/console");
    for words in [&["stats"][..], &["jobs"], &["pause", "mail"], &["flows"], &["dead", "list"]] {
        let said = refused(&url, OPERATOR, words);
        assert!(said.contains(&url) && said.contains("can be reached") && said.contains("--at"), "{said}");
    }
}

#[test]
fn one_that_says_nothing_is_given_up_after_a_while() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let said = refused(&url, OPERATOR, &["stats", "--timeout", "1"]);
    assert!(said.contains("did not answer within 1 s") && said.contains("--timeout"), "{said}");
}

#[test]
fn what_is_no_console_is_called_so() {
    let service = Service::new();
    let runtime = runtime();
    let page = || async { axum::response::Html("<h1>welcome</h1>") };
    let other = serve(&runtime, Router::new().route("/api/v1/overview", get(page)));
    let said = refused(&other, OPERATOR, &["stats"]);
    assert!(said.contains("is no console") && said.contains("text/html") && said.contains("prefix"), "{said}");
    let wrong_prefix = service.url.replace("/console", "");
    let said = refused(&wrong_prefix, OPERATOR, &["stats"]);
    assert!(said.contains("is no console") && said.contains("404"), "{said}");
    let login = serve(&runtime, Router::new().fallback(|| async { Redirect::to("/login") }));
    let said = refused(&login, OPERATOR, &["stats"]);
    assert!(said.contains("sends on to /login"), "the token is not carried elsewhere: {said}");
}

#[test]
fn who_is_not_known_or_may_not_is_told_what_it_takes() {
    let service = Service::new();
    let dead = service.dead("nobody").to_string();
    let said = refused(&service.url, "", &["stats"]);
    assert!(said.contains("a token is needed") && said.contains("WINDLASS_TOKEN"), "{said}");
    let said = refused(&service.url, "somebody-else-somebody-else-somebody", &["stats"]);
    assert!(said.contains("not known here") && said.contains("is not one of this console's"), "{said}");
    assert_eq!(ran(&service.command(READER).arg("stats").output().unwrap()).code, 0, "a reader looks");
    for words in [
        &["pause", "mail"][..],
        &["resume", "mail"],
        &["job", &dead, "retry"],
        &["dead", "requeue", &dead],
        &["dead", "discard", "--all", "--dry-run"],
        &["dead", "discard", "--all", "--yes"],
    ] {
        let said = refused(&service.url, READER, words);
        assert!(said.contains("`wallboard` may not do this") && said.contains("operator"), "{words:?}: {said}");
    }
    assert_eq!(service.run(service.engine.stats()).unwrap().iter().map(|stats| stats.dead).sum::<u64>(), 1);
}

#[test]
fn what_the_console_says_is_passed_on() {
    let service = Service::new();
    let nowhere = "00000000-0000-0000-0000-000000000001";
    for (words, says) in [
        (&["job", nowhere][..], nowhere),
        (&["flows", nowhere], nowhere),
        (&["job", "x"], "no job id"),
        (&["pause", "no/such?queue"], "no/such?queue"),
        (&["jobs", "--state", "deaf"], "`deaf` is no state"),
        (&["jobs", "--created-from", "yesterday"], "`created_from`"),
        (&["jobs", "--after", "x"], "no cursor"),
        (&["jobs", "--payload", "to"], "`customer.id=42`"),
        (&["flows", "--state", "flat"], "no such state of a flow"),
    ] {
        let said = refused(&service.url, OPERATOR, words);
        assert!(said.contains(says), "{words:?}: {said}");
    }
    let said = refused(&service.url, OPERATOR, &["jobs", "--error", "\u{9b}2J", "--state", "\u{1b}[2J"]);
    assert!(!said.trim_end().contains(char::is_control) && said.contains("is no state"), "{said:?}");
}

#[test]
fn a_token_comes_from_a_file_as_well_and_never_from_the_address() {
    let service = Service::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, format!("{OPERATOR}\n")).unwrap();
    let with = |file: &std::path::Path| {
        ran(&asking(&service.url, "not-a-token-that-is-known-not-a-token")
            .args(["stats", "--token-file"])
            .arg(file)
            .output()
            .unwrap())
    };
    assert_eq!(with(&file).code, 0, "the file goes before the environment");
    let missing = with(&folder.path().join("nowhere"));
    assert!(missing.code == 2 && missing.err.contains("nowhere"), "{missing:?}");
    fs::write(&file, "two words").unwrap();
    let wrong = with(&file);
    assert!(wrong.code == 2 && wrong.err.contains("is no token") && !wrong.err.contains("two words"), "{wrong:?}");
    let said = refused(&service.url.replace("http://", "http://me:secret@"), OPERATOR, &["stats"]);
    assert!(said.contains("WINDLASS_TOKEN"), "{said}");
    let help = ran(&program().args(["stats", "--help"]).env("WINDLASS_TOKEN", OPERATOR).output().unwrap());
    assert!(help.code == 0 && help.out.contains("WINDLASS_TOKEN") && !help.out.contains(OPERATOR), "{help:?}");
}
