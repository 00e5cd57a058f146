//! What handlers and requests share.

use std::error::Error;
use std::sync::Arc;

use tokio::sync::Semaphore;
use windlass::{Engine, SEC};

use crate::args::Args;
use crate::database::Database;
use crate::files::Folder;
use crate::mail::Mailer;

/// Uploads that are read at once: each may hold a whole picture in memory.
const UPLOADS_MAX: usize = 8;

/// What the handlers work with. They get it from their context.
pub(crate) struct App {
    pub(crate) database: Database,
    pub(crate) mailer: Mailer,
    pub(crate) photos: Folder,
    pub(crate) thumbnails: Folder,
    pub(crate) reports: Folder,
    pub(crate) web: reqwest::Client,
    pub(crate) uploads: Semaphore,
}

/// What the requests work with: the same, and the engine.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) app: Arc<App>,
    pub(crate) engine: Engine,
}

impl App {
    pub(crate) fn open(args: &Args) -> Result<Self, Box<dyn Error>> {
        std::fs::create_dir_all(&args.data)?;
        Ok(Self {
            database: Database::open(&args.data.join("shop.db"))?,
            mailer: Mailer::new(&args.smtp.0, args.smtp.1)?,
            photos: Folder::open(args.data.join("photos"))?,
            thumbnails: Folder::open(args.data.join("thumbnails"))?,
            reports: Folder::open(args.data.join("reports"))?,
            // A redirect would lead where nobody has allowed it, and a proxy belongs to people, not to services.
            web: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .timeout(SEC * 20)
                .build()?,
            uploads: Semaphore::new(UPLOADS_MAX),
        })
    }
}
