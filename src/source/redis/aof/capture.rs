//! Captures the append-only files of a server that goes on writing. All files that the manifest names are
//! opened, then the manifest is read again: when it is the same, what was opened is one state of the data,
//! and stays it whatever the server does next. The server's settings are not touched: a run that is killed
//! leaves nothing behind there, such as rewrites that are turned off for good.

use crate::model::tree::Found;
use crate::source::redis::Request;
use crate::source::redis::aof::{AofBody, AofError, AofFacts, AofManifest, End};
use crate::source::redis::error::RedisError;
use crate::source::redis::facts::{
    AppendOnlyFacts, Form, Position, RedisFacts, Transfer, keyspace, settings,
};
use crate::source::redis::files::{self, Opened, OpenedFile};
use crate::source::redis::rdb::{Raw, RdbError};
use crate::source::redis::save::{Waiting, loaded};
use crate::source::redis::server::{Info, Server, Target};
use crate::source::redis::stop::Stop;
use crate::source::{Capture, SourceError};
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Starts capturing: on return all files are open.
pub(crate) fn aof(request: Request) -> Result<Capture, SourceError> {
    let stop = Stop::default();
    let target = request.target()?;
    let mut server = target.connect()?;
    let config = settings(&mut server)?;
    let layout = Layout::of(&request, &mut server, &config)?;
    let state = State::open(&mut server, &target, &layout, &request, &stop)?;
    let at_ns = request.at_ns;
    let shared = Arc::new(Mutex::new(Shared::default()));
    let mut found = vec![Found::directory("", at_ns)];
    if let Some(directory) = &layout.directory {
        found.push(Found::directory(directory, at_ns));
    }
    let path = |name: &str| match &layout.directory {
        Some(directory) => format!("{directory}/{name}"),
        None => name.to_owned(),
    };
    let last = state.last.clone();
    let mut streams: Vec<(String, Found)> = Vec::new();
    for (name, file) in state.opened.into_files() {
        let stream = Stream {
            end: match Some(&name) == last.as_ref() {
                true => End::MayBeCut,
                false => End::Whole,
            },
            name: name.clone(),
            file,
            scratch: request.scratch.clone(),
            shared: shared.clone(),
            stop: stop.clone(),
        };
        let open = move || stream.open();
        let stream = Found::stream(&path(&name), at_ns, Box::new(open));
        streams.push((name, stream));
    }
    if let Some((name, manifest)) = state.manifest {
        let text = manifest.text().into_bytes();
        let open = move || Ok(Box::new(Cursor::new(text)) as Box<dyn Read + Send>);
        let stream = Found::stream(&path(&name), at_ns, Box::new(open));
        streams.push((name, stream));
    }
    streams.sort_by(|(a, _), (b, _)| a.cmp(b));
    found.extend(streams.into_iter().map(|(_, found)| found));
    let mut known = RedisFacts::new(&state.before, Transfer::Files, config);
    known.keys_after = keyspace(&state.after);
    let (before, directory) = (state.before, layout.directory);
    let finish = move || {
        let shared = std::mem::take(&mut *shared.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(why) = shared.raw_because {
            (known.form, known.raw_because) = (Form::Raw, Some(why));
        }
        if let Ok(after) = server.info() {
            known.position = Position::unchanged(&before, &after);
        }
        known.aof = Some(AppendOnlyFacts {
            directory,
            files: shared.files,
        });
        known.into_facts()
    };
    Ok(Capture {
        walk: Box::new(found.into_iter().map(Ok)),
        finish: Box::new(finish),
        guard: stop.guard(),
    })
}

/// Where the files are.
struct Layout {
    data: PathBuf,
    /// The directory of Redis 7.
    directory: Option<String>,
    /// The name that all names begin with; before Redis 7 that of the one file.
    name: String,
}

impl Layout {
    fn of(
        request: &Request,
        server: &mut Server,
        config: &BTreeMap<String, String>,
    ) -> Result<Self, RedisError> {
        let data = match &request.data_dir {
            Some(data) => data.clone(),
            None if request.via.is_empty() => return Err(RedisError::NoDataDir),
            None => server
                .config("dir")?
                .map(PathBuf::from)
                .ok_or(RedisError::NoDataDir)?,
        };
        let version = server.info()?.text("redis_version").to_owned();
        let major: u32 = version
            .split('.')
            .next()
            .and_then(|n| n.parse().ok())
            .unwrap_or(7);
        let named = |name: &str, usual: &str| {
            config
                .get(name)
                .cloned()
                .unwrap_or_else(|| usual.to_owned())
        };
        Ok(Self {
            data,
            directory: (major >= 7).then(|| named("appenddirname", "appendonlydir")),
            name: named("appendfilename", "appendonly.aof"),
        })
    }
}

/// All files, open, in one state.
struct State {
    before: Info,
    after: Info,
    manifest: Option<(String, AofManifest)>,
    opened: Opened,
    /// The file that the server writes to.
    last: Option<String>,
}

impl State {
    fn open(
        server: &mut Server,
        target: &Target,
        layout: &Layout,
        request: &Request,
        stop: &Stop,
    ) -> Result<Self, RedisError> {
        let mut waiting = Waiting::new(stop, request.patience);
        // From here on every manifest names all data, also while a rewrite replaces the files.
        let before = steady(server, &mut waiting)?;
        loop {
            let opened = match &layout.directory {
                Some(directory) => {
                    open_directory(target, &layout.data.join(directory), &layout.name, stop)?
                }
                None => open_single(target, layout, stop)?,
            };
            if let Some((opened, manifest, last)) = opened {
                let after = server.info()?;
                check_writes(server, &after)?;
                return Ok(Self {
                    before,
                    after,
                    manifest,
                    opened,
                    last,
                });
            }
            waiting.wait(
                server.place(),
                "replaces its append-only files again and again",
            )?;
        }
    }
}

type OpenedState = Option<(Opened, Option<(String, AofManifest)>, Option<String>)>;

fn open_directory(
    target: &Target,
    folder: &Path,
    name: &str,
    stop: &Stop,
) -> Result<OpenedState, RedisError> {
    let manifest_name = format!("{name}.manifest");
    let path = folder.join(&manifest_name);
    let text = files::text(target.via(), &path, stop)?;
    let text = text.ok_or_else(|| RedisError::File {
        path,
        cause: io::ErrorKind::NotFound.into(),
    })?;
    let manifest = AofManifest::parse(&text)?;
    let mut names: Vec<String> = manifest.files().map(|file| file.name.clone()).collect();
    names.sort();
    let is_current = |again: &str| again == text;
    let opened = files::open_together(
        target.via(),
        folder,
        &names,
        Some(&manifest_name),
        is_current,
        stop,
    )?;
    let last = manifest.increments.last().map(|file| file.name.clone());
    Ok(opened.map(|opened| (opened, Some((manifest_name, manifest)), last)))
}

fn open_single(target: &Target, layout: &Layout, stop: &Stop) -> Result<OpenedState, RedisError> {
    let names = [layout.name.clone()];
    let opened = files::open_together(target.via(), &layout.data, &names, None, |_| true, stop)?;
    Ok(opened.map(|opened| (opened, None, Some(layout.name.clone()))))
}

/// What INFO says once the append-only files hold all data: not while the server loads, nor from when
/// append-only is turned on until its first rewrite has ended. Until then the files are those of an
/// earlier time, and INFO says of that rewrite that it runs or is to come.
fn steady(server: &mut Server, waiting: &mut Waiting<'_>) -> Result<Info, RedisError> {
    loop {
        let info = loaded(server, waiting)?;
        check_writes(server, &info)?;
        if !info.is_set("aof_rewrite_in_progress") && !info.is_set("aof_rewrite_scheduled") {
            return Ok(info);
        }
        waiting.wait(server.place(), "is rewriting its append-only file")?;
    }
}

fn check_writes(server: &Server, info: &Info) -> Result<(), RedisError> {
    let place = || server.place().to_owned();
    if !info.is_set("aof_enabled") {
        return Err(RedisError::NoAppendOnly { place: place() });
    }
    if info.text("aof_last_write_status") == "err" {
        return Err(RedisError::AppendFailed { place: place() });
    }
    Ok(())
}

/// What the streams leave for the end.
#[derive(Default)]
struct Shared {
    files: BTreeMap<String, AofFacts>,
    raw_because: Option<String>,
}

/// One file, before it is read.
struct Stream {
    name: String,
    file: OpenedFile,
    end: End,
    scratch: PathBuf,
    shared: Arc<Mutex<Shared>>,
    stop: Stop,
}

impl Stream {
    fn open(self) -> io::Result<Box<dyn Read + Send>> {
        let source = self.stop.reading(self.file.read());
        let mut body = AofBody::new(source, self.end, &self.scratch);
        match body.begin() {
            Ok(()) => {}
            Err(AofError::Snapshot(unknown @ RdbError::Unknown { .. })) => {
                return match self.file.can_be_read_again() && self.name.ends_with(SNAPSHOTS) {
                    true => Ok(self.raw(&unknown)),
                    false => Err(named(&self.name, AofError::NotUnderstood(unknown))),
                };
            }
            Err(error) => return Err(named(&self.name, error)),
        }
        Ok(Box::new(Noted {
            body,
            name: self.name,
            shared: self.shared,
        }))
    }

    /// As it is: a snapshot that is nothing else has a checksum.
    fn raw(self, because: &RdbError) -> Box<dyn Read + Send> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let RdbError::Unknown { what } = because {
            shared.raw_because = Some(what.clone());
        }
        Box::new(Raw::new(self.stop.reading(self.file.read())))
    }
}

/// Files that are a snapshot and nothing else.
const SNAPSHOTS: &str = ".rdb";

/// Keeps what was found when all was read.
struct Noted<R> {
    body: AofBody<R>,
    name: String,
    shared: Arc<Mutex<Shared>>,
}

impl<R: Read> Read for Noted<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let len = self
            .body
            .read(to)
            .map_err(|error| match error.downcast::<AofError>() {
                Ok(error) => named(&self.name, error),
                Err(error) => error,
            })?;
        if len == 0 && !to.is_empty() {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared
                .files
                .insert(self.name.clone(), self.body.facts().clone());
        }
        Ok(len)
    }
}

fn named(name: &str, cause: AofError) -> io::Error {
    RedisError::Aof {
        file: name.to_owned(),
        cause,
    }
    .into_io()
}
