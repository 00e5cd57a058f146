//! The people who use the shop. They come at their own pace, and repeat as new what was not answered.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::Failure;
use crate::service::Service;

/// One request every so often while it is busy: faster than mails go out, so that they pile up.
const BUSY_EVERY: Duration = Duration::from_millis(40);
/// And when it is calm.
const CALM_EVERY: Duration = Duration::from_millis(100);
/// How long someone waits who got no answer.
const BREATH: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(60);

/// What someone was promised.
#[derive(Clone, Debug)]
pub(crate) enum Promise {
    /// A mail to this address.
    Mail(String),
    /// Thumbnails of this picture.
    Thumbnails(String),
}

/// A request that was answered with 201.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) promise: Promise,
    pub(crate) job_id: String,
    /// From the request to the answer.
    pub(crate) took: Duration,
    pub(crate) is_calm: bool,
}

#[derive(Deserialize)]
struct Answer {
    job_id: String,
    photo_id: Option<String>,
}

pub(crate) struct Crowd {
    service: Arc<Service>,
    accepted: Mutex<Vec<Accepted>>,
    count: watch::Sender<usize>,
    unanswered: AtomicUsize,
}

/// What is asked for.
#[derive(Clone)]
enum Wish {
    SignUp(usize),
    Picture(Arc<[u8]>),
}

impl Crowd {
    pub(crate) fn new(service: Arc<Service>) -> Self {
        let (accepted, count, unanswered) = (Mutex::default(), watch::Sender::default(), AtomicUsize::new(0));
        Self { service, accepted, count, unanswered }
    }

    /// All at their own pace, whatever happens to the shop. Returns when everybody has got an answer.
    pub(crate) async fn rush(self: Arc<Self>, sign_ups: usize, pictures: Vec<Arc<[u8]>>) -> Result<(), Failure> {
        let mut wishes: Vec<Wish> = (0..sign_ups).map(Wish::SignUp).collect();
        let apart = wishes.len() / pictures.len().max(1);
        for (no, picture) in pictures.into_iter().enumerate() {
            wishes.insert(no * (apart + 1), Wish::Picture(picture));
        }
        self.come(wishes, BUSY_EVERY, false).await
    }

    /// One after another, when there is nothing else to do.
    pub(crate) async fn stroll(self: &Arc<Self>, sign_ups: usize) -> Result<(), Failure> {
        let first = self.accepted().len();
        self.clone().come((first..first + sign_ups).map(Wish::SignUp).collect(), CALM_EVERY, true).await
    }

    async fn come(self: Arc<Self>, wishes: Vec<Wish>, every: Duration, is_calm: bool) -> Result<(), Failure> {
        let (mut people, mut pace) = (JoinSet::new(), interval(every));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for wish in wishes {
            pace.tick().await;
            people.spawn(self.clone().insist(wish, is_calm));
        }
        while let Some(answered) = people.join_next().await {
            answered??;
        }
        Ok(())
    }

    /// Asks until there is a yes. A request that got no answer may have had an effect all the same, so the next one is
    /// a new one: another address.
    async fn insist(self: Arc<Self>, wish: Wish, is_calm: bool) -> Result<(), Failure> {
        let started = Instant::now();
        for attempt in 1.. {
            match self.ask(&wish, attempt, is_calm).await {
                Ok(accepted) => {
                    let mut all = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
                    all.push(accepted);
                    self.count.send_replace(all.len());
                    break;
                }
                Err(error) if started.elapsed() > PATIENCE => return Err(error),
                Err(_) => {
                    self.unanswered.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
        Ok(())
    }

    async fn ask(&self, wish: &Wish, attempt: usize, is_calm: bool) -> Result<Accepted, Failure> {
        let path = if matches!(wish, Wish::SignUp(_)) { "/signup" } else { "/photos" };
        let request = self.service.client.post(self.service.url(path).await?);
        let asked = Instant::now();
        let (request, email) = match wish {
            Wish::SignUp(no) => {
                let email = format!("user-{no}-{attempt}@example.org");
                (request.json(&json!({ "name": format!("User {no}"), "email": email })), email)
            }
            Wish::Picture(bytes) => (request.body(bytes.to_vec()), String::new()),
        };
        self.service.asking.send_modify(|asking| *asking += 1);
        let response = request.send().await;
        self.service.asking.send_modify(|asking| *asking -= 1);
        let response = response?;
        if response.status().as_u16() != 201 {
            return Err(format!("{path} was answered {}: {}", response.status(), response.text().await?).into());
        }
        let answer: Answer = response.json().await?;
        let promise = answer.photo_id.map_or(Promise::Mail(email), Promise::Thumbnails);
        Ok(Accepted { promise, job_id: answer.job_id, took: asked.elapsed(), is_calm })
    }

    /// Waits until so many requests were answered with yes.
    pub(crate) async fn wait_for(&self, accepted: usize) -> Result<(), Failure> {
        let mut count = self.count.subscribe();
        let waited = tokio::time::timeout(PATIENCE, count.wait_for(|count| *count >= accepted));
        waited.await.map_err(|_| format!("no {accepted} requests were answered in time"))??;
        Ok(())
    }

    /// Everything that was promised so far.
    pub(crate) fn accepted(&self) -> Vec<Accepted> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests that got no yes: their connection broke with the process.
    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Relaxed)
    }
}
