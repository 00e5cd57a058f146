//! `WebDriver`, as far as these tests want it: JSON over HTTP, to a chromedriver of this machine.
//!
//! Owns the words of the protocol, and nothing of what they are used for.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What stands before an element's name in JSON; the standard chose it.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A key of its own, as the standard writes it.
pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const ESCAPE: &str = "\u{e00c}";

type Answer<T> = Result<T, String>;

/// A session with a browser.
pub(crate) struct Wire {
    port: u16,
    session: String,
}

/// Something on a page.
#[derive(Clone)]
pub(crate) struct Element(Value);

impl Wire {
    pub(crate) async fn open(port: u16, capabilities: Value) -> Answer<Self> {
        let wants = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let answer = call(port, "POST", "/session", &wants).await?;
        let session = answer["sessionId"].as_str().ok_or("no session has a name")?.to_owned();
        Ok(Self { port, session })
    }

    async fn send(&self, method: &str, path: &str, body: &Value) -> Answer<Value> {
        call(self.port, method, &format!("/session/{}{path}", self.session), body).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer<Value> {
        self.send("POST", path, &body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer<Value> {
        self.send("GET", path, &Value::Null).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer<Value> {
        self.send("DELETE", path, &Value::Null).await
    }

    /// What a body of a function in JavaScript gives back; of a promise, what that comes to.
    pub(crate) async fn run(&self, script: &str, arguments: Vec<Value>) -> Answer<Value> {
        self.post("/execute/sync", json!({ "script": script, "args": arguments })).await
    }

    /// A word of Chromium's own protocol.
    pub(crate) async fn tell(&self, method: &str, params: Value) -> Answer<Value> {
        self.post("/goog/cdp/execute", json!({ "cmd": method, "params": params })).await
    }

    pub(crate) async fn all(&self, xpath: &str) -> Answer<Vec<Element>> {
        let found = self.post("/elements", json!({ "using": "xpath", "value": xpath })).await?;
        Ok(found.as_array().into_iter().flatten().cloned().map(Element).collect())
    }

    pub(crate) async fn of(&self, element: &Element, what: &str) -> Answer<Value> {
        self.get(&format!("/element/{}/{what}", element.name())).await
    }

    pub(crate) async fn to(&self, element: &Element, deed: &str, body: Value) -> Answer<Value> {
        self.post(&format!("/element/{}/{deed}", element.name()), body).await
    }

    /// Each character as a key that goes down and up.
    pub(crate) async fn keys(&self, keys: &str) -> Answer<Value> {
        let down_and_up = |key: char| ["keyDown", "keyUp"].map(|what| json!({ "type": what, "value": key }));
        let actions: Vec<_> = keys.chars().flat_map(down_and_up).collect();
        self.post("/actions", json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": actions }] })).await
    }
}

impl Element {
    fn name(&self) -> &str {
        self.0[ELEMENT].as_str().unwrap_or_default()
    }

    /// As an argument of a script.
    pub(crate) fn json(&self) -> Value {
        self.0.clone()
    }
}

/// One question on a connection of its own, and what its answer says.
async fn call(port: u16, method: &str, path: &str, body: &Value) -> Answer<Value> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let answered = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all((head + &body).as_bytes()).await?;
        read(&mut stream).await
    };
    let bytes = answered.await.map_err(|error| format!("{method} {path}: {error}"))?;
    let mut answer: Value = serde_json::from_slice(&bytes).map_err(|error| format!("{method} {path}: {error}"))?;
    match answer["value"]["error"].as_str() {
        Some(error) => Err(format!("{error}: {}", answer["value"]["message"])),
        None => Ok(answer["value"].take()),
    }
}

/// The body of an answer, as long as its head says.
async fn read(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let length: usize = length.ok_or_else(|| std::io::Error::other("an answer without its length"))?;
            if bytes.len() >= end + length {
                return Ok(bytes[end..end + length].to_vec());
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
