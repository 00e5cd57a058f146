//! Queues and their limits.

use windlass::{Filter, LimitOf};
use windlass_console::Action;

use super::were_done;
use crate::driver::{browser, button};
use crate::house::{ARCHIVED, House, Site, house};

pub(super) const DONE: &[Action] = &[Action::PauseQueue, Action::ResumeQueue, Action::PurgeQueue, Action::SetLimit];

async fn is_paused(house: &House, queue: &str) -> bool {
    house.engine.stats().await.unwrap().iter().find(|stats| stats.queue.as_str() == queue).unwrap().paused
}

#[tokio::test]
async fn a_queue_is_paused_resumed_and_purged() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    let row = "//tr[th/a[normalize-space()='bulk']]";
    browser.go(&site.at("/queues")).await;
    assert!(browser.press(row, "Pause").await.contains("bulk is paused"));
    assert!(is_paused(&house, "bulk").await && !is_paused(&house, "mail").await);
    browser.find(&format!("{row}//*[contains(., 'paused')]")).await;
    browser.follow(&format!("{row}//a[normalize-space()='bulk']")).await;
    assert!(browser.press("", "Resume").await.contains("bulk hands out jobs again"));
    assert!(!is_paused(&house, "bulk").await);

    let archived = || house.engine.count(Filter::new().queue("archive"));
    browser.go(&site.at("/queue?name=archive")).await;
    let purge = "//form[.//button[normalize-space()='Purge']]";
    browser.click(&button(purge, "Purge")).await;
    assert_eq!(browser.count("//dialog").await, 0, "without its name nothing is even asked");
    browser.fill(purge, "To do this", "bulk").await;
    browser.click(&button(purge, "Purge")).await;
    browser.follow(&button("//dialog", "Purge")).await;
    browser.find("//*[@role='alert']").await;
    assert_eq!(archived().await.unwrap(), ARCHIVED);
    browser.complaints().await;
    browser.go(&site.at("/queue?name=archive")).await;
    browser.fill(purge, "To do this", "archive").await;
    assert!(browser.press_twice(purge, "Purge").await.contains("emptying queue archive"));
    house.orders_end().await;
    assert_eq!(archived().await.unwrap(), 0);
    were_done(&site, &[Action::PauseQueue, Action::ResumeQueue, Action::PurgeQueue]);
    browser.end().await;
}

#[tokio::test]
async fn a_limit_is_set_and_reset() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    let overridden = async || {
        let limits = house.engine.limits().await.unwrap();
        limits.into_iter().find(|limit| limit.of == LimitOf::queue("mail")).unwrap().overridden
    };
    let form = "//form[.//input[@name='scope'][@value='queue'] and .//input[@name='name'][@value='mail']]";
    browser.go(&site.at("/limits")).await;
    for (label, number) in [("Slots", "3"), ("Starts", "5"), ("in seconds", "2.5"), ("at once", "2"), ("Weight", "7")] {
        browser.fill(form, label, number).await;
    }
    assert!(browser.press(form, "Set").await.contains("is as you set it"));
    let set = overridden().await.unwrap();
    let rate = set.rate.unwrap();
    assert_eq!((set.slots, rate.jobs, rate.period_ms, rate.burst, set.weight), (Some(3), 5, 2_500, 2, Some(7)));
    browser.find("//*[contains(normalize-space(), 'set by an operator')]").await;
    browser.go(&site.at("/queue?name=mail")).await;
    assert!(browser.press(form, "Reset").await.contains("is as the code says"));
    assert_eq!(overridden().await, None);
    assert!(browser.address().await.ends_with("/queue?name=mail"), "one stays where one was");
    were_done(&site, &[Action::SetLimit]);
    browser.end().await;
}
