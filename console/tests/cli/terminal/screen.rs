//! A terminal with the program in it.

use std::io::{Read as _, Write};
use std::num::NonZeroU16;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use vt100::Parser;

/// So long anything may take: a busy machine has two cores and ten other things to do.
const WITHIN: Duration = Duration::from_secs(60);
const ROWS: NonZeroU16 = NonZeroU16::new(40).unwrap();
const COLUMNS: NonZeroU16 = NonZeroU16::new(120).unwrap();

/// What the program wrote, and how that looks.
struct Shown {
    parser: Parser,
    raw: Vec<u8>,
    is_over: bool,
}

/// A terminal of 40 lines of 120 characters.
pub(super) struct Screen {
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    terminal: Box<dyn MasterPty + Send>,
    shown: Arc<(Mutex<Shown>, Condvar)>,
    /// How it was before the program began.
    settings: String,
}

impl Screen {
    pub(super) fn run(words: &[&str], environment: &[(&str, &str)]) -> Self {
        let size = PtySize { rows: ROWS.get(), cols: COLUMNS.get(), pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_windlass"));
        command.args(words);
        for name in ["NO_COLOR", "WINDLASS_URL", "WINDLASS_TOKEN", "WINDLASS_TOKEN_FILE"] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm-256color");
        for (name, value) in environment {
            command.env(name, value);
        }
        let mut reader = pair.master.try_clone_reader().unwrap();
        let keys = pair.master.take_writer().unwrap();
        let settings = settings_of(pair.master.as_ref());
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let shown = Shown { parser: Parser::new(ROWS, COLUMNS, 0), raw: Vec::new(), is_over: false };
        let shown = Arc::new((Mutex::new(shown), Condvar::new()));
        let here = Arc::clone(&shown);
        thread::spawn(move || {
            let mut bytes = [0; 4_096];
            // Where nobody has the other side any more, reading ends with an error.
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                let mut shown = here.0.lock().unwrap();
                shown.parser.process(&bytes[..count]);
                shown.raw.extend(&bytes[..count]);
                here.1.notify_all();
            }
            here.0.lock().unwrap().is_over = true;
            here.1.notify_all();
        });
        Self { child, keys, terminal: pair.master, shown, settings }
    }

    /// Waits until it is so, or nothing more can come.
    fn wait_until(&self, what: &str, mut is_so: impl FnMut(&Shown) -> bool) {
        let end = Instant::now() + WITHIN;
        let mut shown = self.shown.0.lock().unwrap();
        while !is_so(&shown) {
            let left = end.saturating_duration_since(Instant::now());
            let screen = shown.parser.screen().contents();
            assert!(!shown.is_over && !left.is_zero(), "{what} did not come:\n{screen}");
            shown = self.shown.1.wait_timeout(shown, left).unwrap().0;
        }
    }

    /// Waits for these words on the screen.
    pub(super) fn until(&self, words: &str) {
        self.wait_until(words, |shown| shown.parser.screen().contents().contains(words));
    }

    /// Waits for these words on the line that begins with that one.
    pub(super) fn until_row(&self, name: &str, words: &str) {
        let is_it = |line: &str| line.starts_with(name) && line.contains(words);
        self.wait_until(words, |shown| shown.parser.screen().contents().lines().any(is_it));
    }

    pub(super) fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    pub(super) fn signal(&self, name: &str) {
        let pid = self.child.process_id().unwrap().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Waits for its end, and for all that it wrote.
    pub(super) fn wait(&mut self) -> u32 {
        self.wait_until("its end", |shown| shown.is_over);
        self.child.wait().unwrap().exit_code()
    }

    pub(super) fn now<T>(&self, ask: impl FnOnce(&vt100::Screen) -> T) -> T {
        ask(self.shown.0.lock().unwrap().parser.screen())
    }

    pub(super) fn text(&self) -> String {
        self.now(vt100::Screen::contents)
    }

    pub(super) fn raw(&self) -> String {
        String::from_utf8_lossy(&self.shown.0.lock().unwrap().raw).into_owned()
    }

    /// Its settings, its cursor and what stood on it are as before.
    pub(super) fn is_as_it_was(&self) {
        assert_eq!(settings_of(self.terminal.as_ref()), self.settings);
        let is_shown =
            self.now(|screen| !screen.alternate_screen() && !screen.hide_cursor() && !screen.bracketed_paste());
        assert!(is_shown, "{}", self.text());
        assert_eq!(self.text(), "", "the screen from before is back");
    }
}

/// How the terminal treats keys and lines.
fn settings_of(terminal: &dyn MasterPty) -> String {
    format!("{:?}", terminal.get_termios().unwrap())
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
