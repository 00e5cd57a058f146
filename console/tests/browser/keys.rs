//! The console without a mouse.

use crate::driver::{Browser, PHONE, browser};
use crate::house::{Site, house};
use crate::wire::{ENTER, TAB};

#[tokio::test]
async fn a_slash_brings_to_the_filter_and_writes_one_where_somebody_writes() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    for path in ["/jobs?kind=mail.send", "/dead?kind=mail.send"] {
        browser.go(&site.at(path)).await;
        browser.keys("/").await;
        assert_eq!(browser.focused("name").await, "kind", "{path}");
        assert_eq!(browser.value().await, "mail.send", "{path}: the slash is none of the text");
        browser.keys("a/b").await;
        assert_eq!(browser.value().await, "a/b", "{path}: what stood there was selected");
        browser.leave(async || browser.keys(ENTER).await).await;
        assert!(browser.address().await.contains("kind=a%2Fb"), "{}", browser.address().await);
    }
    // Where there is no filter it is nobody's.
    browser.go(&site.at("/audit")).await;
    browser.keys("/").await;
    assert_eq!(browser.ask::<String>("document.activeElement.tagName").await, "BODY");
    browser.end().await;
}

#[tokio::test]
async fn the_tabulator_reaches_everything_in_the_order_in_which_it_stands() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    browser.go(&site.at("/queues")).await;
    browser.keys(TAB).await;
    assert_eq!(browser.focused("href").await, "#main");
    assert!(browser.is_whole("document.activeElement").await, "the way past the navigation is seen");
    browser.keys(ENTER).await;
    browser.until("document.activeElement.id === 'main'").await;
    for expected in ["mail", "Pause", "bulk", "Pause", "archive", "Pause"] {
        browser.tab_to(expected).await;
    }

    browser.go(&site.at(&format!("/jobs/{}", house.delayed))).await;
    for expected in ["Run now", "Cancel", "Discard", "Priority"] {
        browser.tab_to(expected).await;
    }
    browser.keys(ENTER).await;
    browser.keys(TAB).await;
    assert_eq!(browser.focused("name").await, "priority");
    browser.leave(async || browser.keys(ENTER).await).await;
    browser.find("//*[@role='status'][contains(., 'reprioritised')]").await;

    // Of a dialog, nothing behind it.
    browser.go(&site.at(&format!("/jobs/{}", house.delayed))).await;
    browser.tab_to("Discard").await;
    browser.keys(ENTER).await;
    browser.until("document.activeElement.closest('dialog') !== null").await;
    assert_eq!(browser.ask::<String>("document.activeElement.innerText").await, "Leave it");
    browser.keys(ENTER).await;
    browser.until("document.querySelector('dialog') === null").await;
    assert_eq!(browser.ask::<String>("document.activeElement.innerText").await, "Discard");
    browser.end().await;
}

#[tokio::test]
async fn on_a_phone_nothing_that_can_be_done_is_out_of_reach() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    browser.look(PHONE).await;
    browser.go(&site.at(&format!("/flows/{}", house.flow))).await;
    browser.click("//tr[th[contains(., 'approved')]]//summary[normalize-space()='Signal']").await;
    let wide: u32 = browser.ask("document.documentElement.scrollWidth").await;
    assert!(wide <= PHONE.width, "with a menu open: {wide}");
    browser.follow("//details[@open]//button[normalize-space()='Send']").await;
    browser.find("//*[@role='status'][contains(., 'Signal approved is there')]").await;
    browser.end().await;
}

impl Browser {
    async fn focused(&self, attribute: &str) -> String {
        self.ask(&format!("document.activeElement.getAttribute('{attribute}') ?? document.activeElement.outerHTML"))
            .await
    }

    async fn value(&self) -> String {
        self.ask("document.activeElement.value").await
    }

    /// Whether all of an element is on the screen.
    async fn is_whole(&self, element: &str) -> bool {
        let within =
            "(({ top, left, bottom, right }) => top >= 0 && left >= 0 && bottom <= innerHeight && right <= innerWidth)";
        self.ask(&format!("{within}({element}.getBoundingClientRect())")).await
    }

    /// Presses the tabulator until the focus is on what has this text; what else can be focused may lie between.
    async fn tab_to(&self, text: &str) {
        for _ in 0..40 {
            self.keys(TAB).await;
            let at: String = self.ask("document.activeElement.innerText?.trim() ?? ''").await;
            if at == text {
                let outline: String = self.ask("getComputedStyle(document.activeElement).outlineStyle").await;
                assert_ne!(outline, "none", "one sees where one is");
                return;
            }
        }
        panic!("{text} is not reached");
    }
}
