//! A disk that loses its power: a file system in a file, mounted by a loop device. What was not flushed when the power
//! went is gone, as on a real machine; nothing is flushed by and by meanwhile. It needs root, and says so.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// XFS is not made smaller; what is not used takes no space.
const LEN_BYTES: u64 = 320 << 20;

/// `EXT4_IOC_SHUTDOWN`, and the same of XFS, `XFS_IOC_GOINGDOWN`.
const SHUTDOWN: rustix::ioctl::Opcode = 0x8004_587d;
/// Neither data nor the journal is flushed before.
const NO_FLUSH: u32 = 2;

/// Set for a process that has mounts of its own.
const OWN_MOUNTS: &str = "CCB_OWN_MOUNTS";

/// File systems that can be shut down.
#[derive(Debug, Clone, Copy)]
pub enum FileSystem {
    Ext4,
    Xfs,
}

impl FileSystem {
    /// The command that makes one in the file that follows.
    fn make(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 => &["mkfs.ext4", "-q", "-F", "-m", "0"],
            Self::Xfs => &["mkfs.xfs", "-q", "-f"],
        }
    }

    /// The command that mounts the file and the folder that follow. Names are not made durable for the sake of
    /// programs that forgot to, and no timer does it in their stead.
    fn mount(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 => &[
                "mount",
                "-t",
                "ext4",
                "-o",
                "loop,noauto_da_alloc,commit=600",
            ],
            Self::Xfs => &["mount", "-t", "xfs", "-o", "loop"],
        }
    }
}

/// A mounted file system; unmounted when dropped.
pub struct Disk {
    is: FileSystem,
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// An empty one, at `disk` in `folder`.
    pub fn new(folder: &Path, is: FileSystem) -> Self {
        let disk = Self {
            is,
            image: folder.join("disk.image"),
            at: folder.join("disk"),
        };
        let image = File::create(&disk.image).expect("made");
        image.set_len(LEN_BYTES).expect("as long");
        run(is.make(), &[&disk.image]);
        fs::create_dir(&disk.at).expect("made");
        disk.mount();
        disk
    }

    /// Where it is mounted.
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// The power goes, and comes back.
    pub fn cut(&self) {
        shut_down(&self.at).expect("the file system knows the call");
        run(&["umount"], &[&self.at]);
        self.mount();
    }

    fn mount(&self) {
        run(self.is.mount(), &[&self.image, &self.at]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let ended = Command::new("umount").arg(&self.at).status();
        if !ended.is_ok_and(|status| status.success()) {
            let _ = Command::new("umount").arg("-l").arg(&self.at).status();
        }
    }
}

#[allow(unsafe_code, reason = "rustix has no name for this call")]
fn shut_down(root: &Path) -> io::Result<()> {
    let root = File::open(root)?;
    // SAFETY: whatever the file system, the kernel reads a u32 for this number, and writes nothing.
    let done = unsafe {
        let how = rustix::ioctl::Setter::<SHUTDOWN, u32>::new(NO_FLUSH);
        rustix::ioctl::ioctl(&root, how)
    };
    Ok(done?)
}

fn run(words: &[&str], paths: &[&Path]) {
    let output = Command::new(words[0])
        .args(&words[1..])
        .args(paths)
        .output();
    let output = output.unwrap_or_else(|error| panic!("{words:?}: {error}; run tests/run"));
    assert!(
        output.status.success(),
        "{words:?} {paths:?}: {}\nCutting the power needs loop devices (losetup -f), ext4 and XFS.",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs `test`, whose whole name is `name`, in a process with mounts of its own: whatever becomes of it, what it
/// mounted ends with it, and with that the loop device.
pub fn with_own_mounts(name: &str, test: impl FnOnce()) {
    if std::env::var_os(OWN_MOUNTS).is_some() {
        return test();
    }
    assert!(
        rustix::process::getuid().is_root(),
        "cutting the power needs root, for it mounts a file system: run tests/run as root"
    );
    let output = Command::new("unshare")
        .args(["-m", "--"])
        .arg(std::env::current_exe().expect("there is one"))
        .args([name, "--exact", "--nocapture"])
        .env(OWN_MOUNTS, "")
        .output()
        .expect("unshare starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
