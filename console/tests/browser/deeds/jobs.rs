//! What is done to one job.

use std::time::{Duration, SystemTime};

use windlass::{HOUR, JobId, JobState, Priority};
use windlass_console::Action;

use super::were_done;
use crate::driver::{browser, button};
use crate::house::{House, Site, broken, house, text};

pub(super) const DONE: &[Action] = &[
    Action::RunNow,
    Action::Requeue,
    Action::Cancel,
    Action::Discard,
    Action::Edit,
    Action::Reprioritise,
    Action::Reschedule,
    Action::Move,
];

async fn later(house: &House) -> JobId {
    house.engine.enqueue(text("later")).delay(HOUR).await.unwrap().id()
}

#[tokio::test]
async fn what_is_wanted_elsewhere_is_copied() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    let job = later(&house).await;
    browser.go(&site.at(&format!("/jobs/{job}"))).await;
    browser.may_copy().await;
    let payload = browser.text("//section[.//h2[.='Payload']]//pre").await;
    for (name, expected) in [("Copy the id", job.to_string()), ("Copy", payload)] {
        browser.click(&button("", name)).await;
        browser.find(&button("", "Copied")).await;
        assert_eq!(browser.clipboard().await, expected, "{name}");
        // It says what it does again.
        browser.find(&button("", name)).await;
    }
    browser.end().await;
}

#[tokio::test]
async fn a_job_that_waits_is_steered() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    let job = later(&house).await;
    browser.go(&site.at(&format!("/jobs/{job}"))).await;

    browser.open("", "Priority").await;
    browser.fill("//details", "0 is the most urgent", "7").await;
    assert!(browser.press("//details[@open]", "Set").await.contains("reprioritised"));
    assert_eq!(house.status(job).await.priority, Priority(7));

    browser.open("", "Reschedule").await;
    browser.fill("//details[@open]", "Start in seconds", "9000").await;
    let expected = SystemTime::now() + Duration::from_secs(9_000);
    assert!(browser.press("//details[@open]", "Set").await.contains("rescheduled"));
    let due = house.status(job).await.due.unwrap();
    assert!(due.duration_since(expected).unwrap_or_default() < Duration::from_secs(60), "{due:?}");
    assert!(due > SystemTime::now() + 2 * HOUR);

    browser.open("", "Move").await;
    browser.fill("//details[@open]", "To queue", "archive").await;
    assert!(browser.press("//details[@open]", "Move").await.contains("moved"));
    assert_eq!(house.status(job).await.queue, "archive");

    assert!(browser.press("", "Run now").await.contains("run now"));
    house.is(job, JobState::Done).await;
    browser.find("//*[contains(normalize-space(), 'It succeeded.')]").await;
    were_done(&site, &[Action::Reprioritise, Action::Reschedule, Action::Move, Action::RunNow]);
    browser.end().await;
}

#[tokio::test]
async fn a_job_is_called_off_and_forgotten() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    browser.go(&site.at(&format!("/jobs/{}", house.running))).await;
    assert!(browser.press("", "Cancel").await.contains("asked to end"));
    house.is(house.running, JobState::Cancelled).await;
    browser.find("//*[contains(normalize-space(), 'It was called off.')]").await;

    browser.go(&site.at(&format!("/jobs/{}", house.dead))).await;
    assert!(browser.press_twice("", "Discard").await.contains("payload and all"));
    house.engine.job(house.dead).await.unwrap_err();
    assert!(browser.address().await.ends_with("/jobs"));
    were_done(&site, &[Action::Cancel, Action::Discard]);
    browser.end().await;
}

#[tokio::test]
async fn a_dead_letter_is_retried_as_it_is_and_with_another_payload() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    let page = site.at(&format!("/jobs/{}", house.dead));
    browser.go(&page).await;
    assert!(browser.press("", "Requeue").await.contains("requeued"));
    house.is(house.dead, JobState::Dead).await;
    assert_eq!(house.status(house.dead).await.attempts, 2);

    browser.go(&page).await;
    browser.open("", "Edit").await;
    browser.fill("//details[@open]", "Payload, as JSON", "{ \"text\": ").await;
    browser.follow("//button[normalize-space()='Save']").await;
    let problem = browser.text("//*[@role='alert']").await;
    assert!(problem.contains("no JSON") && problem.contains("Nothing was changed"), "{problem}");
    assert_eq!(browser.complaints().await.len(), 1, "the browser says that it was refused");
    assert_eq!(house.status(house.dead).await.attempts, 2);

    let edited = "{ \"text\": \"<b>mended</b>\", \"fails\": false }";
    browser.go(&page).await;
    browser.open("", "Edit").await;
    browser.fill("//details[@open]", "Payload, as JSON", edited).await;
    assert!(browser.press("//details[@open]", "Save").await.contains("another payload, and is requeued"));
    house.is(house.dead, JobState::Done).await;
    browser.find("//pre[contains(., '<b>mended</b>')]").await;

    // Without the box it is only written down.
    let other = house.engine.enqueue(broken("not yet")).await.unwrap();
    other.wait().await.unwrap_err();
    browser.go(&site.at(&format!("/jobs/{}", other.id()))).await;
    browser.open("", "Edit").await;
    browser.fill("//details[@open]", "Payload, as JSON", edited).await;
    browser.click("//label[contains(., 'requeue it')]//input").await;
    assert!(browser.press("//details[@open]", "Save").await.contains("another payload."));
    assert_eq!(house.status(other.id()).await.state, JobState::Dead);
    were_done(&site, &[Action::Requeue, Action::Edit]);
    browser.end().await;
}
