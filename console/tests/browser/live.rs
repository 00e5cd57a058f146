//! A page that is open while the engine works: it changes by itself, and leaves alone what somebody is at.

use windlass::{Filter, Priority};

use crate::driver::{Browser, LIGHT, Look, PHONE, browser, button};
use crate::house::{House, Site, broken, house, text};

/// The page is the same one: it was not loaded again.
const MARK: &str = "(document.documentElement.dataset.mark = 'same', true)";
const IS_SAME: &str = "document.documentElement.dataset.mark === 'same'";

async fn another_dies(house: &House, of: &str) {
    house.engine.enqueue(broken(of)).await.unwrap().wait().await.unwrap_err();
}

#[tokio::test]
async fn pages_change_by_themselves_while_the_engine_works() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    browser.stay(&site.at(&format!("/jobs/{}", house.delayed))).await;
    house.engine.run_now(house.delayed).await.unwrap();
    browser.shows("It succeeded.").await;
    assert_eq!(browser.count("//main//button[normalize-space()='Run now']").await, 0, "what was possible is no more");

    browser.stay(&site.at("/queues")).await;
    house.engine.pause("bulk").await.unwrap();
    browser.find("//tr[th/a[normalize-space()='bulk']]//button[normalize-space()='Resume']").await;

    browser.stay(&site.at("/workers")).await;
    house.engine.cancel(house.running).await.unwrap();
    browser.shows("Nothing runs.").await;

    browser.stay(&site.at(&format!("/flows/{}", house.flow))).await;
    house.engine.signal(house.flow, "approved", &1).await.unwrap();
    browser.until("document.querySelectorAll('.node.s-done').length === 3").await;

    browser.stay(&site.at("/schedules")).await;
    house.engine.pause_schedule("probe").await.unwrap();
    browser.find("//section[.//h2='probe']//button[normalize-space()='Resume']").await;

    browser.stay(&site.at("/orders")).await;
    house.engine.steer_all(windlass::Verb::Cancel, Filter::new().queue("archive")).await.unwrap();
    browser.find("//tr[th[normalize-space()='cancelled']]").await;

    browser.stay(&site.at("")).await;
    another_dies(&house, "no more ink").await;
    browser.until("[...document.querySelectorAll('dl > div')].find((tile) => tile.innerText.startsWith('Dead')).innerText.includes('6')").await;
    assert!(browser.ask::<bool>(IS_SAME).await);
    browser.end().await;
}

#[tokio::test]
async fn a_log_that_somebody_has_closed_stays_closed_while_its_attempt_goes_on() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    browser.stay(&site.at(&format!("/jobs/{}", house.running))).await;
    browser.find("//li[contains(., 'Attempt 1 runs')]//ol/li[contains(., 'info') and contains(., 'watches')]").await;
    browser.click("//summary[normalize-space()='1 line of log']").await;
    let timeline = "document.querySelector('[data-live=timeline]').innerText";
    let before: String = browser.ask(timeline).await;
    assert!(!before.contains("watches"));
    browser.until(&format!("{timeline} !== {}", serde_json::json!(before))).await;
    assert!(!browser.ask::<bool>("document.querySelector('[data-live=timeline] details').open").await);
    assert_eq!(browser.ask::<String>("document.activeElement.innerText").await, "1 line of log");
    assert!(browser.ask::<bool>(IS_SAME).await);
    browser.end().await;
}

#[tokio::test]
async fn what_somebody_is_at_is_left_alone() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    // A menu that is open, with something typed into it; a form, and what is selected.
    browser.stay(&site.at(&format!("/jobs/{}", house.delayed))).await;
    browser.click("//summary[normalize-space()='Priority']").await;
    browser.fill("//details[@open]", "0 is the most urgent", "42").await;
    house.engine.reprioritise(house.delayed, Priority(3)).await.unwrap();
    browser.until("document.querySelector('[data-live=facts]').innerText.match(/Priority\\s+3/)").await;
    assert_eq!(browser.ask::<String>("document.querySelector('details[open] input.number').value").await, "42");
    browser.click("//summary[normalize-space()='Priority']").await;
    browser.click("//summary[normalize-space()='Edit']").await;
    browser.fill("//details[@open]", "Payload, as JSON", "{ half").await;
    house.engine.reprioritise(house.delayed, Priority(4)).await.unwrap();
    browser.until("document.querySelector('[data-live=facts]').innerText.match(/Priority\\s+4/)").await;
    assert_eq!(browser.ask::<String>("document.activeElement.value").await, "{ half");

    // A list that is scrolled, with the focus on a link in it.
    browser.look(Look { height: 500, ..LIGHT }).await;
    browser.stay(&site.at("/jobs?queue=archive")).await;
    browser.ask::<bool>("(document.querySelectorAll('tbody th a')[30].focus(), scrollTo(0, 700), true)").await;
    let at: String = browser.ask("document.activeElement.href").await;
    let below: String = browser.ask("document.querySelectorAll('tbody th a')[45].href").await;
    house.engine.cancel(below.rsplit_once('/').unwrap().1.parse().unwrap()).await.unwrap();
    browser.until(&format!("document.querySelectorAll('tbody th a')[45].href !== '{below}'")).await;
    assert_eq!(browser.ask::<String>("document.activeElement.href").await, at);
    assert_eq!(browser.ask::<u32>("scrollY").await, 700);

    // A button that has the focus, and goes on meaning what it meant: now in another row.
    browser.stay(&site.at("/schedules")).await;
    let remove = "//section[.//h2='probe']//button[normalize-space()='Remove']";
    browser.focus(remove).await;
    house.engine.remove_schedule("invoices/nightly").await.unwrap();
    browser.until("!document.querySelector('main').innerText.includes('invoices/nightly')").await;
    let focused: String = browser.ask("document.activeElement.closest('section').querySelector('h2').innerText").await;
    assert_eq!(focused, "probe");
    assert_eq!(browser.ask::<String>("document.activeElement.innerText").await, "Remove");

    // A dialog that asks.
    browser.stay(&site.at(&format!("/jobs/{}", house.dead))).await;
    browser.click(&button("", "Discard")).await;
    browser.find("//dialog[@open]").await;
    browser.click(&button("//dialog", "Leave it")).await;
    assert!(browser.ask::<bool>(IS_SAME).await);
    browser.end().await;
}

#[tokio::test]
async fn a_table_that_was_pushed_sideways_stays_where_it_is() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    browser.look(PHONE).await;
    for (path, change) in [("/jobs?state=dead", "no more ink"), ("/queues", "no more paper")] {
        browser.stay(&site.at(path)).await;
        let pushed = "document.querySelector('main .scroll:has(table)').scrollLeft";
        browser.ask::<u32>(&format!("({pushed} = 90)")).await;
        assert_eq!(browser.ask::<u32>(pushed).await, 90, "{path} is wider than a phone");
        let before: String = browser.ask("document.querySelector('tbody').innerText").await;
        another_dies(&house, change).await;
        browser.until(&format!("document.querySelector('tbody').innerText !== {}", serde_json::json!(before))).await;
        assert_eq!(browser.ask::<u32>(pushed).await, 90, "{path}");
    }
    browser.end().await;
}

#[tokio::test]
async fn nobody_is_asked_while_nobody_looks_and_the_sign_says_when_nobody_answers() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    browser.stay(&site.at("/jobs?tag=late")).await;
    let seen = |word: &str| {
        format!(
            "(Object.defineProperty(document, 'visibilityState', {{ get: () => '{word}', configurable: true }}), \
                 document.dispatchEvent(new Event('visibilitychange')), true)"
        )
    };
    browser.ask::<bool>(&seen("hidden")).await;
    let hidden = browser.tab().await;
    house.engine.enqueue(text("late")).tag("late").await.unwrap();
    browser
        .covered(async || {
            // Another page has asked several times meanwhile.
            browser.stay(&site.at("/jobs?tag=late")).await;
            for number in 2..4 {
                house.engine.enqueue(text("late")).tag("late").await.unwrap();
                browser.until(&format!("document.querySelectorAll('tbody tr').length === {number}")).await;
            }
        })
        .await;
    assert_eq!(browser.tab().await, hidden);
    assert_eq!(browser.count("//tbody/tr").await, 0);
    browser.ask::<bool>(&seen("visible")).await;
    browser.until("document.querySelectorAll('tbody tr').length === 3").await;
    assert!(browser.complaints().await.is_empty());

    let sign = "document.querySelector('[data-live-sign]').innerText";
    assert_eq!(browser.ask::<String>(sign).await, "live");
    site.stop().await;
    browser.until(&format!("{sign} === 'not live'")).await;
    browser.complaints().await;
    browser.end().await;
}

impl Browser {
    /// Goes there, and stays.
    async fn stay(&self, address: &str) {
        self.go(address).await;
        self.ask::<bool>(MARK).await;
    }

    async fn shows(&self, text: &str) {
        self.until(&format!("document.querySelector('main').innerText.includes('{text}')")).await;
    }
}
