//! The comparison: what was promised against what happened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use windlass_examples::smtp::Mail;

use crate::crowd::{Accepted, Promise};
use crate::service::JobNumbers;

/// The sizes that each picture's thumbnails have.
const SIZES: [&str; 3] = ["small", "medium", "large"];

/// Everything that was seen.
pub(crate) struct Facts {
    pub(crate) accepted: Vec<Accepted>,
    /// How the accepted ones' jobs stand, in the same order.
    pub(crate) jobs: Vec<JobNumbers>,
    pub(crate) mails: Vec<Mail>,
    pub(crate) refused: u64,
    pub(crate) dead: usize,
    pub(crate) recoveries: Vec<Duration>,
    pub(crate) exit: ExitStatus,
    pub(crate) unanswered: usize,
    pub(crate) thumbnails: PathBuf,
}

/// What follows from it.
pub(crate) struct Verdict {
    pub(crate) sign_ups: usize,
    pub(crate) pictures: usize,
    pub(crate) done: usize,
    pub(crate) retried: usize,
    pub(crate) missing: Vec<String>,
    pub(crate) twice: usize,
    pub(crate) dead: usize,
    pub(crate) refused: u64,
    pub(crate) unanswered: usize,
    /// Mails to people whose request broke off: it had come far enough.
    pub(crate) unanswered_mailed: usize,
    pub(crate) recoveries: Vec<Duration>,
    pub(crate) exit: ExitStatus,
    /// From the request to the answer, sorted: of all sign-ups, and of those when all was calm.
    pub(crate) answered: Vec<Duration>,
    pub(crate) answered_calm: Vec<Duration>,
    /// From the acceptance to the start of the first attempt, sorted, when all was calm.
    pub(crate) dispatched_calm: Vec<Duration>,
}

impl Verdict {
    pub(crate) fn accepted(&self) -> usize {
        self.sign_ups + self.pictures
    }

    pub(crate) fn holds(&self) -> bool {
        self.missing.is_empty() && self.done == self.accepted() && self.dead == 0 && self.exit.success()
    }
}

/// Blocks: it decodes the thumbnails.
pub(crate) fn judge(facts: Facts) -> Verdict {
    let mut mails: BTreeMap<&str, Vec<&Mail>> = BTreeMap::new();
    for mail in &facts.mails {
        mails.entry(&mail.to).or_default().push(mail);
    }
    let twice = mails.values().filter(|mails| mails.len() > 1).count();
    let mut missing = Vec::new();
    let (mut sign_ups, mut pictures) = (0, 0);
    let (mut answered, mut answered_calm, mut dispatched_calm) = (Vec::new(), Vec::new(), Vec::new());
    for request in &facts.accepted {
        match &request.promise {
            Promise::Mail(address) => {
                sign_ups += 1;
                answered.push(request.took);
                let mails = mails.remove(address.as_str()).unwrap_or_default();
                if mails.is_empty() {
                    missing.push(format!("the mail to {address} (job {})", request.job_id));
                }
                if request.is_calm {
                    answered_calm.push(request.took);
                    dispatched_calm.extend(mails.iter().find_map(|mail| waited(mail)));
                }
            }
            Promise::Thumbnails(photo) => {
                pictures += 1;
                let files = SIZES.map(|size| facts.thumbnails.join(format!("{photo}-{size}.jpg")));
                missing.extend(files.iter().filter_map(|file| undecodable(file)));
            }
        }
    }
    for times in [&mut answered, &mut answered_calm, &mut dispatched_calm] {
        times.sort_unstable();
    }
    Verdict {
        sign_ups,
        pictures,
        done: facts.jobs.iter().filter(|job| job.state == "done").count(),
        retried: facts.jobs.iter().filter(|job| job.attempts > 1).count(),
        missing,
        twice,
        dead: facts.dead,
        refused: facts.refused,
        unanswered: facts.unanswered,
        unanswered_mailed: mails.len(),
        recoveries: facts.recoveries,
        exit: facts.exit,
        answered,
        answered_calm,
        dispatched_calm,
    }
}

/// How long the job had waited when its first attempt started, if that attempt sent the mail.
fn waited(mail: &Mail) -> Option<Duration> {
    let (_, waited_ms) = mail.header("X-Job")?.split_once("; attempt=1; waited-ms=")?;
    waited_ms.trim().parse().ok().map(Duration::from_millis)
}

fn undecodable(file: &Path) -> Option<String> {
    let error = image::ImageReader::open(file).map_err(|error| error.to_string());
    let error = error.and_then(|image| image.decode().map_err(|error| error.to_string())).err()?;
    Some(format!("{}: {error}", file.display()))
}
