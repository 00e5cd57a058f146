//! The file that a history is kept in: the whole new one, or the whole old one.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::{FORMAT, Rings};

pub(super) fn read(path: &Path) -> Rings {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Rings::default(),
        Err(error) => {
            warn!(path = %path.display(), %error, "the console's history cannot be read, and begins anew");
            return Rings::default();
        }
    };
    let reason = match serde_json::from_slice::<Rings>(&text) {
        Ok(rings) if (1..=FORMAT).contains(&rings.format) => return rings,
        Ok(rings) => format!("its format is {}, and this build reads up to {FORMAT}", rings.format),
        Err(error) => error.to_string(),
    };
    let aside = beside(path, "damaged");
    let moved = fs::rename(path, &aside);
    let (path, aside) = (path.display(), aside.display());
    match moved {
        Ok(()) => {
            warn!(%path, %aside, reason, "the console's history makes no sense: it is moved aside, and begins anew");
        }
        Err(error) => warn!(%path, reason, %error, "the console's history makes no sense, and begins anew"),
    }
    Rings::default()
}

/// The whole new file, or the whole old one.
pub(super) fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let draft = beside(path, "new");
    let mut file = File::create(&draft)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::super::Start;
    use super::*;

    #[test]
    fn a_file_of_the_first_format_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.json");
        fs::write(&path, r#"{"format":1,"hour":[[1,2,3,4,5,6,7,8]],"week":[]}"#).unwrap();
        let rings = read(&path);
        assert_eq!((rings.all.hour.len(), rings.queues.len(), rings.starts.len()), (1, 0, 0));
    }

    #[test]
    fn a_file_that_makes_no_sense_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.json");
        for nonsense in ["{", r#"{"format":99,"hour":[],"week":[]}"#, r#"{"format":1,"hour":[[1]],"week":[]}"#] {
            fs::write(&path, nonsense).unwrap();
            assert_eq!(read(&path), Rings::default());
            assert!(!path.exists());
            assert_eq!(fs::read_to_string(dir.path().join("history.json.damaged")).unwrap(), nonsense);
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.json");
        let mut rings = Rings { format: FORMAT, ..Rings::default() };
        rings.push([1, 2, 3, 4, 5, 6, 7, 8].into());
        rings.push_of("mail", [1, 2, 3, 4, 5, 6, 7, 8].into());
        rings.push_start(Start { at: 1, version: Some("1.2.3".to_owned()) });
        write(&path, &serde_json::to_vec(&rings).unwrap()).unwrap();
        assert_eq!(read(&path), rings);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
