//! Newsletters: one mail to everybody whose address is verified, without hurry.
//!
//! The text is stored once, in the database; jobs hold numbers. One job hands the newsletter round: it takes a page of users,
//! and its mails and the job for the next page are its follow-ups. They are stored in the commit that says it is done, so
//! whenever the process dies, each user has one mail waiting, and not two, and none is left out.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use windlass::{Context, Job, JobError};

use crate::app::{App, Shop};
use crate::body::read_json;
use crate::mail::Mail;
use crate::problem::Problem;
use crate::queues::MARKETING_EMAIL;

const SUBJECT_CHARS_MAX: usize = 200;
/// Users of one page: far fewer than an attempt may have follow-ups.
const PAGE: usize = 500;

/// Takes the next users.
#[derive(Serialize, Deserialize)]
pub(crate) struct HandRound {
    newsletter_id: i64,
    /// The last user who was taken before.
    after: i64,
}

impl Job for HandRound {
    const KIND: &'static str = "newsletter";
    const QUEUE: &'static str = MARKETING_EMAIL;
    /// How many mails this page has.
    type Output = usize;
}

/// Sends it to one of them.
#[derive(Serialize, Deserialize)]
pub(crate) struct MailNewsletter {
    newsletter_id: i64,
    user_id: i64,
}

impl Job for MailNewsletter {
    const KIND: &'static str = "newsletter-mail";
    const QUEUE: &'static str = MARKETING_EMAIL;
    type Output = ();
}

pub(crate) async fn hand_round(job: HandRound, cx: Context<Arc<App>>) -> Result<usize, JobError> {
    let users = cx.app().database.verified(job.after, PAGE).await?;
    for &user_id in &users {
        cx.follow_up(&MailNewsletter { newsletter_id: job.newsletter_id, user_id })?;
    }
    if let Some(&after) = users.last() {
        cx.follow_up(&HandRound { newsletter_id: job.newsletter_id, after })?;
    }
    Ok(users.len())
}

/// Runs at least once: killed between the server's yes and the end, it mails again under the same message id.
pub(crate) async fn mail_newsletter(job: MailNewsletter, cx: Context<Arc<App>>) -> Result<(), JobError> {
    let app = cx.app();
    let newsletter = app.database.newsletter(job.newsletter_id).await?;
    let (Some(newsletter), Some(user)) = (newsletter, app.database.user(job.user_id).await?) else {
        return Err(JobError::cancel("newsletter or user is gone"));
    };
    let mail = Mail {
        to_name: &user.name,
        to: &user.email,
        subject: &newsletter.subject,
        text: newsletter.text,
        job: cx.id(),
        note: format!("attempt={}; newsletter={}", cx.attempt(), job.newsletter_id),
    };
    app.mailer.send(mail).await
}

#[derive(Deserialize)]
pub(crate) struct Request {
    subject: String,
    text: String,
}

/// `POST /newsletters`: `{"subject", "text"}`.
pub(crate) async fn accept(State(shop): State<Shop>, body: Body) -> Result<(StatusCode, Json<Value>), Problem> {
    let Request { subject, text } = read_json(body).await?;
    let is_subject = !subject.trim().is_empty() && subject.chars().count() <= SUBJECT_CHARS_MAX;
    if !is_subject || subject.chars().any(char::is_control) || text.trim().is_empty() {
        let what = format!("`subject` has to have 1 to {SUBJECT_CHARS_MAX} printable characters, and `text` some");
        return Err(Problem::bad_request(what));
    }
    // Stored first: no job may speak of a newsletter that a power cut took away. Killed between the two, it stays without
    // a job, and nobody was promised anything.
    let newsletter_id = shop.app.database.add_newsletter(subject, text).await?;
    let job = shop.engine.enqueue(HandRound { newsletter_id, after: 0 }).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "newsletter_id": newsletter_id, "job_id": job.id().to_string() }))))
}
