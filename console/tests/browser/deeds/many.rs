//! What is done to many jobs: counted, confirmed, followed, called off.

use windlass::{Filter, JobState};
use windlass_console::Action;

use super::were_done;
use crate::driver::{browser, button, field};
use crate::house::{ARCHIVED, Site, house};

pub(super) const DONE: &[Action] =
    &[Action::Cancel, Action::Requeue, Action::Discard, Action::Reprioritise, Action::CancelOrder];

const FORM: &str = "//form[.//button[contains(., 'Count first')]]";
const CONFIRM: &str = "//form[.//a[normalize-space()='Leave it']]";

#[tokio::test]
async fn many_jobs_are_counted_and_their_number_typed_before_they_are_called_off() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    let cancelled = || house.engine.count(Filter::new().queue("archive").state(JobState::Cancelled));
    browser.go(&site.at("/jobs")).await;
    browser.fill("//form[@role='search']", "Queue", "archive").await;
    browser.follow(&button("//form[@role='search']", "Filter")).await;
    assert!(browser.address().await.ends_with("/jobs?queue=archive"), "what is empty is not said");

    browser.fill(FORM, "Do", "Cancel").await;
    browser.follow(&button(FORM, "Count first…")).await;
    let heading = browser.text("//h1").await;
    assert_eq!(heading, format!("{ARCHIVED} jobs are to be cancelled"));
    browser.follow("//a[normalize-space()='Leave it']").await;
    assert!(browser.address().await.ends_with("/jobs?queue=archive"));

    browser.fill(FORM, "Do", "Cancel").await;
    browser.follow(&button(FORM, "Count first…")).await;
    browser.click(&button(CONFIRM, "Do it")).await;
    browser.until("document.activeElement.name === 'typed'").await;
    browser.fill(CONFIRM, "To do this", "119").await;
    browser.follow(&button(CONFIRM, "Do it")).await;
    browser.find("//*[@role='alert']").await;
    assert!(house.engine.orders().await.unwrap().is_empty());
    browser.complaints().await;

    browser.go(&site.at("/jobs?queue=archive")).await;
    browser.fill(FORM, "Do", "Cancel").await;
    browser.follow(&button(FORM, "Count first…")).await;
    browser.fill(CONFIRM, "To do this", &ARCHIVED.to_string()).await;
    assert!(browser.press(CONFIRM, "Do it").await.contains("An order is under way"));
    house.orders_end().await;
    assert_eq!(cancelled().await.unwrap(), ARCHIVED);
    browser.go(&site.at("/orders")).await;
    browser.find(&format!("//tr[th[normalize-space()='cancelled']]/td[normalize-space()='{ARCHIVED}']")).await;
    were_done(&site, &[Action::Cancel]);
    browser.end().await;
}

#[tokio::test]
async fn an_order_that_takes_long_is_seen_and_called_off() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    browser.go(&site.at("/jobs?queue=archive")).await;
    let priority = field(FORM, "Priority");
    assert!(!browser.is_shown(&priority).await, "only what the chosen verb needs is asked");
    browser.fill(FORM, "Do", "Reprioritise").await;
    assert!(browser.is_shown(&priority).await);
    browser.fill(FORM, "Priority", "9").await;
    browser.fill(FORM, "A second at most", "1").await;
    browser.follow(&button(FORM, "Count first…")).await;
    browser.fill(CONFIRM, "To do this", &ARCHIVED.to_string()).await;
    browser.press(CONFIRM, "Do it").await;
    browser.find("//h2[normalize-space()='Orders under way']").await;

    browser.go(&site.at("/orders")).await;
    assert!(browser.press("//tr[th[normalize-space()='reprioritised']]", "Call off").await.contains("is called off"));
    let orders = house.engine.orders().await.unwrap();
    assert!(orders.len() == 1 && orders[0].ended.is_some() && orders[0].changed < ARCHIVED, "{orders:?}");
    browser
        .until("[...document.querySelectorAll('button')].every((one) => one.textContent.trim() !== 'Call off')")
        .await;
    were_done(&site, &[Action::Reprioritise, Action::CancelOrder]);
    browser.end().await;
}

#[tokio::test]
async fn a_group_of_dead_letters_is_requeued_and_another_one_discarded() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    let dead = |error: &str| house.engine.count(Filter::new().state(JobState::Dead).error(error));
    let group = |said: &str| format!("//section[.//pre[contains(., '{said}')]]");
    browser.go(&site.at("/dead")).await;
    browser.follow(&button(&group("no user"), "Requeue…")).await;
    assert_eq!(browser.text("//h1").await, "3 jobs are to be requeued");
    assert_eq!(browser.count("//input[@name='typed']").await, 0, "so few need no number typed");
    browser.press(CONFIRM, "Do it").await;
    house.orders_end().await;
    house.is(house.dead, JobState::Dead).await;
    assert_eq!(house.status(house.dead).await.attempts, 2);

    browser.go(&site.at("/dead")).await;
    browser.follow(&button(&group("mailbox"), "Discard…")).await;
    assert_eq!(browser.text("//h1").await, "1 job is to be discarded");
    browser.press(CONFIRM, "Do it").await;
    house.orders_end().await;
    assert_eq!(dead("mailbox").await.unwrap(), 0);
    browser.go(&site.at("/dead")).await;
    assert_eq!(browser.count(&group("mailbox")).await, 0);
    were_done(&site, &[Action::Requeue, Action::Discard]);
    browser.end().await;
}
