//! Who has a journal open.
//!
//! Owns the one look at the system's table of locks. It is for people's eyes: whether a journal is in use, only its lock tells.

use std::fs;
use std::path::Path;

/// The process that holds the journal's lock, in words.
pub(crate) fn holder_of(path: &Path) -> String {
    let pid = fs::metadata(path.join("WINDLASS"))
        .ok()
        .and_then(|marker| pid_of(&fs::read_to_string("/proc/locks").ok()?, inode(&marker)));
    match pid {
        Some(pid) => match fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(name) => format!("process {pid}, {}", name.trim_end()),
            Err(_) => format!("process {pid}"),
        },
        None => "the system does not say which process".to_owned(),
    }
}

#[cfg(unix)]
fn inode(marker: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(marker)
}

#[cfg(not(unix))]
const fn inode(_: &fs::Metadata) -> u64 {
    0
}

/// Of lines such as `1: FLOCK  ADVISORY  WRITE 4242 fe:01:1234 0 EOF`.
fn pid_of(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word != "FLOCK").skip(3);
        let (pid, place) = (words.next()?, words.next()?);
        let is_it = place.rsplit(':').next().and_then(|text| text.parse().ok()) == Some(inode);
        is_it.then(|| pid.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_found_by_the_inode_of_the_file_that_is_locked() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 fe:01:99 0 EOF\n2: FLOCK  ADVISORY  WRITE 42 fe:01:99 0 EOF\n";
        assert_eq!(pid_of(locks, 99), Some(42));
        assert_eq!(pid_of(locks, 98), None);
        assert_eq!(pid_of("2: -> FLOCK  ADVISORY  READ 8 00:1d:98 0 EOF", 98), Some(8));
    }
}
