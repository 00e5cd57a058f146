//! Everything that can be done on a page, done there with clicks and keys, and what the engine says of it afterwards.

mod flows;
mod jobs;
mod many;
mod queues;
mod schedules;

use std::collections::BTreeSet;

use windlass_console::Action;

use crate::driver::{Browser, button};
use crate::house::Site;
use crate::wire::ESCAPE;

#[test]
fn all_that_can_be_done_is_done_in_one_of_these() {
    let done = [queues::DONE, jobs::DONE, many::DONE, schedules::DONE, flows::DONE].concat();
    let names = |actions: &[Action]| actions.iter().map(|action| action.as_str()).collect::<BTreeSet<_>>();
    assert_eq!(names(&done), names(&Action::ALL));
}

/// Every action of a list was done, as the console's own notes have it.
fn were_done(site: &Site, actions: &[Action]) {
    let done = site.done();
    for action in actions {
        assert!(done.contains(action), "{action} was not done: {done:?}");
    }
}

impl Browser {
    /// The sentence on what was done.
    async fn said(&self) -> String {
        self.text("//*[@role='status']").await
    }

    /// Clicks a button that sends a form, and gives the sentence on what came of it.
    async fn press(&self, within: &str, text: &str) -> String {
        self.follow(&button(within, text)).await;
        self.said().await
    }

    /// The same for one that asks whether it is meant: first it is not, by the button and by a key, then it is.
    async fn press_twice(&self, within: &str, text: &str) -> String {
        let dialog = "//dialog[@open]";
        for way in ["button", "key"] {
            self.click(&button(within, text)).await;
            self.find(dialog).await;
            if way == "key" {
                self.keys(ESCAPE).await;
            } else {
                self.click(&button(dialog, "Leave it")).await;
            }
            self.until("document.querySelector('dialog') === null").await;
            let is_back: String = self.ask("document.activeElement.innerText").await;
            assert_eq!(is_back, text, "the focus is where it was");
            assert_eq!(self.count("//*[@role='status']").await, 0);
        }
        self.click(&button(within, text)).await;
        self.press(dialog, text).await
    }

    /// Opens what hides behind a word.
    async fn open(&self, within: &str, word: &str) {
        self.click(&format!("{within}//summary[normalize-space()='{word}']")).await;
    }
}
