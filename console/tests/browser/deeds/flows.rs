//! Flows and their steps.

use windlass::{FlowState, JobState, StepState};
use windlass_console::Action;

use super::were_done;
use crate::driver::browser;
use crate::house::{House, Site, house};

pub(super) const DONE: &[Action] = &[Action::Signal, Action::SkipStep, Action::RetryStep, Action::CancelFlow];

async fn state_of(house: &House, step: &str) -> StepState {
    let status = house.engine.flow::<()>(house.flow).status().await.unwrap();
    status.step(step).unwrap().state
}

#[tokio::test]
async fn a_step_is_signalled_retried_and_skipped_and_the_flow_goes_on() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    let row = |step: &str| format!("//tr[th[contains(., '{step}')]]");
    browser.go(&site.at("/flows")).await;
    browser.follow("//th/a[contains(., 'upload')]").await;
    assert_eq!(browser.count("//*[name()='svg']//*[contains(@class, 'node')]").await, 7);

    browser.open(&row("approved"), "Signal").await;
    browser.fill(&row("approved"), "Payload, as JSON", "{ \"by\": \"ada\" }").await;
    assert!(browser.press(&row("approved"), "Send").await.contains("Signal approved is there"));
    assert_eq!(state_of(&house, "approved").await, StepState::Job(JobState::Done));

    let attempts = async || {
        let status = house.engine.flow::<()>(house.flow).status().await.unwrap();
        let job = status.step("resize").unwrap().job;
        house.is(job, JobState::Dead).await;
        house.status(job).await.attempts
    };
    assert_eq!(attempts().await, 1);
    assert!(browser.press(&row("resize"), "Retry").await.contains("runs once more"));
    assert_eq!(attempts().await, 2);

    browser.go(&site.at(&format!("/flows/{}", house.flow))).await;
    browser.open(&row("resize"), "Skip").await;
    browser.fill(&row("resize"), "As if it had left", "\"nothing to resize\"").await;
    assert!(browser.press(&row("resize"), "Skip").await.contains("goes on without step resize"));
    house.engine.flow::<()>(house.flow).wait_step("publish").await.unwrap();
    assert_eq!(state_of(&house, "publish").await, StepState::Job(JobState::Done));
    were_done(&site, &[Action::Signal, Action::RetryStep, Action::SkipStep]);
    browser.end().await;
}

#[tokio::test]
async fn a_flow_is_called_off() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    browser.go(&site.at(&format!("/flows/{}", house.flow))).await;
    assert!(browser.press_twice("", "Cancel flow").await.contains("is called off"));
    let status = house.engine.flow::<()>(house.flow).status().await.unwrap();
    assert_eq!(status.summary.state, FlowState::Failed, "one of its steps was dead before");
    assert_eq!(state_of(&house, "approved").await, StepState::Job(JobState::Cancelled));
    assert_eq!(browser.count("//button[normalize-space()='Cancel flow']").await, 0);
    were_done(&site, &[Action::CancelFlow]);
    browser.end().await;
}
