//! The service's own data, in SQLite: who signed up, and what it knows of each one's mail.
//!
//! SQLite blocks, so one thread owns the connection and does what it is sent, in order. The log is synced at every
//! commit (`synchronous = FULL`): what the engine is told to do about a user must not be about a user who is forgotten.

use std::path::Path;
use std::thread;

use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::{mpsc, oneshot};
use windlass::JobId;

/// Calls that wait for the thread; more callers wait at the door.
const CALLS_MAX: usize = 256;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS users (
        -- Never used twice: a job may still speak of a user who was taken out again.
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        email TEXT NOT NULL,
        code TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        -- The job that sends the mail, chosen before the engine hears of it.
        job_id TEXT NOT NULL UNIQUE,
        -- Whether the engine is known to have, or have had, that job.
        job_known INTEGER NOT NULL DEFAULT 0,
        -- When the mail server took the mail.
        mailed_ms INTEGER
    ) STRICT;
    CREATE INDEX IF NOT EXISTS users_job_unknown ON users (id) WHERE job_known = 0;
    CREATE INDEX IF NOT EXISTS users_code ON users (code);
    -- Who has brought back the code of the mail.
    CREATE TABLE IF NOT EXISTS verified (
        user_id INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS newsletters (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        subject TEXT NOT NULL,
        text TEXT NOT NULL
    ) STRICT;
";

type Call = Box<dyn FnOnce(&mut Connection) + Send>;

/// The database. Dropping it closes it.
pub(crate) struct Database {
    calls: mpsc::Sender<Call>,
}

/// Someone who signed up.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) code: String,
    pub(crate) job_id: JobId,
    pub(crate) is_mailed: bool,
}

/// Someone who is about to be stored.
#[derive(Clone, Debug)]
pub(crate) struct NewUser {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) code: String,
    pub(crate) job_id: JobId,
}

/// A newsletter.
#[derive(Clone, Debug)]
pub(crate) struct Newsletter {
    pub(crate) subject: String,
    pub(crate) text: String,
}

/// What went wrong with the database.
#[derive(Debug)]
pub(crate) enum DatabaseError {
    Sqlite(rusqlite::Error),
    /// Its thread has ended.
    Gone,
}

impl std::fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(error) => write!(f, "the database: {error}"),
            Self::Gone => f.write_str("the database is closed"),
        }
    }
}

impl std::error::Error for DatabaseError {}

impl Database {
    pub(crate) fn open(path: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(SCHEMA)?;
        let (calls, mut inbox) = mpsc::channel::<Call>(CALLS_MAX);
        thread::Builder::new().name("database".to_owned()).spawn(move || {
            while let Some(call) = inbox.blocking_recv() {
                call(&mut connection);
            }
        })?;
        Ok(Self { calls })
    }

    async fn call<T, F>(&self, work: F) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call: Call = Box::new(move |connection| _ = reply.send(work(connection)));
        self.calls.send(call).await.map_err(|_| DatabaseError::Gone)?;
        answer.await.map_err(|_| DatabaseError::Gone)?.map_err(DatabaseError::Sqlite)
    }

    /// As [`call`](Self::call), for threads that may block.
    fn call_blocking<T, F>(&self, work: F) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call: Call = Box::new(move |connection| _ = reply.send(work(connection)));
        self.calls.blocking_send(call).map_err(|_| DatabaseError::Gone)?;
        answer.blocking_recv().map_err(|_| DatabaseError::Gone)?.map_err(DatabaseError::Sqlite)
    }

    /// Stores a user. When this returns, the row is synced.
    pub(crate) async fn add_user(&self, user: NewUser) -> Result<i64, DatabaseError> {
        const INSERT: &str = "INSERT INTO users (name, email, code, job_id, created_ms)
            VALUES (?1, ?2, ?3, ?4, CAST(unixepoch('subsec') * 1000 AS INTEGER))";
        self.call(move |connection| {
            let mut insert = connection.prepare_cached(INSERT)?;
            insert.insert(params![user.name, user.email, user.code, user.job_id.to_string()])
        })
        .await
    }

    /// Takes a user out again, whose sign-up was refused after all.
    pub(crate) async fn remove_user(&self, id: i64) -> Result<(), DatabaseError> {
        self.call(move |connection| connection.execute("DELETE FROM users WHERE id = ?1", [id]).map(drop)).await
    }

    pub(crate) async fn user(&self, id: i64) -> Result<Option<User>, DatabaseError> {
        const SELECT: &str = "SELECT id, name, email, code, job_id, mailed_ms FROM users WHERE id = ?1";
        self.call(move |connection| connection.prepare_cached(SELECT)?.query_row([id], user_of_row).optional()).await
    }

    /// The engine has this user's job. Nobody waits for this: a mark that gets lost costs one enqueue that changes
    /// nothing.
    pub(crate) async fn mark_job_known(&self, id: i64) -> Result<(), DatabaseError> {
        const UPDATE: &str = "UPDATE users SET job_known = 1 WHERE id = ?1";
        self.call(move |connection| connection.prepare_cached(UPDATE)?.execute([id]).map(drop)).await
    }

    /// The mail server has this user's mail, and so the engine has, or had, the job.
    pub(crate) async fn mark_mailed(&self, id: i64) -> Result<(), DatabaseError> {
        const UPDATE: &str = "UPDATE users
            SET job_known = 1, mailed_ms = CAST(unixepoch('subsec') * 1000 AS INTEGER) WHERE id = ?1";
        self.call(move |connection| connection.prepare_cached(UPDATE)?.execute([id]).map(drop)).await
    }

    /// The address of whoever has this code is theirs. Returns whether somebody has it.
    pub(crate) async fn mark_verified(&self, code: String) -> Result<bool, DatabaseError> {
        const INSERT: &str = "INSERT INTO verified (user_id, at_ms)
            SELECT id, CAST(unixepoch('subsec') * 1000 AS INTEGER) FROM users WHERE code = ?1
            ON CONFLICT (user_id) DO UPDATE SET at_ms = at_ms";
        self.call(move |connection| Ok(connection.prepare_cached(INSERT)?.execute([code])? > 0)).await
    }

    /// The next users whose address is verified.
    pub(crate) async fn verified(&self, after: i64, users_max: usize) -> Result<Vec<i64>, DatabaseError> {
        const SELECT: &str = "SELECT user_id FROM verified WHERE user_id > ?1 ORDER BY user_id LIMIT ?2";
        let users_max = i64::try_from(users_max).unwrap_or(i64::MAX);
        self.call(move |connection| {
            connection.prepare_cached(SELECT)?.query_map([after, users_max], |row| row.get(0))?.collect()
        })
        .await
    }

    /// Stores a newsletter. When this returns, the row is synced.
    pub(crate) async fn add_newsletter(&self, subject: String, text: String) -> Result<i64, DatabaseError> {
        const INSERT: &str = "INSERT INTO newsletters (subject, text) VALUES (?1, ?2)";
        self.call(move |connection| connection.prepare_cached(INSERT)?.insert(params![subject, text])).await
    }

    pub(crate) async fn newsletter(&self, id: i64) -> Result<Option<Newsletter>, DatabaseError> {
        const SELECT: &str = "SELECT subject, text FROM newsletters WHERE id = ?1";
        let newsletter = |row: &Row<'_>| Ok(Newsletter { subject: row.get(0)?, text: row.get(1)? });
        self.call(move |connection| connection.prepare_cached(SELECT)?.query_row([id], newsletter).optional()).await
    }

    /// How many signed up on each day (UTC) that had some. Blocks.
    pub(crate) fn sign_ups_per_day_blocking(&self) -> Result<Vec<(String, i64)>, DatabaseError> {
        const SELECT: &str =
            "SELECT date(created_ms / 1000, 'unixepoch') AS day, count(*) FROM users GROUP BY day ORDER BY day";
        self.call_blocking(|connection| {
            let mut select = connection.prepare_cached(SELECT)?;
            select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
    }

    /// The next user whose job the engine may not have, of those up to `last`.
    pub(crate) async fn next_job_unknown(&self, after: i64, last: i64) -> Result<Option<User>, DatabaseError> {
        const SELECT: &str = "SELECT id, name, email, code, job_id, mailed_ms FROM users
            WHERE job_known = 0 AND mailed_ms IS NULL AND id > ?1 AND id <= ?2 ORDER BY id LIMIT 1";
        self.call(move |connection| connection.prepare_cached(SELECT)?.query_row([after, last], user_of_row).optional())
            .await
    }

    /// The highest id that was given so far.
    pub(crate) async fn last_id(&self) -> Result<i64, DatabaseError> {
        self.call(|connection| connection.query_row("SELECT coalesce(max(id), 0) FROM users", [], |row| row.get(0)))
            .await
    }

    /// When this returns, everything that was asked before is done.
    pub(crate) async fn flush(&self) -> Result<(), DatabaseError> {
        self.call(|_| Ok(())).await
    }
}

fn user_of_row(row: &Row<'_>) -> rusqlite::Result<User> {
    let job_id: String = row.get(4)?;
    let no_id = |error| rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, Box::new(error));
    Ok(User {
        id: row.get(0)?,
        name: row.get(1)?,
        email: row.get(2)?,
        code: row.get(3)?,
        job_id: job_id.parse().map_err(no_id)?,
        is_mailed: row.get::<_, Option<i64>>(5)?.is_some(),
    })
}
