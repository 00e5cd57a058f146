//! What the commands do to a running service.

use std::process::Stdio;

use windlass::JobState;

use crate::served::{OPERATOR, Service};
use crate::world::{Ran, ran};

/// As the operator, with nobody to ask.
fn unasked(service: &Service, words: &[&str]) -> Ran {
    ran(&service.command(OPERATOR).args(words).stdin(Stdio::null()).output().unwrap())
}

#[test]
fn a_queue_is_paused_and_resumed() {
    let service = Service::new();
    let is_paused = || service.run(service.engine.stats()).unwrap().iter().filter(|stats| stats.paused).count();
    assert_eq!(service.table(&["pause", "mail"]), "queue mail is paused\n");
    assert_eq!(is_paused(), 1);
    assert_eq!(service.table(&["resume", "mail"]), "queue mail goes on\n");
    assert_eq!(is_paused(), 0);
    assert_eq!(service.json(&["pause", "bulk"])["done"], true);
    assert_eq!(is_paused(), 1);
    assert_eq!(service.console.audit(1)[0].who, "ada");
}

#[test]
fn a_job_is_run_now_called_off_brought_back_and_forgotten() {
    let service = Service::new();
    service.run(service.engine.pause("mail")).unwrap();
    let id = service.delayed();
    let text = id.to_string();
    let state = || service.run(service.engine.job(id)).map(|job| job.state);
    assert_eq!(service.table(&["job", &text, "run-now"]), format!("job {id} is ready now\n"));
    assert_eq!(state().unwrap(), JobState::Ready);
    assert_eq!(service.json(&["job", &text, "cancel"])["state"], "cancelled");
    assert_eq!(state().unwrap(), JobState::Cancelled);
    assert_eq!(service.table(&["job", &text, "retry"]), format!("job {id} is ready now\n"));
    assert_eq!(service.json(&["job", &text, "cancel"])["state"], "cancelled");
    let refused = unasked(&service, &["job", &text, "discard"]);
    assert!(refused.code == 2 && refused.err.contains("--yes"), "{refused:?}");
    assert_eq!(state().unwrap(), JobState::Cancelled, "nobody said yes");
    assert_eq!(service.table(&["job", &text, "discard", "--yes"]), format!("job {id} is forgotten\n"));
    assert!(state().is_err());
}

#[test]
fn dead_letters_are_brought_back_and_forgotten_by_their_ids() {
    let service = Service::new();
    service.run(service.engine.pause("mail")).unwrap();
    service.run(service.engine.resume("mail")).unwrap();
    let (one, two, live) = (service.dead("nobody-1"), service.dead("nobody-2"), service.delayed());
    service.run(service.engine.pause("mail")).unwrap();
    let wrong = unasked(&service, &["dead", "discard", &one.to_string(), &live.to_string(), "--yes"]);
    assert!(wrong.code == 2 && wrong.err.contains("is no dead letter but delayed"), "{wrong:?}");
    assert_eq!(service.run(service.engine.job(one)).unwrap().state, JobState::Dead, "none is touched then");
    assert_eq!(service.table(&["dead", "requeue", &one.to_string()]), format!("job {one} is requeued\n"));
    assert_eq!(service.run(service.engine.job(one)).unwrap().state, JobState::Ready);
    let refused = unasked(&service, &["dead", "discard", &two.to_string()]);
    assert!(refused.code == 2 && refused.err.contains("Forget 1 dead letter"), "{refused:?}");
    let gone = service.json(&["dead", "discard", &two.to_string(), "--yes"]);
    assert_eq!((&gone["id"], &gone["state"]), (&two.to_string().into(), &serde_json::Value::Null));
    assert!(service.run(service.engine.job(two)).is_err());
}

#[test]
fn dead_letters_are_brought_back_and_forgotten_by_a_filter_counted_first() {
    let service = Service::new();
    for name in ["nobody-1", "nobody-2", "nobody-3"] {
        service.dead(name);
    }
    let dead = || service.run(service.engine.stats()).unwrap().iter().map(|stats| stats.dead).sum::<u64>();
    let words = ["dead", "discard", "--error", "nobody-1"];
    let with = |more: &[&'static str]| [&words, more].concat();
    assert_eq!(service.table(&with(&["--dry-run"])), "1 dead letter would be discarded\n");
    assert_eq!(service.json(&with(&["--dry-run"]))["jobs"], 1);
    let refused = unasked(&service, &words);
    assert!(
        refused.code == 2 && refused.err.contains("Forget 1 dead letter") && refused.err.contains("--yes"),
        "{refused:?}"
    );
    assert_eq!(dead(), 3, "nothing was changed so far");
    assert_eq!(service.table(&with(&["--yes"])), "1 job discarded\n");
    assert_eq!(dead(), 2);
    service.run(service.engine.pause("mail")).unwrap();
    let done = service.json(&["dead", "requeue", "--all", "--yes", "--rate", "1000"]);
    assert_eq!(
        (&done["jobs"], &done["order"]["changed"], &done["order"]["verb"]),
        (&2.into(), &2.into(), &"requeued".into())
    );
    assert!(done["order"]["ended"].is_string(), "{done}");
    assert_eq!(dead(), 0);
    let placed = service.json(&["dead", "requeue", "--queue", "mail", "--yes", "--no-wait"]);
    assert!(placed["order"]["id"].is_string(), "{placed}");
}

#[test]
fn nobody_means_all_of_them_by_leaving_out_a_word() {
    let service = Service::new();
    for words in [&["dead", "requeue", "--yes"][..], &["dead", "discard", "--yes"]] {
        let ran = unasked(&service, words);
        assert!(ran.code == 2 && ran.err.contains("say which"), "{ran:?}");
    }
    for words in [
        &["dead", "discard", "--all", "--queue", "mail", "--yes"][..],
        &["dead", "discard", "x", "--queue", "mail", "--yes"],
    ] {
        let ran = unasked(&service, words);
        assert!(ran.code == 2 && ran.err.contains("and not two"), "{ran:?}");
    }
}
