//! A base backup: all files of a running server, as `pg_basebackup` streams them, taken apart on the way, so
//! that each is stored as a file of its own. The server makes sure that they belong together and checks the
//! pages' checksums; what it says of the backup is kept with it. WAL is not in it: that is archived.

use crate::model::tree::{Body, Content, Found, Node, NodeKind, Problem};
use crate::model::wal::{Archiver, BaseFacts, Lsn};
use crate::source::cluster::server::{self, Server};
use crate::source::cluster::stall::Stall;
use crate::source::cluster::tar::{Member, MemberKind, Tar};
use crate::source::postgres::connection::Connection;
use crate::source::postgres::programs;
use crate::source::program::{Killer, ProgramStream};
use crate::source::wal::system_of_control;
use crate::source::{Capture, Facts, SourceError};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The backup's label is a few lines.
const LABEL_MAX_BYTES: usize = 64 << 10;
/// So much of the manifest's end is looked at.
const TAIL_LEN_BYTES: usize = 4 << 10;
/// A server that sends and archives nothing is waited for so many times as long as its patience: ten minutes of
/// half a minute each.
const STALL_PATIENCES: u32 = 20;

/// What is asked for.
pub struct Request {
    /// The server.
    pub connection: Connection,
    /// What the backup is called at the server.
    pub label: String,
    /// Whether the server writes the checkpoint that it begins with at once, or takes its usual time.
    pub is_fast: bool,
    /// Whether WAL is found in a directory, whatever the server's own archiving does.
    pub has_archive: bool,
    /// A server that sends nothing for so long is asked why. One whose archiving fails again and again is waited
    /// for no longer, nor is one that does not go on at all: it would wait for ever.
    pub patience: Duration,
}

/// Starts a base backup of a server that was [`server::ask`]ed.
pub fn start(request: Request, server: Server) -> Result<Capture, SourceError> {
    server.permits_base(request.has_archive)?;
    let (connection, client) =
        programs::fitting(&request.connection, "pg_basebackup", server.major)?;
    let checkpoint = if request.is_fast { "fast" } else { "spread" };
    let program = connection.program("pg_basebackup").args([
        "--pgdata=-",
        "--format=tar",
        "--wal-method=none",
        &format!("--checkpoint={checkpoint}"),
        &format!("--label={}", request.label),
    ]);
    let (stream, killer) = program.stream()?;
    let state = Arc::new(Mutex::new(State::default()));
    let watch = Watch::start(request, killer.clone(), state.clone());
    let arrivals = Arrivals {
        tar: Arc::new(Mutex::new(Tar::new(Counted {
            stream,
            state: state.clone(),
        }))),
        state: state.clone(),
        place: Place::Start,
    };
    Ok(Capture {
        walk: Box::new(arrivals),
        finish: Box::new(move || facts(&lock(&state), server, client)),
        guard: Box::new((killer.guard(), watch)),
    })
}

/// What was seen of the stream so far.
#[derive(Default)]
struct State {
    bytes: u64,
    /// Whether more is waited for just now: else it is not the server that keeps everybody waiting.
    is_awaited: bool,
    label: Vec<u8>,
    control: Vec<u8>,
    manifest_tail: Vec<u8>,
    /// Why the program was ended.
    gave_up: Option<String>,
}

impl State {
    /// What had come before that which is waited for just now.
    fn bytes_before(&self) -> Option<u64> {
        self.is_awaited.then_some(self.bytes)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The program's output, counted, so that it is seen when nothing comes any more.
struct Counted {
    stream: ProgramStream,
    state: Arc<Mutex<State>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        lock(&self.state).is_awaited = true;
        let read = self.stream.read(buffer);
        let mut state = lock(&self.state);
        state.is_awaited = false;
        match (read, state.gave_up.clone()) {
            (Err(_), Some(why)) => Err(io::Error::other(why)),
            (read, _) => {
                state.bytes += *read.as_ref().unwrap_or(&0) as u64;
                read
            }
        }
    }
}

enum Place {
    Start,
    Middle,
    End,
}

/// The files in the order in which they come; each must be read before the next is asked for.
struct Arrivals {
    tar: Arc<Mutex<Tar<Counted>>>,
    state: Arc<Mutex<State>>,
    place: Place,
}

impl Iterator for Arrivals {
    type Item = Result<Found, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.place {
            Place::Start => {
                self.place = Place::Middle;
                return Some(Ok(Found::directory("", 0)));
            }
            Place::End => return None,
            Place::Middle => {}
        }
        let next = lock(&self.tar).next();
        match next {
            Ok(Some(member)) => Some(Ok(self.found(member))),
            Ok(None) => {
                self.place = Place::End;
                None
            }
            Err(cause) => {
                self.place = Place::End;
                // A stream that breaks ends the backup.
                let broken = Found::stream("base backup", 0, Box::new(move || Err(cause)));
                Some(Ok(broken))
            }
        }
    }
}

impl Arrivals {
    fn found(&self, member: Member) -> Found {
        let name = member.path.rsplit(|byte| *byte == b'/').next();
        let name = name.unwrap_or_default().to_vec();
        let (kind, body) = match member.kind {
            MemberKind::Directory => (NodeKind::Directory { tree: None }, Body::Nothing),
            MemberKind::Link { target } => (NodeKind::Symlink { target }, Body::Nothing),
            MemberKind::File { len } => {
                let kind = NodeKind::File {
                    size: len,
                    content: Content::default(),
                    extents: Vec::new(),
                };
                (kind, self.body(&member.path, len))
            }
        };
        let mtime_ns = i128::from(member.mtime) * 1_000_000_000;
        Found {
            path: member.path,
            node: Node {
                name,
                uid: member.uid,
                gid: member.gid,
                user: member.user,
                group: member.group,
                ..Node::plain("", kind, member.mode, mtime_ns)
            },
            body,
        }
    }

    fn body(&self, path: &[u8], len: u64) -> Body {
        if len == 0 {
            return Body::Nothing;
        }
        let tar = self.tar.clone();
        let reader = MemberReader {
            tar,
            kept: match path {
                b"backup_label" => Some((self.state.clone(), Keep::Label)),
                b"backup_manifest" => Some((self.state.clone(), Keep::ManifestTail)),
                b"global/pg_control" => Some((self.state.clone(), Keep::Control)),
                _ => None,
            },
        };
        Body::Stream(Box::new(move || {
            Ok(Box::new(reader) as Box<dyn Read + Send>)
        }))
    }
}

/// What is kept of a member besides storing it.
#[derive(Clone, Copy)]
enum Keep {
    Label,
    Control,
    ManifestTail,
}

/// One member's bytes.
struct MemberReader {
    tar: Arc<Mutex<Tar<Counted>>>,
    kept: Option<(Arc<Mutex<State>>, Keep)>,
}

impl Read for MemberReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = lock(&self.tar).read(buffer)?;
        if let Some((state, keep)) = &self.kept {
            keep.note(&mut lock(state), &buffer[..len]);
        }
        Ok(len)
    }
}

impl Keep {
    fn note(self, state: &mut State, bytes: &[u8]) {
        let (kept, max, is_tail) = match self {
            Self::Label => (&mut state.label, LABEL_MAX_BYTES, false),
            Self::Control => (&mut state.control, 16, false),
            Self::ManifestTail => (&mut state.manifest_tail, TAIL_LEN_BYTES, true),
        };
        if is_tail {
            kept.extend_from_slice(bytes);
            let beyond = kept.len().saturating_sub(max);
            kept.drain(..beyond);
        } else {
            let room = max.saturating_sub(kept.len());
            kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }
}

/// What the backup says of itself, which must be the same everywhere.
fn facts(state: &State, server: Server, client: String) -> Result<Facts, SourceError> {
    let refused = |words: &str| SourceError::Refused(words.to_owned());
    let label = String::from_utf8_lossy(&state.label).into_owned();
    let of_label = |name: &str| label.lines().find_map(|line| line.strip_prefix(name));
    let timeline = of_label("START TIMELINE: ").and_then(|text| text.parse().ok());
    let start = of_label("START WAL LOCATION: ").and_then(|text| text.split(' ').next());
    let start: Option<Lsn> = start.and_then(|text| text.parse().ok());
    let (Some(timeline), Some(start_lsn)) = (timeline, start) else {
        return Err(refused("the backup has no label that says where it starts"));
    };
    let stop_lsn = last_lsn(&String::from_utf8_lossy(&state.manifest_tail));
    let stop_lsn = stop_lsn
        .filter(|stop| *stop >= start_lsn)
        .ok_or_else(|| refused("the backup has no manifest that says where it ends"))?;
    let found = system_of_control(&state.control)
        .ok_or_else(|| refused("the backup has no control file"))?;
    if found != server.system {
        return Err(SourceError::Refused(format!(
            "the files came from the cluster {found}, and the server that was asked is {}: another server answers at the same address now and then",
            server.system
        )));
    }
    let base = BaseFacts {
        system_identifier: found,
        timeline,
        start_lsn,
        stop_lsn,
        segment_bytes: server.segment_bytes,
        checksums_verified: server.checksums.then_some(true),
        server_version: server.version,
        superuser: server.superuser,
        backup_label: label,
    };
    let value = serde_json::to_value(base).map_err(|e| SourceError::Refused(e.to_string()))?;
    Ok(Facts {
        source: BTreeMap::from([(BaseFacts::NAME.to_owned(), value)]),
        tools: BTreeMap::from([("pg_basebackup".to_owned(), client)]),
        ..Facts::default()
    })
}

/// `"End-LSN": "0/2000100"`, the last one in the end of a backup's manifest.
fn last_lsn(tail: &str) -> Option<Lsn> {
    let (_, rest) = tail.rsplit_once("\"End-LSN\": \"")?;
    rest.split('"').next()?.parse().ok()
}

/// Looks after a backup that does not go on. The server waits at its end until its WAL is archived; where
/// archiving fails or does not happen, that is for ever.
struct Watch {
    stop: Option<Sender<()>>,
}

impl Watch {
    fn start(request: Request, killer: Killer, state: Arc<Mutex<State>>) -> Self {
        let (stop, stopped) = channel();
        thread::spawn(move || {
            let connection = &request.connection;
            let limit = request.patience * STALL_PATIENCES;
            let mut stall: Option<Stall> = None;
            while stopped.recv_timeout(request.patience) == Err(RecvTimeoutError::Timeout) {
                let before = lock(&state).bytes_before();
                let same = stall.as_mut().filter(|stall| Some(stall.bytes) == before);
                let Some(same) = same else {
                    stall = before.map(|bytes| Stall::new(bytes, Instant::now()));
                    continue;
                };
                let archiver = server::ask(connection).ok().map(|server| server.archiver);
                let why = same.look(archiver.as_ref(), Instant::now(), limit);
                let Some(why) = why.map(|why| why.words(&connection.title(), archiver.as_ref()))
                else {
                    continue;
                };
                let mut seen = lock(&state);
                // It may have gone on while the server was asked.
                if seen.bytes_before() == before {
                    seen.gave_up = Some(why);
                    drop(seen);
                    killer.kill();
                    return;
                }
            }
        });
        Self { stop: Some(stop) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The thread ends by itself; it may be asking the server just now.
        drop(self.stop.take());
    }
}

/// What an operator has to know of a server whose archive_command fails.
pub fn archiving_fails(archiver: &Archiver) -> String {
    let what = archiver.last_failed.as_deref().unwrap_or("its WAL");
    format!(
        "the server fails to archive {what}: its log shows what archive_command said; without that WAL nothing after it can be restored"
    )
}

#[cfg(test)]
mod tests {
    use crate::model::wal::Lsn;
    use crate::source::cluster::base::last_lsn;

    #[test]
    fn the_end_is_that_of_the_last_range() {
        let tail = "\"WAL-Ranges\": [\n{ \"Timeline\": 1, \"Start-LSN\": \"0/28\", \"End-LSN\": \"0/100\" },\n{ \"Timeline\": 2, \"Start-LSN\": \"0/100\", \"End-LSN\": \"A/F0\" }\n],";
        assert_eq!(last_lsn(tail), Some(Lsn(0xA_0000_00F0)));
        assert_eq!(last_lsn("\"Manifest-Checksum\": \"7d\"}"), None);
    }
}
