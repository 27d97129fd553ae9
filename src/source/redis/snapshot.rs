//! Captures a snapshot of a server: by BGSAVE and its file where that can be read, else streamed as to a
//! replica. Sorted into its canonical form while it arrives; as it is where that is not understood.

use crate::model::tree::Found;
use crate::source::redis::Request;
use crate::source::redis::error::RedisError;
use crate::source::redis::facts::{Form, Position, RedisFacts, Transfer, keyspace, settings};
use crate::source::redis::files;
use crate::source::redis::rdb::input::Input;
use crate::source::redis::rdb::{
    Raw, RdbError, RdbFacts, SORT_BUDGET_BYTES, canonical_in, check_end, written_at,
};
use crate::source::redis::replica::Replica;
use crate::source::redis::save::{Waiting, loaded, save};
use crate::source::redis::server::{Info, Server, Target};
use crate::source::redis::stop::Stop;
use crate::source::{Capture, Facts, SourceError};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The name of the snapshot in a backup, whatever the server calls it.
pub const SNAPSHOT: &str = "dump.rdb";
/// The facts at a snapshot's beginning take less.
const HEAD_LEN_BYTES: u64 = 4 << 10;

/// Starts capturing. The server is asked to save, or for the stream, when the stream is opened.
pub(crate) fn rdb(request: Request) -> Result<Capture, SourceError> {
    let stop = Stop::default();
    let target = request.target()?;
    let mut server = target.connect()?;
    let before = loaded(&mut server, &mut Waiting::new(&stop, request.patience))?;
    let config = settings(&mut server)?;
    let way = Way::choose(&request, &mut server)?;
    let mut facts = RedisFacts::new(&before, way.transfer(), config);
    facts.files_unread = way.files_unread();
    let (guard, at_ns) = (stop.guard(), request.at_ns);
    let job = Job {
        target,
        server,
        before,
        facts,
        way,
        saved: None,
        request,
        stop,
    };
    let job = Arc::new(Mutex::new(job));
    let for_finish = job.clone();
    let open = move || {
        let mut job = job.lock().unwrap_or_else(PoisonError::into_inner);
        job.open().map_err(RedisError::into_io)
    };
    let found = [
        Found::directory("", at_ns),
        Found::stream(SNAPSHOT, at_ns, Box::new(open)),
    ];
    let finish = move || {
        let mut job = for_finish.lock().unwrap_or_else(PoisonError::into_inner);
        job.finish()
    };
    Ok(Capture {
        walk: Box::new(found.into_iter().map(Ok)),
        finish: Box::new(finish),
        guard,
    })
}

/// How the snapshot is got.
enum Way {
    /// From the server's own file.
    File(PathBuf),
    /// As to a replica; with the reason, when the file was to be read.
    Replica(Option<String>),
}

impl Way {
    fn choose(request: &Request, server: &mut Server) -> Result<Self, RedisError> {
        let is_far = !request.via.is_empty();
        let folder = match &request.data_dir {
            Some(folder) => folder.clone(),
            None if is_far => {
                let folder = server.config("dir")?.ok_or(RedisError::NoDataDir)?;
                PathBuf::from(folder)
            }
            None => return Ok(Self::Replica(None)),
        };
        if !is_far && let Err(cause) = std::fs::read_dir(&folder) {
            let why = format!("read `{}`: {cause}", folder.display());
            return Ok(Self::Replica(Some(why)));
        }
        let name = server.config("dbfilename")?;
        Ok(Self::File(folder.join(name.as_deref().unwrap_or(SNAPSHOT))))
    }

    fn transfer(&self) -> Transfer {
        match self {
            Self::File(_) => Transfer::Bgsave,
            Self::Replica(_) => Transfer::Replica,
        }
    }

    fn files_unread(&self) -> Option<String> {
        match self {
            Self::File(_) => None,
            Self::Replica(why) => why.clone(),
        }
    }
}

struct Job {
    target: Target,
    server: Server,
    before: Info,
    facts: RedisFacts,
    way: Way,
    /// What the server said when it had saved; nothing when it streams.
    saved: Option<Info>,
    request: Request,
    stop: Stop,
}

type Bytes = Box<dyn Read + Send>;

impl Job {
    /// The stream. In its canonical form, all of it has arrived and was checked by now.
    fn open(&mut self) -> Result<Bytes, RedisError> {
        let (source, not_before) = self.source()?;
        match sorted(source, &self.request.scratch) {
            Ok((canonical, facts)) => {
                self.check_age(facts.written_at, not_before)?;
                self.facts.rdb = Some(facts);
                Ok(canonical)
            }
            // Nothing was handed on yet: it is read again, as it is.
            Err(RdbError::Unknown { what }) => {
                self.facts.form = Form::Raw;
                self.facts.raw_because = Some(what);
                self.raw()
            }
            Err(cause) => Err(failed(cause)),
        }
    }

    fn raw(&mut self) -> Result<Bytes, RedisError> {
        let (mut source, not_before) = self.source()?;
        let mut head = Vec::new();
        let read = (&mut source).take(HEAD_LEN_BYTES).read_to_end(&mut head);
        read.map_err(|cause| failed(RdbError::Read(cause)))?;
        self.check_age(written_at(&head), not_before)?;
        Ok(Box::new(Raw::new(Cursor::new(head).chain(source))))
    }

    /// The snapshot as the server wrote it, and the time on its clock before which that can not be.
    fn source(&mut self) -> Result<(Bytes, Option<i64>), RedisError> {
        if let Way::File(path) = &self.way {
            let mut waiting = Waiting::new(&self.stop, self.request.patience);
            let saved = save(&mut self.server, &mut waiting)?;
            match files::open(self.target.via(), path, &self.stop) {
                Ok(file) => {
                    self.saved = Some(saved.info);
                    return Ok((Box::new(self.stop.reading(file)), Some(saved.not_before)));
                }
                // Redis's files are for its own user: whoever may not read them is sent them.
                Err(RedisError::File { cause, .. })
                    if cause.kind() == io::ErrorKind::PermissionDenied =>
                {
                    let why = format!("read `{}`: {cause}", path.display());
                    self.stream_instead(why);
                }
                Err(error) => return Err(error),
            }
        }
        let replica = Replica::start(&self.target, &self.stop)?;
        Ok((Box::new(self.stop.reading(replica)), None))
    }

    fn stream_instead(&mut self, why: String) {
        self.way = Way::Replica(Some(why));
        self.facts.transfer = self.way.transfer();
        self.facts.files_unread = self.way.files_unread();
    }

    /// A file that is older than the save is another server's.
    fn check_age(
        &self,
        written_at: Option<i64>,
        not_before: Option<i64>,
    ) -> Result<(), RedisError> {
        match (written_at, not_before, &self.way) {
            (Some(written_at), Some(not_before), Way::File(path)) if written_at < not_before => {
                Err(RedisError::OtherFile {
                    path: path.clone(),
                    place: self.server.place().to_owned(),
                })
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<Facts, SourceError> {
        // The server may be gone by now: that takes nothing from what it gave.
        if let Ok(after) = self.server.info() {
            self.facts.position = match &self.saved {
                Some(saved) => Position::unchanged_since_save(saved, &after),
                None => Position::unchanged(&self.before, &after),
            };
            self.facts.keys_after = keyspace(&after);
        }
        self.facts.clone().into_facts()
    }
}

/// The canonical form of a stream that must hold one snapshot and nothing else.
fn sorted(source: Bytes, scratch: &Path) -> Result<(Bytes, RdbFacts), RdbError> {
    let mut input = Input::new(source);
    let (canonical, facts) = canonical_in(&mut input, scratch, SORT_BUDGET_BYTES)?;
    check_end(&mut input)?;
    Ok((Box::new(canonical), facts))
}

fn failed(cause: RdbError) -> RedisError {
    let file = SNAPSHOT.to_owned();
    match cause {
        RdbError::Read(cause) => match cause.downcast::<RedisError>() {
            Ok(known) => known,
            Err(cause) => RedisError::Rdb {
                file,
                cause: RdbError::Read(cause),
            },
        },
        cause => RedisError::Rdb { file, cause },
    }
}
