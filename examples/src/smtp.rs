//! A mail server that keeps what it gets in memory and misbehaves as told. Test equipment: it speaks as much of SMTP as
//! a polite client needs, and believes everything.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

/// Connections that may wait to be served.
const BACKLOG: u32 = 1_024;

/// How it behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    /// How long it takes over each mail: half before it reads it, half before it says that it has it. Whoever is killed
    /// in the second half will send again what has arrived.
    pub delay: Duration,
    /// Every how manieth recipient it refuses with 451, come again later. 0 is none.
    pub refuse_every: u64,
    /// Whether it refuses recipients whose address begins with `nobody` with 550, for ever.
    pub knows_nobody: bool,
}

/// A mail that it has said yes to, or was about to when its client was gone.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Its recipient.
    pub to: String,
    /// Headers and text, as they came.
    pub text: String,
}

impl Mail {
    /// What a header says.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.text.lines().take_while(|line| !line.is_empty());
        headers.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

#[derive(Debug, Default)]
struct Inbox {
    mails: Vec<Mail>,
    recipients: u64,
    refused: u64,
}

#[derive(Debug)]
struct Shared {
    rules: Mutex<Rules>,
    inbox: watch::Sender<Inbox>,
}

/// The server.
#[derive(Debug)]
pub struct MailServer {
    address: SocketAddr,
    closed: Option<TcpSocket>,
    shared: Arc<Shared>,
}

impl MailServer {
    /// Takes a port, but does not listen yet: whoever connects is refused.
    ///
    /// # Errors
    /// The system's.
    pub fn closed() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let shared = Shared { rules: Mutex::default(), inbox: watch::Sender::default() };
        Ok(Self { address: socket.local_addr()?, closed: Some(socket), shared: Arc::new(shared) })
    }

    /// Begins to serve. Has to be called inside of a runtime, and does nothing the second time.
    ///
    /// # Errors
    /// The system's.
    pub fn open(&mut self, rules: Rules) -> io::Result<()> {
        self.set_rules(rules);
        if let Some(socket) = self.closed.take() {
            tokio::spawn(serve(socket.listen(BACKLOG)?, self.shared.clone()));
        }
        Ok(())
    }

    /// Behaves differently from now on.
    pub fn set_rules(&self, rules: Rules) {
        *self.shared.rules.lock().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All mails so far, in the order of their arrival.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.shared.inbox.borrow().mails.clone()
    }

    /// How many recipients it has refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.shared.inbox.borrow().refused
    }

    /// The first mail to this address, as soon as there is one.
    pub async fn mail_to(&self, address: &str) -> Mail {
        let mut inbox = self.shared.inbox.subscribe();
        loop {
            if let Some(mail) = inbox.borrow_and_update().mails.iter().find(|mail| mail.to == address) {
                return mail.clone();
            }
            // The sender is in `self`, so it cannot be gone.
            let _ = inbox.changed().await;
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        // A client that breaks off is the client's business.
        tokio::spawn(async move { converse(stream, &shared).await });
    }
}

async fn converse(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.example.org\r\n").await?;
    let mut to = None;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let command = line.trim_end().to_ascii_uppercase();
        let answer = match command.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" | "HELO" => "250 mail.example.org",
            "RCPT" => match judge(shared, &line) {
                Ok(recipient) => {
                    to = Some(recipient);
                    "250 ok"
                }
                Err(refusal) => refusal,
            },
            "DATA" => match to.take() {
                Some(to) => {
                    let half = shared.rules.lock().unwrap_or_else(PoisonError::into_inner).delay / 2;
                    tokio::time::sleep(half).await;
                    stream.write_all(b"354 go on\r\n").await?;
                    let text = read_text(&mut stream).await?;
                    shared.inbox.send_modify(|inbox| inbox.mails.push(Mail { to, text }));
                    tokio::time::sleep(half).await;
                    "250 taken"
                }
                None => "503 to whom?",
            },
            "MAIL" | "RSET" | "NOOP" => "250 ok",
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => "502 what?",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}

/// The address in `RCPT TO:<address>`, or why not.
fn judge(shared: &Shared, line: &str) -> Result<String, &'static str> {
    let address = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    let address = address.ok_or("501 no address")?.0.to_owned();
    let rules = *shared.rules.lock().unwrap_or_else(PoisonError::into_inner);
    let mut answer = Ok(());
    shared.inbox.send_modify(|inbox| {
        inbox.recipients += 1;
        if rules.knows_nobody && address.starts_with("nobody") {
            answer = Err("550 nobody of that name");
        } else if rules.refuse_every > 0 && inbox.recipients.is_multiple_of(rules.refuse_every) {
            answer = Err("451 not now");
        }
        inbox.refused += u64::from(answer.is_err());
    });
    answer.map(|()| address)
}

/// Reads up to the line that is a dot.
async fn read_text(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let (mut text, mut line) = (String::new(), String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end_matches(['\r', '\n']) {
            "." => return Ok(text),
            content => {
                text.push_str(content.strip_prefix('.').unwrap_or(content));
                text.push('\n');
            }
        }
    }
}
