//! Method `dump`: one `pg_dump` stream, read through to its proven end, with the server's globals and the
//! schema beside it. The dump is not compressed unless the plan file wants it: the repository compresses, and
//! what did not change is stored once.

use crate::model::postgres::{DumpFacts, FACTS_KEY, Schema, ServerFacts};
use crate::model::secret::Secret;
use crate::model::strategy::{DumpFormat, PostgresSource};
use crate::model::tree::Found;
use crate::model::units::Period;
use crate::source::postgres::connection::Connection;
use crate::source::postgres::held::{CUSTOM, Held, PLAIN, Reading};
use crate::source::postgres::{PostgresError, facts, globals, patterns, programs, schema};
use crate::source::program::{Killer, Program, ProgramStream};
use crate::source::{Capture, Facts, SourceError};
use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Name of the file with the server's roles.
pub const GLOBALS: &str = "globals.sql";

/// What to dump.
pub struct Request {
    /// What the plan file asks for.
    pub spec: PostgresSource,
    /// The password, where the plan file names one.
    pub password: Option<Secret>,
    /// When it is taken, nanoseconds since the Unix epoch.
    pub at_ns: i128,
    /// How long it waits for a table that somebody has locked against reading.
    pub lock_wait: Duration,
}

/// Starts a dump: asks the server what it is, sees that all that is named is there, and dumps when the walk is
/// read.
pub fn dump(request: Request) -> Result<Capture, SourceError> {
    let Request {
        spec,
        password,
        at_ns,
        lock_wait,
    } = request;
    let connection = Connection::new(&spec, password);
    let server = facts::server(&connection)?;
    let (connection, version) = programs::fitting(&connection, "pg_dump", server.major())?;
    patterns::check(&connection, &spec, lock_wait)?;
    let globals = globals::globals(&connection, server.is_superuser)?;
    let shared = Arc::new(Shared::default());
    let deadline = Deadline::start(&shared, &server.database, spec.timeout);
    let file = file_name(&server.database, spec.format);
    let program = program(&connection, &spec, spec.format, lock_wait);
    let schema_only =
        self::program(&connection, &spec, DumpFormat::Custom, lock_wait).arg("--schema-only");
    let started = Started {
        server,
        spec,
        version,
        file: file.clone(),
        globals_denied: globals.as_ref().err().cloned(),
    };
    let mut files = vec![
        Found::stream(&file, at_ns, {
            let (shared, format) = (shared.clone(), started.spec.format);
            Box::new(move || Shared::start(&shared, &program, format))
        }),
        Found::stream(&schema_name(&started.server.database), at_ns, {
            let shared = shared.clone();
            Box::new(move || shared.schema(&schema_only))
        }),
    ];
    if let Ok(globals) = globals {
        let open = move || Ok(Box::new(Cursor::new(globals)) as Box<dyn Read + Send>);
        files.push(Found::stream(GLOBALS, at_ns, Box::new(open)));
    }
    // In the order that a walk has; a dump stands before its schema in it.
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.insert(0, Found::directory("", at_ns));
    Ok(Capture {
        walk: Box::new(files.into_iter().map(Ok)),
        guard: Box::new(Guard {
            shared: shared.clone(),
            _deadline: deadline,
        }),
        finish: Box::new(move || started.finish(&shared)),
    })
}

/// `pg_dump` of what the plan file asks for.
pub(crate) fn program(
    connection: &Connection,
    spec: &PostgresSource,
    format: DumpFormat,
    lock_wait: Duration,
) -> Program {
    let mut program = connection
        .program("pg_dump")
        .arg(format!("--compress={}", spec.compress))
        .arg(format!("--lock-wait-timeout={}", lock_wait.as_millis()))
        .arg(match format {
            DumpFormat::Plain => "--format=plain",
            DumpFormat::Custom => "--format=custom",
        });
    if !spec.schemas.is_empty() {
        // Large objects are in no schema, and would be left out without a word.
        program = program.args(["--strict-names", "--blobs"]);
    }
    for schema in &spec.schemas {
        program = program.arg(format!("--schema={schema}"));
    }
    for table in &spec.exclude_tables {
        program = program.arg(format!("--exclude-table={table}"));
    }
    program
}

/// Names of the files in a backup; a database may be named as no file can be.
fn file_name(database: &str, format: DumpFormat) -> String {
    let database = as_file(database);
    match format {
        DumpFormat::Plain => format!("{database}.dump.sql"),
        DumpFormat::Custom => format!("{database}.dump"),
    }
}

/// Name of the file with the schema of `database` in a backup.
pub fn schema_name(database: &str) -> String {
    format!("{}.schema.json", as_file(database))
}

/// How the facts of a dump call its format.
fn word(format: DumpFormat) -> &'static str {
    match format {
        DumpFormat::Plain => PLAIN,
        DumpFormat::Custom => CUSTOM,
    }
}

fn as_file(database: &str) -> String {
    database.replace(['/', '\0'], "_")
}

/// What was known when the dump began.
struct Started {
    server: ServerFacts,
    spec: PostgresSource,
    version: String,
    file: String,
    globals_denied: Option<String>,
}

impl Started {
    fn finish(self, shared: &Shared) -> Result<Facts, SourceError> {
        let state = shared.state();
        let Some(Dumped { held, said, .. }) = &state.dumped else {
            let words = format!("the dump of {} was not read to its end", self.file);
            return Err(SourceError::Refused(words));
        };
        let left_out = [
            ("schemas", &self.spec.schemas),
            ("exclude-tables", &self.spec.exclude_tables),
        ];
        let mut left_out: Vec<String> = left_out
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(setting, names)| format!("{setting} {}", names.join(" ")))
            .collect();
        let mut warnings: Vec<String> = said.lines().map(str::to_owned).collect();
        if let Some(denied) = self.globals_denied {
            left_out.push(GLOBALS.to_owned());
            warnings.push(format!("{GLOBALS}: {denied}"));
        }
        let facts = DumpFacts {
            file: self.file,
            format: word(self.spec.format).to_owned(),
            entries: held.entries,
            content: held.content,
            tables: held.tables.clone(),
            large_objects: held.large_objects,
            left_out,
            has_role_passwords: self.server.is_superuser,
            warnings,
            server: self.server,
        };
        let facts = serde_json::to_value(facts).map_err(|cause| SourceError::Io {
            doing: "write down what the server said".to_owned(),
            cause: cause.into(),
        })?;
        Ok(Facts {
            source: BTreeMap::from([(FACTS_KEY.to_owned(), facts)]),
            tools: BTreeMap::from([("pg_dump".to_owned(), self.version)]),
            ..Facts::default()
        })
    }
}

/// What the readers of one capture's files share.
#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    is_given_up: bool,
    /// Why it was, where that was its own fault.
    took_too_long: Option<TookTooLong>,
    running: Vec<Killer>,
    dumped: Option<Dumped>,
}

/// What was learnt from a dump that was read to its end.
struct Dumped {
    held: Held,
    /// `None`: the dump is in a format that does not tell.
    schema: Option<Schema>,
    said: String,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a program that is ended when the capture is given up.
    fn run(&self, program: &Program) -> io::Result<ProgramStream> {
        let mut state = self.state();
        if state.is_given_up {
            return Err(state.why(io::ErrorKind::Interrupted.into()));
        }
        let (stream, killer) = program.stream().map_err(io::Error::other)?;
        state.running.push(killer);
        Ok(stream)
    }

    fn start(
        shared: &Arc<Self>,
        program: &Program,
        format: DumpFormat,
    ) -> io::Result<Box<dyn Read + Send>> {
        let stream = shared.run(program)?;
        Ok(Box::new(Watched {
            stream,
            reading: Some(Reading::of(word(format))),
            shared: shared.clone(),
        }))
    }

    /// The schema as JSON; what is read of the server for it alone is read now.
    fn schema(&self, schema_only: &Program) -> io::Result<Box<dyn Read + Send>> {
        let known = self.state().dumped.as_mut().and_then(|d| d.schema.take());
        let schema = match known {
            Some(schema) => schema,
            None => schema::read(self.run(schema_only)?)?,
        };
        Ok(Box::new(Cursor::new(serde_json::to_vec(&schema)?)))
    }
}

/// Ends what still runs.
struct Guard {
    shared: Arc<Shared>,
    _deadline: Deadline,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.state().give_up();
    }
}

impl State {
    /// What is to be said of a read that failed with `cause`.
    fn why(&self, cause: io::Error) -> io::Error {
        match &self.took_too_long {
            Some((database, limit)) => io::Error::other(PostgresError::TookTooLong {
                database: database.clone(),
                limit: *limit,
            }),
            None => cause,
        }
    }

    fn give_up(&mut self) {
        self.is_given_up = true;
        self.running.iter().for_each(Killer::kill);
    }
}

/// What was dumped, and how long that might take.
type TookTooLong = (String, Period);

/// Gives a dump up that still runs when its time is over, whether or not anybody reads it. Ends when dropped.
struct Deadline {
    _stop: Sender<()>,
}

impl Deadline {
    fn start(shared: &Arc<Shared>, database: &str, limit: Period) -> Self {
        let (stop, stopped) = channel::<()>();
        let (shared, what) = (shared.clone(), (database.to_owned(), limit));
        thread::spawn(move || {
            let limit = Duration::from_secs(limit.seconds);
            if stopped.recv_timeout(limit) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let mut state = shared.state();
            if state.dumped.is_none() {
                state.took_too_long = Some(what);
                state.give_up();
            }
        });
        Self { _stop: stop }
    }
}

/// A dump that is looked through while it is read.
struct Watched {
    stream: ProgramStream,
    /// `None` after the end.
    reading: Option<Reading>,
    shared: Arc<Shared>,
}

impl Read for Watched {
    /// `Ok(0)` only after `pg_dump` ended well and what it wrote was found to be whole.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer);
        let len = read.map_err(|cause| self.shared.state().why(cause))?;
        if len > 0 {
            let fed = self
                .reading
                .as_mut()
                .map_or(Ok(()), |r| r.feed(&buffer[..len]));
            fed.map_err(io::Error::other)?;
        } else if !buffer.is_empty()
            && let Some(reading) = self.reading.take()
        {
            let (held, schema) = reading.finish().map_err(io::Error::other)?;
            self.shared.state().dumped = Some(Dumped {
                held,
                schema,
                said: self.stream.said(),
            });
        }
        Ok(len)
    }
}
