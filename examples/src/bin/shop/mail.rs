//! Mails, over SMTP.

use std::error::Error;

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use windlass::{JobError, JobId, SEC};

/// Sends mails, each through a connection of its own.
pub(crate) struct Mailer {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// One mail.
pub(crate) struct Mail<'a> {
    pub(crate) to_name: &'a str,
    pub(crate) to: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) text: String,
    /// The job that sends it. It becomes the message's id: who gets a mail twice can see that it is the same.
    pub(crate) job: JobId,
    /// What the job's header says of this attempt.
    pub(crate) note: String,
}

impl Mailer {
    /// "Dangerous" is the library's word for a connection without TLS: right for a relay on this machine, and only
    /// there.
    pub(crate) fn new(host: &str, port: u16) -> Result<Self, Box<dyn Error>> {
        let server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host).port(port).timeout(Some(SEC * 10));
        Ok(Self { server: server.build(), from: "The shop <shop@example.org>".parse()? })
    }

    /// When this returns `Ok`, the server has taken responsibility for the mail.
    pub(crate) async fn send(&self, mail: Mail<'_>) -> Result<(), JobError> {
        // What cannot be written down will not be better next time.
        let address: Address = mail.to.parse().map_err(JobError::permanent)?;
        let mut message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(Some(mail.to_name.to_owned()), address))
            .subject(mail.subject)
            .message_id(Some(format!("<{}@shop.example.org>", mail.job)))
            .body(mail.text)
            .map_err(JobError::permanent)?;
        let note = HeaderValue::new(HeaderName::new_from_ascii_str("X-Job"), format!("{}; {}", mail.job, mail.note));
        message.headers_mut().insert_raw(note);
        match self.server.send(message).await {
            Ok(_) => Ok(()),
            // 5xx: this server will never take this mail.
            Err(error) if error.is_permanent() => Err(JobError::permanent(error)),
            Err(error) => Err(error.into()),
        }
    }
}
