use std::time::Duration;

use windlass_examples::smtp::Rules;

use crate::support::{Stage, in_time};

#[tokio::test]
async fn a_kill_loses_nothing_that_was_acknowledged() {
    let mut stage = Stage::with_mail_server_down(&[]).await;
    let slow = Rules { delay: Duration::from_millis(200), ..Rules::default() };
    stage.mail_server.open(slow).unwrap();
    let emails: Vec<String> = (0..60).map(|no| format!("user-{no}@example.org")).collect();
    let mut ids = Vec::new();
    for email in &emails {
        ids.push(stage.sign_up(email).await);
    }
    // The first mail is there, so attempts run; 60 mails do not fit into 16 slots, so jobs wait.
    stage.mail_to(&emails[0]).await;
    stage.kill().await;
    assert!(stage.mail_server.mails().len() < emails.len(), "the kill came too late to prove anything");

    stage.mail_server.set_rules(Rules::default());
    stage.start().await;
    for (email, id) in emails.iter().zip(&ids) {
        in_time("a mail is missing", stage.mail_server.mail_to(email)).await;
        stage.job_in(id, "done").await;
    }
    stage.stop().await;
}
