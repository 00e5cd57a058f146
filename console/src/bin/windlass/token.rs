//! Where a token comes from: a file, or the environment. Never the command line, which others see in the list of processes.

use std::fs;
use std::path::Path;

use crate::failure::Failure;

/// The name in the environment.
const VARIABLE: &str = "WINDLASS_TOKEN";

pub(crate) fn of_file(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::Other(format!("the token's file {}: {error}: correct the path", path.display())))?;
    checked(&text, &path.display().to_string())
}

pub(crate) fn of_environment() -> Result<Option<String>, Failure> {
    match std::env::var(VARIABLE) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => checked(&text, VARIABLE).map(Some),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(no_token(VARIABLE)),
    }
}

fn checked(text: &str, whence: &str) -> Result<String, Failure> {
    let token = text.trim();
    let is_one = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if is_one { Ok(token.to_owned()) } else { Err(no_token(whence)) }
}

fn no_token(whence: &str) -> Failure {
    Failure::Other(format!("what is in {whence} is no token: one has letters, digits and signs, and no blanks"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_and_the_line_that_it_stands_on_is_none_of_it() {
        assert_eq!(checked("abc\n", "x").unwrap_or_default(), "abc");
        for wrong in ["", "\n", "two words", "t\u{f6}ken", "a\nb"] {
            assert!(checked(wrong, "x").is_err(), "{wrong:?}");
        }
    }
}
