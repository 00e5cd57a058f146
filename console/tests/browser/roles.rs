//! Who comes in, by a token or from this machine, and what each of them is offered. And the pages where no script runs.

use windlass::Filter;
use windlass_console::{Access, Action, Console, Identity, Token};

use crate::driver::{Browser, browser, button};
use crate::house::{House, Site, house, pages_of};

const READS: &str = "a token of somebody who looks: 0123456789";
const STEERS: &str = "a token of somebody who steers: 012345";

async fn site_of_two(house: &House) -> Site {
    let tokens = [Token::reader("eve", READS).unwrap(), Token::operator("ada", STEERS).unwrap()];
    let console = Console::new(house.engine.clone(), Access::tokens(tokens)).environment("production");
    Site::of(console, "/console").await
}

/// What sends a POST from the page as a script of it could, and gives the status.
async fn sends(browser: &Browser, site: &Site, path: &str, fields: &str) -> u16 {
    let script = "(async () => (await fetch(arguments[0], { method: 'POST', body: new URLSearchParams(arguments[1]) })).status)()";
    browser.ask_with(script, vec![site.at(path).into(), fields.into()]).await
}

#[tokio::test]
async fn who_only_looks_is_offered_nothing_else_and_refused_when_they_try() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = site_of_two(&house).await;
    let said = READS.replace(' ', "%20");
    for path in pages_of(&house) {
        browser.go(&site.at_as(&said, &path)).await;
        assert_eq!(browser.count("//*[contains(@class, 'role')][normalize-space()='reader']").await, 1, "{path}");
        // What is seen may be copied.
        let buttons = "//main//button[not(ancestor::form[@role='search'])][not(@data-copy)]";
        let offered = browser.count(&format!("//form[@method='post'] | {buttons}")).await;
        assert_eq!(offered, 0, "{path}");
    }
    assert!(browser.complaints().await.is_empty());
    for fields in ["verb=pause&queue=mail", "verb=pause&queue=mail&token=nonsense"] {
        assert_eq!(sends(&browser, &site, "/queues", fields).await, 403);
    }
    assert!(browser.complaints().await.iter().all(|complaint| complaint.contains("403")));
    assert!(house.engine.stats().await.unwrap().iter().all(|queue| !queue.paused));
    browser.end().await;
}

#[tokio::test]
async fn who_steers_comes_in_by_a_token_and_is_offered_what_they_may() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = site_of_two(&house).await;
    browser.go(&site.at_as(&STEERS.replace(' ', "%20"), "/queues")).await;
    browser.follow(&button("//tr[th/a[normalize-space()='mail']]", "Pause")).await;
    browser.find("//*[@role='status'][contains(., 'mail is paused')]").await;
    assert_eq!(site.console.audit(1)[0].who, "ada");
    browser.until("document.querySelector('[data-live-sign]').textContent === 'live'").await;

    let some = Identity::only("bob", &[Action::RunNow]);
    let site = Site::of(house.console(some), "/console").await;
    browser.go(&site.at(&format!("/jobs/{}", house.delayed))).await;
    assert_eq!(browser.count(&button("//main", "Run now")).await, 1);
    assert_eq!(browser.count("//main//button[not(@data-copy)] | //main//summary").await, 1, "nothing besides");
    browser.end().await;
}

#[tokio::test]
async fn who_has_no_token_or_comes_by_another_name_stays_out() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = site_of_two(&house).await;
    browser.go(&site.at_as("not%20a%20token%20that%20anybody%20has%20here", "/queues")).await;
    let shown: String = browser.ask("document.body.innerText").await;
    assert!(!shown.contains("archive"), "{shown}");
    let own = Site::of_ada(&house).await;
    browser.go(&own.at("/queues")).await;
    browser.find("//th/a[normalize-space()='archive']").await;
    // A name that somebody else gave this machine.
    browser.go(&own.at("/queues").replace("127.0.0.1", "console.localhost")).await;
    browser.find("//h1[normalize-space()='another host']").await;
    browser.complaints().await;
    browser.end().await;
}

#[tokio::test]
async fn without_scripts_everything_is_there_and_is_done() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    browser.scripts(false).await;
    browser.go(&site.at("")).await;
    browser.find("//dl//a[contains(@href, 'state=ready')]").await;
    browser.find("//figure//img").await;
    browser.visit("//nav//a[normalize-space()='Jobs']", "/jobs").await;
    assert_eq!(browser.count("//*[@data-live-sign][not(@hidden)]").await, 0, "it is not live, and does not say so");
    browser.fill("//form[@role='search']", "Queue", "archive").await;
    browser.click(&button("//form[@role='search']", "Filter")).await;
    browser.find("//h2[contains(., 'jobs that meet this filter')]").await;
    let form = "//form[.//button[contains(., 'Count first')]]";
    browser.fill(form, "Do", "Discard").await;
    browser.click(&button(form, "Count first…")).await;
    browser.find("//h1[normalize-space()='0 jobs are to be discarded']").await;

    browser.go(&site.at(&format!("/jobs/{}", house.dead))).await;
    browser.click(&button("", "Discard")).await;
    browser.find("//*[@role='status'][contains(., 'payload and all')]").await;
    house.engine.job(house.dead).await.unwrap_err();
    assert_eq!(house.engine.count(Filter::new().queue("archive")).await.unwrap(), crate::house::ARCHIVED);
    browser.go(&site.at(&format!("/flows/{}", house.flow))).await;
    browser.click("//tr[th[contains(., 'approved')]]//summary[normalize-space()='Signal']").await;
    browser.click(&button("//details[@open]", "Send")).await;
    browser.find("//*[@role='status'][contains(., 'Signal approved is there')]").await;
    browser.end().await;
}

impl Browser {
    /// Follows a link where no script can say that the page has changed.
    async fn visit(&self, link: &str, to: &str) {
        self.click(link).await;
        self.find("//h1[normalize-space()='Jobs']").await;
        assert!(self.address().await.ends_with(to));
    }
}
