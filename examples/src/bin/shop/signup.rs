//! Sign-ups: a user in our database and a mail on its way, or neither.
//!
//! Two stores cannot commit together, so one of them leads. The order is: choose the job's id, store user and id in the
//! database, enqueue with that id, answer. Killed between the second step and the third, the user has no job; the next
//! start finds that out and enqueues it again ([`recovery`](crate::recovery), where the hard part is told). Nobody was
//! promised anything before the third step was durable.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use lettre::Address;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::SystemTime;
use windlass::{Context, EnqueueError, Job, JobError, JobId, MIN, Priority, new_job_id};

use crate::app::{App, Shop};
use crate::body::read_json;
use crate::database::{NewUser, User};
use crate::mail::Mail;
use crate::problem::Problem;
use crate::queues::CRITICAL_EMAIL;

const NAME_CHARS_MAX: usize = 100;
/// As RFC 5321 has it.
const EMAIL_BYTES_MAX: usize = 254;
/// How often an enqueue is repeated that a storage failure interrupted. The same id is the same job, so that is safe.
const REPEATS_MAX: usize = 5;

/// The mail with the code. It holds no more than the user's number: what is true is in the database.
#[derive(Serialize, Deserialize)]
pub(crate) struct VerifyEmail {
    user_id: i64,
}

impl Job for VerifyEmail {
    const KIND: &'static str = "verify-email";
    const QUEUE: &'static str = CRITICAL_EMAIL;
    type Output = ();
}

/// Runs at least once, so it looks first whether an earlier attempt has got as far as the mail. Between the server's
/// yes and the mark there is still a moment in which the process can die: then the mail goes out twice, under one
/// message id.
pub(crate) async fn verify_email(job: VerifyEmail, cx: Context<Arc<App>>) -> Result<(), JobError> {
    let app = cx.app();
    let Some(user) = app.database.user(job.user_id).await? else {
        return Err(JobError::cancel("this sign-up was taken back"));
    };
    if user.is_mailed {
        return Ok(());
    }
    let waited_ms = SystemTime::now().duration_since(cx.created()).unwrap_or_default().as_millis();
    let mail = Mail {
        to_name: &user.name,
        to: &user.email,
        subject: "Please verify your address",
        text: format!("Hello {},\n\nyour code is {}. It is valid for 15 minutes.\n", user.name, user.code),
        job: cx.id(),
        note: format!("attempt={}; waited-ms={waited_ms}", cx.attempt()),
    };
    app.mailer.send(mail).await?;
    if let Err(error) = app.database.mark_mailed(user.id).await {
        // A failure now would send the mail again for nothing but the mark.
        tracing::warn!(user = user.id, "mailed, but not marked as mailed: {error}");
    }
    Ok(())
}

#[derive(Deserialize)]
pub(crate) struct SignUp {
    name: String,
    email: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct SignedUp {
    user_id: i64,
    job_id: String,
}

impl SignUp {
    fn check(self) -> Result<NewUser, Problem> {
        let (name, email) = (self.name.trim(), self.email.trim());
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
            return Err(Problem::bad_request(format!("`name` has to have 1 to {NAME_CHARS_MAX} printable characters")));
        }
        if email.len() > EMAIL_BYTES_MAX || email.parse::<Address>().is_err() {
            return Err(Problem::bad_request("`email` is no mail address"));
        }
        Ok(NewUser {
            name: name.to_owned(),
            email: email.to_owned(),
            code: uuid::Uuid::new_v4().simple().to_string(),
            job_id: new_job_id(),
        })
    }
}

/// `POST /signup`
pub(crate) async fn sign_up(State(shop): State<Shop>, body: Body) -> Result<(StatusCode, Json<SignedUp>), Problem> {
    let user = read_json::<SignUp>(body).await?.check()?;
    // In a task of its own: a caller that hangs up must not stop it half way.
    let accepted = tokio::spawn(accept(shop, user)).await;
    let signed_up = accepted.map_err(|error| Problem::internal(format!("the sign-up broke off: {error}")))??;
    Ok((StatusCode::CREATED, Json(signed_up)))
}

/// `POST /verify`: `{"code"}`, as it stood in the mail. The second time changes nothing.
pub(crate) async fn verify(State(shop): State<Shop>, body: Body) -> Result<StatusCode, Problem> {
    #[derive(Deserialize)]
    struct Request {
        code: String,
    }
    let request = read_json::<Request>(body).await?;
    if shop.app.database.mark_verified(request.code).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::new(StatusCode::NOT_FOUND, "nobody was sent this code"))
    }
}

async fn accept(shop: Shop, user: NewUser) -> Result<SignedUp, Problem> {
    let database = &shop.app.database;
    let job_id = user.job_id;
    let user_id = database.add_user(user).await?;
    match enqueue(&shop, user_id, job_id).await {
        Ok(()) => {}
        // It may be stored: the next start asks.
        Err(error @ EnqueueError::Interrupted { .. }) => return Err(error.into()),
        // It is not: then neither is the user, who will be told to come again.
        Err(error) => {
            database.remove_user(user_id).await?;
            return Err(error.into());
        }
    }
    let marked = shop.clone();
    tokio::spawn(async move { marked.app.database.mark_job_known(user_id).await });
    Ok(SignedUp { user_id, job_id: job_id.to_string() })
}

async fn enqueue(shop: &Shop, user_id: i64, job_id: JobId) -> Result<(), EnqueueError> {
    let mut repeats = 0;
    loop {
        let mail = shop.engine.enqueue(VerifyEmail { user_id });
        match mail.id(job_id).priority(Priority::URGENT).expires_in(MIN * 15).await {
            Err(EnqueueError::Interrupted { .. }) if repeats < REPEATS_MAX => repeats += 1,
            answer => return answer.map(drop),
        }
    }
}

/// Enqueues a user's mail once more. Where the engine has the job, nothing happens.
pub(crate) async fn enqueue_again(shop: &Shop, user: &User) -> Result<(), EnqueueError> {
    enqueue(shop, user.id, user.job_id).await
}
