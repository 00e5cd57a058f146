//! What the commands tell of a running service, as tables and as JSON.

use crate::served::{HOSTILE, Service};
use crate::world::ran;

fn has_all(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word} is missing: {text}");
    }
}

#[test]
fn stats_have_the_engines_health_and_the_numbers_of_its_queues() {
    let service = Service::new();
    service.dead("nobody");
    service.delayed();
    has_all(&service.table(&["stats"]), &["test: ", "memory: ", "queue", "mail", "bulk", "0 / 4", "all", "0 / 8"]);
    let seen = service.json(&["stats"]);
    assert_eq!((&seen["all"]["dead"], &seen["all"]["delayed"]), (&1.into(), &1.into()), "{seen}");
    assert_eq!((&seen["environment"], &seen["health"]["is_serving"]), (&"test".into(), &true.into()));
    service.run(service.engine.pause("bulk")).unwrap();
    has_all(&service.table(&["stats"]), &["paused"]);
}

#[test]
fn an_engine_that_has_stopped_is_no_success() {
    let service = Service::new();
    service.run(service.engine.shutdown(windlass::SEC)).unwrap();
    let ran = service.windlass(&["stats"]);
    assert_ne!(ran.code, 0, "{ran:?}");
}

#[test]
fn jobs_are_listed_by_every_part_of_the_filter() {
    let service = Service::new();
    let (dead, delayed) = (service.dead("nobody").to_string(), service.delayed().to_string());
    let ids = |words: &[&str]| -> Vec<String> {
        let seen = service.json(&[&["jobs"], words].concat());
        seen["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
    };
    for words in [
        &["--state", "dead"][..],
        &["--state", "dead,done", "--queue", "mail", "--queue", "bulk", "--kind", "mail"],
        &["--tag", "tenant:7"],
        &["--correlation-id", "story"],
        &["--error", "no mailbox"],
        &["--payload", "to=nobody"],
        &["--payload", "/to=\"nobody\"", "--queue", "mail"],
        &["--ended-from", "2020-01-01T00:00:00Z", "--ended-until", "2100-01-01T00:00:00Z"],
    ] {
        assert_eq!(ids(words), [dead.as_str()], "{words:?}");
    }
    assert_eq!(ids(&["--due-from", "2020-01-01T00:00:00Z", "--due-until", "2100-01-01T00:00:00Z"]), [delayed.as_str()]);
    assert_eq!(ids(&["--created-from", "2020-01-01T00:00:00Z"]).len(), 2);
    for words in [
        &["--queue", "bulk"][..],
        &["--created-until", "2020-01-01T00:00:00Z"],
        &["--limit-key", "nobody's"],
        &["--kind", "fax"],
        &["--payload", "to=nobody else"],
    ] {
        assert!(ids(words).is_empty(), "{words:?}");
    }
    has_all(
        &service.table(&["jobs"]),
        &["id", "attempts", &dead, &delayed, "no mailbox `nobody`", "its time has not come"],
    );
    assert_eq!(service.table(&["jobs", "--queue", "bulk"]), "no job is like that\n");
    assert_eq!(service.table(&["jobs", "--count", "--state", "dead,delayed"]), "2\n");
    assert_eq!(service.json(&["jobs", "--count"])["count"], 2);
    let by_payload = service.table(&["jobs", "--payload", "to=nobody"]);
    assert!(by_payload.contains(&dead) && !by_payload.contains(&delayed), "{by_payload}");
}

#[test]
fn a_list_goes_on_where_its_page_ended() {
    let service = Service::new();
    for _ in 0..5 {
        service.delayed();
    }
    let (mut seen, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut words = vec!["jobs", "--limit", "2"];
        words.extend(after.as_deref().map(|cursor| ["--after", cursor]).into_iter().flatten());
        let page = service.json(&words);
        seen.extend(page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()));
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 5);
    let table = service.table(&["jobs", "--limit", "3"]);
    let cursor = table.lines().last().unwrap().strip_prefix("There are more: --after ").unwrap();
    let rest = service.table(&["jobs", "--after", cursor]);
    assert_eq!(seen.iter().filter(|id| table.contains(id.as_str())).count(), 3, "{table}");
    assert_eq!(seen.iter().filter(|id| rest.contains(id.as_str())).count(), 2, "{rest}");
    assert!(!rest.contains("There are more"), "{rest}");
}

#[test]
fn a_job_is_told_with_all_that_is_kept_of_it() {
    let service = Service::new();
    let (dead, delayed, done) = (service.dead("nobody"), service.delayed(), service.done());
    let table = service.table(&["job", &dead.to_string()]);
    has_all(&table, &[": dead", "permanent error: no mailbox `nobody`", "\"to\": \"nobody\"", "tenant:7", "story"]);
    has_all(&table, &["attempts that failed or left a log:", "what it said", "mail, version 1"]);
    has_all(&table, &["log of attempt 1:", " info  cli::served: mail to nobody"]);
    has_all(&service.table(&["job", &delayed.to_string()]), &["why", "its time has not come", "due", "in 59 min"]);
    has_all(&service.table(&["job", &done.to_string()]), &["output:", "sent to ada"]);
    let seen = service.json(&["job", &dead.to_string()]);
    assert_eq!((&seen["state"], &seen["payload"]["to"]), (&"dead".into(), &"nobody".into()), "{seen}");
    assert_eq!(seen["attempts_kept"][0]["failure"]["message"], "no mailbox `nobody`");
}

#[test]
fn dead_letters_are_listed_by_what_they_died_of_or_each() {
    let service = Service::new();
    let dead = [service.dead("nobody-1"), service.dead("nobody-2")];
    let table = service.table(&["dead", "list"]);
    has_all(&table, &["no mailbox", &dead[1].to_string(), "2 looked at, the latest; 2 are retained in all"]);
    assert!(!table.contains(&dead[0].to_string()), "one line for both: {table}");
    let table = service.table(&["dead", "list", "--plain"]);
    has_all(&table, &dead.map(|id| id.to_string()).each_ref().map(String::as_str));
    let seen = service.json(&["dead", "list"]);
    assert_eq!((&seen["groups"][0]["count"], &seen["retained"]), (&2.into(), &2.into()), "{seen}");
    assert_eq!(service.json(&["dead", "list", "--plain"])["jobs"].as_array().unwrap().len(), 2);
    assert_eq!(service.table(&["dead", "list", "--queue", "bulk"]), "no dead letter is like that\n");
}

#[test]
fn schedules_are_told_with_when_they_fire_next() {
    let service = Service::new();
    has_all(&service.table(&["schedules"]), &["nightly", "(Europe/Berlin)", "mail", "in "]);
    assert_eq!(service.json(&["schedules"])[0]["name"], "nightly");
    service.run(service.engine.pause_schedule("nightly")).unwrap();
    has_all(&service.table(&["schedules"]), &["paused"]);
    service.run(service.engine.remove_schedule("nightly")).unwrap();
    assert_eq!(service.table(&["schedules"]), "there are no schedules\n");
}

#[test]
fn flows_are_listed_and_one_is_told_step_by_step() {
    let service = Service::new();
    let id = service.flow();
    has_all(&service.table(&["flows"]), &[&id, "sign-up", "running", "1 of 2"]);
    has_all(&service.table(&["flows", &id]), &["sign-up: running", "welcome", "done", "confirm", "signal"]);
    assert_eq!(service.json(&["flows", "--state", "running"])["flows"][0]["id"], id.as_str());
    assert_eq!(service.json(&["flows", &id])["steps"][0]["state"], "done");
    let job = service.json(&["flows", &id])["steps"][0]["job"].as_str().unwrap().to_owned();
    has_all(&service.table(&["job", &job]), &[&format!("step welcome of {id}")]);
    assert_eq!(service.table(&["flows", "--state", "failed"]), "no flow is like that\n");
    service.flow();
    has_all(&service.table(&["flows", "--limit", "1"]), &["There are more: --after "]);
}

#[test]
fn the_quiet_get_nothing_and_json_all_the_same() {
    let service = Service::new();
    assert_eq!(service.table(&["stats", "--quiet"]), "");
    assert_eq!(service.json(&["stats", "--quiet"])["environment"], "test");
}

#[test]
fn what_a_job_brings_along_steers_no_terminal() {
    let service = Service::new();
    let id = service.dead(HOSTILE).to_string();
    for words in [&["jobs"][..], &["job", &id], &["dead", "list"], &["dead", "list", "--plain"]] {
        let table = service.table(words);
        let steers = |char: char| char.is_control() && char != '\n' || char == '\u{202e}';
        assert!(!table.contains(steers), "{words:?}: {table:?}");
        assert!(table.contains("\\u{1b}[2J"), "{words:?} tells what it was: {table}");
        let ran = service.windlass(&[words, &["--json"]].concat());
        assert!(!ran.out.contains(steers), "{words:?}: {:?}", ran.out);
        assert!(ran.json().to_string().contains("owned"), "and it is the same JSON: {ran:?}");
    }
    let seen = service.json(&["job", &id]);
    assert_eq!(seen["payload"]["to"], HOSTILE, "to the last character");
}

#[test]
fn the_address_is_said_by_an_option_too_and_a_slash_at_its_end_does_no_harm() {
    let service = Service::new();
    for at in [service.url.clone(), format!("{}/", service.url)] {
        let mut command = service.command(crate::served::OPERATOR);
        let ran =
            ran(&command.env("WINDLASS_URL", "http://127.0.0.1:1").args(["schedules", "--at", &at]).output().unwrap());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
    }
}
