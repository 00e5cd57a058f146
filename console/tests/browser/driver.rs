//! A browser of its own for each test: chromedriver on a free port, a fresh profile, and a log that says what a page complained of.
//!
//! Owns finding, starting and ending it. Both are ended with the test, by their process ids, whether it passes or panics.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{interval, timeout};

use crate::wire::{Element, Wire};

/// For how long anything is waited for: a busy machine takes seconds, and a right page milliseconds.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_millis(20);
/// Where chromedriver is, besides `PATH` and the folder that GitHub's machines name.
const FOLDERS: [&str; 3] = ["/usr/lib/chromium", "/usr/lib/chromium-browser", "/usr/local/bin"];

/// How a page is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) is_dark: bool,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

pub(crate) const LIGHT: Look = Look { is_dark: false, width: 1_280, height: 800 };
pub(crate) const DARK: Look = Look { is_dark: true, ..LIGHT };
pub(crate) const PHONE: Look = Look { is_dark: false, width: 375, height: 740 };
pub(crate) const PHONE_DARK: Look = Look { is_dark: true, ..PHONE };

/// A browser that is driven.
pub(crate) struct Browser {
    wire: Wire,
    driver: Child,
    _profile: TempDir,
}

/// Ends what it started, whether it was of use or not.
impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends by itself: the pipe to its driver is closed.
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// A browser; or none, which is said once, past the test harness that would swallow it. With `WINDLASS_BROWSER=required` none is a failure.
pub(crate) async fn browser() -> Option<Browser> {
    static SAID: Once = Once::new();
    let why = match Browser::start().await {
        Ok(browser) => return Some(browser),
        Err(why) => why,
    };
    let is_required = std::env::var("WINDLASS_BROWSER").is_ok_and(|word| word == "required");
    assert!(!is_required, "WINDLASS_BROWSER=required, and there is none: {why}");
    SAID.call_once(|| {
        let left_out = format!("\nThe tests of the console in a browser are LEFT OUT: {why}\n");
        let _ = std::io::stderr().write_all(left_out.as_bytes());
    });
    None
}

fn chromedriver() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::var_os("CHROMEWEBDRIVER").map(PathBuf::from).into_iter();
    let folders = folders.chain(std::env::split_paths(&path)).chain(FOLDERS.map(PathBuf::from));
    let mut files = folders.map(|folder| folder.join("chromedriver"));
    files.find(|file| file.is_file()).ok_or_else(|| "chromedriver is not installed; `make setup` tries to".to_owned())
}

/// Starts it on a port that is free, and learns which.
fn started(file: &Path) -> Result<(Child, u16), String> {
    let mut command = Command::new(file);
    command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("{} does not start: {error}", file.display()))?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some((_, port)) = line.split_once("started successfully on port ")
                && let Ok(port) = port.trim_end_matches('.').parse()
            {
                return Ok((child, port));
            }
            said += &line;
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    Err(format!("{} says no port, but: {said}", file.display()))
}

impl Browser {
    async fn start() -> Result<Self, String> {
        let profile = tempfile::tempdir().map_err(|error| error.to_string())?;
        let folder = format!("--user-data-dir={}", profile.path().display());
        let (mut driver, port) = started(&chromedriver()?)?;
        let wire = match Wire::open(port, wanted(&folder)).await {
            Ok(wire) => wire,
            Err(error) => {
                let _ = driver.kill();
                let _ = driver.wait();
                return Err(format!("chromedriver opens no browser: {error}"));
            }
        };
        let browser = Self { wire, driver, _profile: profile };
        browser.look(LIGHT).await;
        Ok(browser)
    }

    /// Ends a test in which no page may have complained.
    pub(crate) async fn end(self) {
        assert_eq!(self.complaints().await, Vec::<String>::new());
        // Asked to end, it takes its files along. It is killed all the same.
        let _ = self.wire.delete("").await;
    }

    /// What pages complained of since somebody asked: errors of scripts, what the policy forbids, what could not be loaded.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.wire.post("/se/log", json!({ "type": "browser" })).await.unwrap();
        let entries = log.as_array().cloned().unwrap_or_default();
        let bad = entries.iter().filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING");
        bad.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    async fn tell(&self, method: &str, params: Value) {
        self.wire.tell(method, params).await.unwrap();
    }

    /// From now on.
    pub(crate) async fn look(&self, look: Look) {
        let scheme = if look.is_dark { "dark" } else { "light" };
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.tell("Emulation.setEmulatedMedia", json!({ "features": features })).await;
        let is_phone = look.width < 600;
        let size = json!({ "width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": is_phone });
        self.tell("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Whether pages run scripts.
    pub(crate) async fn scripts(&self, are_run: bool) {
        self.tell("Emulation.setScriptExecutionDisabled", json!({ "value": !are_run })).await;
    }

    /// Which tab it is.
    pub(crate) async fn tab(&self) -> Value {
        self.wire.get("/window").await.unwrap()
    }

    /// Does something in another tab, which covers this one meanwhile.
    pub(crate) async fn covered(&self, deed: impl AsyncFnOnce()) {
        let own = self.tab().await;
        let other = self.wire.post("/window/new", json!({ "type": "tab" })).await.unwrap();
        self.wire.post("/window", json!({ "handle": other["handle"] })).await.unwrap();
        deed().await;
        self.wire.delete("/window").await.unwrap();
        self.wire.post("/window", json!({ "handle": own })).await.unwrap();
    }

    pub(crate) async fn go(&self, address: &str) {
        self.wire.post("/url", json!({ "url": address })).await.unwrap();
    }

    pub(crate) async fn address(&self) -> String {
        text(self.wire.get("/url").await.unwrap())
    }

    /// What an expression of JavaScript comes to on the page.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, expression: &str) -> T {
        self.ask_with(expression, vec![]).await
    }

    pub(crate) async fn ask_with<T: DeserializeOwned>(&self, expression: &str, arguments: Vec<Value>) -> T {
        let answer = self.wire.run(&format!("return {expression}"), arguments).await.unwrap();
        serde_json::from_value(answer).unwrap()
    }

    /// Waits until an expression is true, on this page or on the one that follows.
    pub(crate) async fn until(&self, expression: &str) {
        let script = format!("return Boolean({expression})");
        self.wait(expression, async || {
            // While a page goes and another comes there is nobody to answer.
            self.wire.run(&script, vec![]).await.ok().filter(|answer| *answer == true)
        })
        .await;
    }

    /// Waits for something that a person could see.
    pub(crate) async fn find(&self, xpath: &str) -> Element {
        self.wait(xpath, async || self.shown(xpath).await).await
    }

    async fn shown(&self, xpath: &str) -> Option<Element> {
        for element in self.wire.all(xpath).await.ok()? {
            if self.wire.of(&element, "displayed").await.is_ok_and(|is_seen| is_seen == true) {
                return Some(element);
            }
        }
        None
    }

    async fn wait<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let found = async {
            let mut turns = interval(EVERY);
            loop {
                turns.tick().await;
                if let Some(found) = look().await {
                    return found;
                }
            }
        };
        let Ok(found) = timeout(WITHIN, found).await else {
            let shown: String = self.ask("document.body.innerText").await;
            panic!("{what} did not come at {}, where stands:\n{shown}", self.address().await);
        };
        found
    }

    pub(crate) async fn count(&self, xpath: &str) -> usize {
        self.wire.all(xpath).await.unwrap().len()
    }

    pub(crate) async fn is_shown(&self, xpath: &str) -> bool {
        self.wire.of(&self.wire.all(xpath).await.unwrap()[0], "displayed").await.unwrap() == true
    }

    /// The text of the first one, as it is seen.
    pub(crate) async fn text(&self, xpath: &str) -> String {
        let read = async || self.wire.of(&self.shown(xpath).await?, "text").await.ok();
        text(self.wait(xpath, read).await)
    }

    pub(crate) async fn click(&self, xpath: &str) {
        // The live update may put another one in its place between the look and the click.
        self.wait(xpath, async || {
            let element = self.shown(xpath).await?;
            self.wire.to(&element, "click", json!({})).await.ok()
        })
        .await;
    }

    pub(crate) async fn focus(&self, xpath: &str) {
        let focus = async || self.wire.run("arguments[0].focus()", vec![self.shown(xpath).await?.json()]).await.ok();
        self.wait(xpath, focus).await;
    }

    /// Clicks what leads to another page, and waits until that one is there.
    pub(crate) async fn follow(&self, xpath: &str) {
        self.leave(async || self.click(xpath).await).await;
    }

    /// Does what leads to another page, and waits until that one is there.
    pub(crate) async fn leave(&self, deed: impl AsyncFnOnce()) {
        self.wire.run("document.documentElement.dataset.old = 'yes'", vec![]).await.unwrap();
        deed().await;
        self.until("document.readyState === 'complete' && document.documentElement.dataset.old === undefined").await;
    }

    /// Puts a text into the field with this label, in place of what stands there; of a list, chooses it.
    pub(crate) async fn fill(&self, within: &str, label: &str, text: &str) {
        let xpath = field(within, label);
        let element = self.find(&xpath).await;
        if self.wire.of(&element, "name").await.unwrap() == "select" {
            self.click(&format!("{xpath}/option[normalize-space()='{text}']")).await;
            return;
        }
        let fill = async || {
            let element = self.shown(&xpath).await?;
            self.wire.to(&element, "clear", json!({})).await.ok()?;
            self.wire.to(&element, "value", json!({ "text": text })).await.ok()
        };
        self.wait(&xpath, fill).await;
    }

    /// Keys, to whatever has the focus.
    pub(crate) async fn keys(&self, keys: &str) {
        self.wire.keys(keys).await.unwrap();
    }

    /// Pages may copy and paste: a person would be asked, if at all.
    pub(crate) async fn may_copy(&self) {
        let permissions = json!(["clipboardReadWrite", "clipboardSanitizedWrite"]);
        self.tell("Browser.grantPermissions", json!({ "permissions": permissions })).await;
    }

    /// What was copied last.
    pub(crate) async fn clipboard(&self) -> String {
        self.ask("navigator.clipboard.readText()").await
    }

    /// A picture, as PNG.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        let encoded = text(self.wire.get("/screenshot").await.unwrap());
        BASE64_STANDARD.decode(encoded).unwrap()
    }
}

fn text(value: Value) -> String {
    serde_json::from_value(value).unwrap()
}

/// The field with this label.
pub(crate) fn field(within: &str, label: &str) -> String {
    format!(
        "{within}//label[starts-with(normalize-space(), '{label}')]//*[self::input or self::select or self::textarea]"
    )
}

/// The button with this text.
pub(crate) fn button(within: &str, text: &str) -> String {
    format!("{within}//button[normalize-space()='{text}']")
}

fn wanted(folder: &str) -> Value {
    // Root has no sandbox, a container little shared memory. The pipe ends the browser with its driver.
    let arguments = [
        "--headless",
        "--hide-scrollbars",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-extensions",
        "--no-first-run",
        "--disable-background-networking",
        "--remote-debugging-pipe",
        "--lang=en",
        folder,
    ];
    json!({
        "goog:chromeOptions": { "args": arguments },
        "goog:loggingPrefs": { "browser": "ALL" },
        // A dialog that no test expects is left open: whatever comes next fails.
        "unhandledPromptBehavior": "ignore",
    })
}
