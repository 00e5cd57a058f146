//! Every page, at the root and below a prefix, light and dark, on a desk and on a phone: none complains, none has to be pushed sideways.

use windlass_console::Identity;

use crate::driver::{Browser, DARK, LIGHT, PHONE, PHONE_DARK, browser};
use crate::house::{BASES, Site, house, pages_of};

#[tokio::test]
async fn every_page_opens_without_a_complaint_at_the_root() {
    every_page_opens(BASES[0]).await;
}

#[tokio::test]
async fn every_page_opens_without_a_complaint_below_a_prefix() {
    every_page_opens(BASES[1]).await;
}

async fn every_page_opens(base: &'static str) {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of(house.console(Identity::operator("ada")), base).await;
    for path in pages_of(&house) {
        browser.look(LIGHT).await;
        browser.go(&site.at(&path)).await;
        assert!(browser.ask::<String>("document.title").await.ends_with("· Windlass staging"), "{path}");
        is_styled(&browser, &path).await;
        for look in [LIGHT, DARK, PHONE, PHONE_DARK] {
            browser.look(look).await;
            is_seen_well(&browser, look.width, &path).await;
            assert_eq!(browser.complaints().await, Vec::<String>::new(), "{path} {look:?}");
        }
    }
    browser.end().await;
}

/// Style sheet, script and pictures came.
async fn is_styled(browser: &Browser, path: &str) {
    assert_eq!(browser.ask::<String>("getComputedStyle(document.body).display").await, "grid", "{path}");
    let pictures = "[...document.images].every((image) => image.complete && image.naturalWidth > 0)";
    browser.until(pictures).await;
    // The sign comes with the first word of the stream.
    let is_said = "document.querySelector('[data-live-sign]').checkVisibility()";
    browser.until(&format!("(document.querySelector('[data-live]') !== null) === {is_said}")).await;
}

/// Nothing is wider than the page, no text is as its ground, and what stands in one cell stands in no other.
async fn is_seen_well(browser: &Browser, width: u32, path: &str) {
    let wide: u32 = browser.ask("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)").await;
    assert!(wide <= width, "{path} is {wide} wide where there is room for {width}");
    let faint: Vec<String> = browser.ask(FAINT).await;
    assert!(faint.is_empty(), "{path} at {width}: {faint:?}");
}

/// Texts with less contrast than 4.5 to 1 (WCAG AA), with what they are.
const FAINT: &str = "(() => {
    const rgb = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
    const light = ([r, g, b]) => {
        const part = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    };
    const ground = (element) => {
        for (let at = element; at !== null; at = at.parentElement) {
            const colour = rgb(getComputedStyle(at).backgroundColor);
            if (colour.length === 3) return colour;
        }
        return [255, 255, 255];
    };
    const faint = new Set();
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text !== null; text = texts.nextNode()) {
        const element = text.parentElement;
        if (text.data.trim() === '' || element.closest('svg, option, datalist') || !element.checkVisibility()) continue;
        const [one, other] = [light(rgb(getComputedStyle(element).color)), light(ground(element))];
        const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (contrast < 4.5) faint.add(`${text.data.trim().slice(0, 40)}: ${contrast.toFixed(1)}`);
    }
    return [...faint];
})()";

/// The tests above would pass if nobody wrote complaints down.
#[tokio::test]
async fn what_the_policy_forbids_and_what_is_not_there_is_written_down() {
    let Some(browser) = browser().await else { return };
    let house = house().await;
    let site = Site::of_ada(&house).await;
    browser.go(&site.at("/queues")).await;
    assert!(browser.complaints().await.is_empty());
    let bad =
        "document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">x</p><img src=\"/nothing.png\">')";
    browser.ask::<Option<bool>>(bad).await;
    browser.until("document.querySelector('img[src=\"/nothing.png\"]').complete").await;
    let complaints = browser.complaints().await.join("\n");
    assert!(complaints.contains("Content Security Policy") && complaints.contains("nothing.png"), "{complaints}");
    browser.go(&site.at("/nothing")).await;
    assert!(browser.complaints().await.join("\n").contains("404"));
    assert_eq!(browser.ask::<String>("document.querySelector('h1').textContent").await, "not there");
    browser.end().await;
}
