//! Stands between a client and a unix socket, and breaks what goes through it.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use tempfile::TempDir;

/// What happens to the bytes that the server sends on one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// After so many the connection ends.
    Cut(usize),
    /// After so many nothing comes any more, and nothing ends.
    Hang(usize),
    /// The one at this place arrives changed.
    Flip(usize),
    /// None; but a Redis server says that it is of version 6.
    Older,
}

/// A socket in front of another.
pub(crate) struct Proxy {
    folder: TempDir,
}

impl Proxy {
    /// Listens in front of `server` until the process ends.
    pub(crate) fn start(server: &Path, fault: Fault) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join("p")).expect("bound");
        let server = server.to_path_buf();
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.expect("accepted");
                let Ok(server) = UnixStream::connect(&server) else {
                    return;
                };
                let (from, mut to) = (
                    client.try_clone().expect("cloned"),
                    server.try_clone().expect("cloned"),
                );
                thread::spawn(move || {
                    let mut from = from;
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
                thread::spawn(move || pass_on(server, client, fault));
            }
        });
        Self { folder }
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("p")
    }
}

fn pass_on(mut from: UnixStream, mut to: UnixStream, fault: Fault) {
    let mut passed = 0;
    let mut buffer = [0; 4096];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(read) if read > 0 => read,
            _ => break,
        };
        let mut bytes = &mut buffer[..read];
        match fault {
            Fault::Cut(after) | Fault::Hang(after) if passed + bytes.len() > after => {
                bytes = &mut bytes[..after - passed];
            }
            Fault::Older => {
                let name = b"redis_version:";
                let found = bytes.windows(name.len()).position(|w| w == name);
                if let Some(at) = found {
                    bytes[at + name.len()] = b'6';
                }
            }
            Fault::Flip(at) if (passed..passed + bytes.len()).contains(&at) => {
                bytes[at - passed] ^= 1
            }
            _ => {}
        }
        if to.write_all(bytes).is_err() {
            break;
        }
        passed += bytes.len();
        match fault {
            Fault::Cut(after) if passed == after => break,
            Fault::Hang(after) if passed == after => {
                // Until one of both has gone.
                while from.read(&mut buffer).is_ok_and(|read| read > 0) {}
                break;
            }
            _ => {}
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
