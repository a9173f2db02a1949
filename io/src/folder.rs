//! The data folder: made if missing, locked for one process, refused if it is somebody else's.
//!
//! Nothing in it is changed before the lock is held, and nothing but the lock is written here: what the folder holds is
//! the core's. Of that, only `format` is looked at, for the number of shards that must be started.
//!
//! The lock outlives a process that was killed until the kernel has performed what it had submitted (each ring keeps the
//! lock's file open, see `Ring::keep_open`). Invariant: who holds the lock is the only one whose writes still come.

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The lock's name; in it, the id of the process that holds it. The file stays.
pub const LOCK: &str = "lock";
/// How long the writes of a killed process are waited for: a second, quietly, then up to a minute.
const PAUSE: Duration = Duration::from_millis(2);
const PAUSES_QUIET: u32 = 500;
const PAUSES_MAX: u32 = 30_000;
/// Text, `key=value` lines, written by the core: `version`, `shards` and more. The core checks it whole before it acts on
/// it.
const FORMAT: &str = "format";
/// The version of the folder's layout that this program writes.
const VERSION: u32 = 2;
/// What a fresh file system has in it.
const LOST_AND_FOUND: &str = "lost+found";

/// A data folder in our exclusive use.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    fd: OwnedFd,
    lock: OwnedFd,
    shards: Option<u16>,
}

impl Folder {
    pub fn open(path: &Path) -> Result<Folder, FolderError> {
        let failed = |what: &'static str| {
            let path = path.to_owned();
            move |error: io::Error| FolderError::Failed { path, what, error }
        };
        if fs::metadata(path).is_ok_and(|found| !found.is_dir()) {
            return Err(failed("used")(io::ErrorKind::NotADirectory.into()));
        }
        fs::create_dir_all(path).map_err(failed("made"))?;
        refuse_strangers(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed("opened")(error.into()))?;
        let lock_flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(&fd, LOCK, lock_flags, Mode::from_raw_mode(0o644))
            .map_err(|error| failed("written to")(error.into()))?;
        take_lock(&lock, path)?;
        let shards = stored_shards(path)?;
        Ok(Folder { path: path.to_owned(), fd, lock, shards })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What keeps the folder ours as long as any copy of it is open.
    pub fn lock(&self) -> io::Result<OwnedFd> {
        self.lock.try_clone()
    }

    /// The number of shards that the folder was last served with; none if it is new.
    pub fn shards(&self) -> Option<u16> {
        self.shards
    }

    /// A descriptor of the folder, below which all paths lie.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }
}

/// Takes the lock. If a process has it, that is refused; if only the kernel has, on behalf of a process that was killed,
/// it is waited for.
fn take_lock(lock: &OwnedFd, path: &Path) -> Result<(), FolderError> {
    let failed = |error: Errno| FolderError::Failed { path: path.to_owned(), what: "locked", error: error.into() };
    let mut pauses = 0;
    loop {
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(Errno::WOULDBLOCK) => {}
            Err(error) => return Err(failed(error)),
        }
        if pauses == PAUSES_MAX || holder_lives(lock) {
            return Err(FolderError::InUse { path: path.to_owned() });
        }
        if pauses == PAUSES_QUIET {
            tracing::info!("waiting for the last writes of the process that was killed");
        }
        pauses += 1;
        std::thread::sleep(PAUSE);
    }
    let name = format!("{}\n", std::process::id());
    rustix::fs::ftruncate(lock, 0).map_err(failed)?;
    rustix::io::pwrite(lock, name.as_bytes(), 0).map_err(failed)?;
    Ok(())
}

/// Whether the process that has written its id to the lock is there. A folder shared between containers, which do not
/// see each other's processes, is refused later, but is refused.
fn holder_lives(lock: &OwnedFd) -> bool {
    let mut text = [0; 20];
    let len = rustix::io::pread(lock, &mut text, 0).unwrap_or(0);
    let id = std::str::from_utf8(&text[..len]).ok().and_then(|text| text.trim().parse::<u32>().ok());
    // No id yet: it has just been started.
    let Some(id) = id else { return true };
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// A folder with other people's files in it is left alone.
fn refuse_strangers(path: &Path) -> Result<(), FolderError> {
    let mut stranger = None;
    let failed = |error| FolderError::Failed { path: path.to_owned(), what: "listed", error };
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if name == LOCK || name == FORMAT {
            return Ok(());
        }
        if name != LOST_AND_FOUND {
            stranger = Some(name.to_string_lossy().into_owned());
        }
    }
    match stranger {
        None => Ok(()),
        Some(found) => Err(FolderError::Strangers { path: path.to_owned(), found }),
    }
}

fn stored_shards(path: &Path) -> Result<Option<u16>, FolderError> {
    let path = path.join(FORMAT);
    let text = match fs::read(&path) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FolderError::Failed { path, what: "read", error }),
    };
    let number = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        value.trim().parse::<u32>().ok()
    };
    match number("version") {
        Some(VERSION) => {}
        Some(version) => return Err(FolderError::Version { path, version }),
        None => return Err(FolderError::Format { path, lacks: "version" }),
    }
    match number("shards").and_then(|shards| u16::try_from(shards).ok()).filter(|shards| *shards > 0) {
        Some(shards) => Ok(Some(shards)),
        None => Err(FolderError::Format { path, lacks: "shards" }),
    }
}

/// Why a folder cannot be served. In each case it is as it was (but for the lock's empty file).
#[derive(Debug)]
pub enum FolderError {
    InUse { path: PathBuf },
    Strangers { path: PathBuf, found: String },
    Version { path: PathBuf, version: u32 },
    Format { path: PathBuf, lacks: &'static str },
    Failed { path: PathBuf, what: &'static str, error: io::Error },
}

impl std::error::Error for FolderError {}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FolderError::InUse { path } => write!(f, "data folder {} is in use by another process", path.display()),
            FolderError::Strangers { path, found } => write!(
                f,
                "data folder {} is not Highwater's: it holds {found:?} and no file `{FORMAT}`; name an empty or a new \
                 folder with --data",
                path.display()
            ),
            FolderError::Version { path, version } => write!(
                f,
                "{} says version {version}: it was written by another release; this one reads version {VERSION}",
                path.display()
            ),
            FolderError::Format { path, lacks } => {
                write!(f, "{} is damaged: it has no line `{lacks}=NUMBER`", path.display())
            }
            FolderError::Failed { path, what, error } => write!(f, "{} cannot be {what}: {error}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &Path) -> String {
        Folder::open(path).expect_err("it should be refused").to_string()
    }

    #[test]
    fn a_new_folder_is_made_and_locked() {
        let parent = tempfile::tempdir().expect("folder");
        let path = parent.path().join("a/b");
        let folder = Folder::open(&path).expect("opened");
        assert_eq!(folder.shards(), None);
        let expected = format!("data folder {} is in use by another process", path.display());
        assert_eq!(refusal(&path), expected);
        drop(folder);
        Folder::open(&path).expect("opened again");
    }

    #[test]
    fn the_number_of_shards_is_read_from_the_format() {
        let folder = tempfile::tempdir().expect("folder");
        fs::write(folder.path().join(FORMAT), "version=2\ncluster=abc\nshards=3\n").expect("written");
        assert_eq!(Folder::open(folder.path()).expect("opened").shards(), Some(3));
    }

    #[test]
    fn a_folder_of_others_is_refused_and_not_touched() {
        let folder = tempfile::tempdir().expect("folder");
        fs::write(folder.path().join("thesis.tex"), "chapter 1").expect("written");
        let text = refusal(folder.path());
        assert!(text.contains("is not Highwater's: it holds \"thesis.tex\""), "{text}");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_format_that_we_do_not_know_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        for (format, reason) in [
            ("version=1\nshards=1\n", "says version 1: it was written by another release; this one reads version 2"),
            ("shards=1\n", "it has no line `version=NUMBER`"),
            ("version=2\nshards=0\n", "it has no line `shards=NUMBER`"),
            ("\u{0}\u{0}", "it has no line `version=NUMBER`"),
        ] {
            fs::write(folder.path().join(FORMAT), format).expect("written");
            let text = refusal(folder.path());
            assert!(text.contains(reason), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_a_folder_is_named() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        assert_eq!(refusal(&file), format!("{} cannot be used: not a directory", file.display()));
        let text = refusal(&file.join("data"));
        assert!(text.contains("file/data cannot be made") && text.contains("os error 20"), "{text}");
    }
}
