//! Texts that come from outside: ids, cursors, names. Any text is taken or refused, and what is taken is written as
//! something that is taken as the same.

use std::fmt::Display;
use std::str::FromStr;

use windlass::{Cursor, JobId, Name, OrderId};

/// The text as each of them.
pub(crate) fn texts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    comes_back::<JobId>(text);
    comes_back::<OrderId>(text);
    comes_back::<Cursor>(text);
    if Name::is_valid(text) {
        assert_eq!(Name::from(text).as_str(), text);
        assert!(text.len() <= Name::BYTES_MAX);
    }
}

fn comes_back<T: FromStr<Err: Display> + Display + PartialEq>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => {
            let written = value.to_string();
            assert!(written.parse::<T>().is_ok_and(|again| again == value), "{text:?} is written as {written:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty(), "{text:?} is refused without a word"),
    }
}
