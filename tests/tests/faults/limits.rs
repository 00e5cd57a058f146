//! Limits that a process sets itself: open files and memory. Lowered, they bind this process alone.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::process::tell;

fn set(resource: Resource, current: Option<u64>) {
    let limit = Rlimit { current, maximum: getrlimit(resource).maximum };
    setrlimit(resource, limit).expect("a process may lower its own limits, and raise them again");
}

/// Does what a parent's word says about files.
pub(crate) fn obey(word: &str) {
    match word {
        "no more files" => {
            // Whatever is open stays open, and the lowest number that is free would be the next.
            let open = std::fs::read_dir("/proc/self/fd").expect("Linux tells of open files");
            let highest = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok()).max();
            fill_up_to(highest.unwrap_or(0));
            set(Resource::Nofile, Some(highest.map_or(0, |highest| highest + 1)));
        }
        "files again" => {
            set(Resource::Nofile, getrlimit(Resource::Nofile).maximum.map(|most| most.min(4_096)));
            HELD.lock().expect("nobody panics with it").clear();
        }
        word => panic!("nobody knows the word {word}"),
    }
    tell(&format!("done {word}"));
}

static HELD: std::sync::Mutex<Vec<std::fs::File>> = std::sync::Mutex::new(Vec::new());

/// Takes the numbers below this one that are free.
fn fill_up_to(highest: u64) {
    use std::os::fd::AsRawFd as _;
    let mut held = HELD.lock().expect("nobody panics with it");
    while let Ok(file) = std::fs::File::open("/dev/null") {
        let is_beyond = u64::try_from(file.as_raw_fd()).is_ok_and(|number| number > highest);
        if is_beyond {
            break;
        }
        held.push(file);
    }
}

/// This process may take so many bytes more of address space, and no more.
pub(crate) fn bound_memory(more_bytes: u64) {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells of memory");
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix("kB"));
    let kib: u64 = size.and_then(|size| size.trim().parse().ok()).expect("a number");
    set(Resource::As, Some(kib * 1_024 + more_bytes));
}
