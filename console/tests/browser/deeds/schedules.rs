//! Schedules.

use windlass::JobState;
use windlass_console::Action;

use super::were_done;
use crate::driver::browser;
use crate::house::{Site, house};

pub(super) const DONE: &[Action] =
    &[Action::RunSchedule, Action::PauseSchedule, Action::ResumeSchedule, Action::RemoveSchedule];

#[tokio::test]
async fn a_schedule_is_run_paused_resumed_and_removed() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    let card = "//section[.//h2[normalize-space()='invoices/nightly']]";
    let status = || house.engine.schedule("invoices/nightly");
    browser.go(&site.at("/schedules")).await;
    assert_eq!(browser.count(&format!("{card}//ol/li")).await, 5);
    assert!(browser.press(card, "Run now").await.contains("enqueued this job just now"));
    let job = browser.address().await.rsplit_once('/').unwrap().1.parse().unwrap();
    house.is(job, JobState::Done).await;

    browser.go(&site.at("/schedules")).await;
    assert!(browser.press(card, "Pause").await.contains("is paused"));
    assert!(status().await.unwrap().is_paused);
    assert!(browser.press(card, "Resume").await.contains("fires again"));
    assert!(!status().await.unwrap().is_paused);
    // A load without the sentence, so that what is left undone leaves none.
    browser.go(&site.at("/schedules")).await;
    assert!(browser.press_twice(card, "Remove").await.contains("is removed"));
    status().await.unwrap_err();
    assert_eq!(browser.count(card).await, 0);
    were_done(&site, DONE);
    browser.end().await;
}
