//! How a PostgreSQL server is reached: the client programs with their connection settings, and questions
//! asked through `psql`. The password goes by environment, never by argv; whatever libpq reads besides
//! (`PGPASSFILE`, `PGSSLROOTCERT`, a `.pgpass`) is left as it is. Questions change nothing at the server and
//! wait for no lock for long.

use crate::model::secret::Secret;
use crate::model::strategy::{PostgresSource, SslMode, TestServer};
use crate::source::postgres::PostgresError;
use crate::source::program::{Program, ProgramError};
use serde::de::DeserializeOwned;
use std::path::PathBuf;
use std::time::Duration;

/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// How long the server may work on one question.
const STATEMENT_LIMIT: Duration = Duration::from_secs(60);
/// How long a question may wait for a lock.
const LOCK_LIMIT: Duration = Duration::from_secs(10);
/// How long a question may take besides: `psql` itself, and the connection.
const CLIENT_LIMIT: Duration = Duration::from_secs(30);
/// Longest answer that is taken.
const ANSWER_MAX_BYTES: usize = 256 << 20;

/// A server and a database on it, and who asks.
#[derive(Clone)]
pub struct Connection {
    host: Option<String>,
    port: u16,
    user: Option<String>,
    database: String,
    sslmode: SslMode,
    password: Option<Secret>,
    via: Vec<String>,
    /// Where the client programs are; empty: on PATH.
    bin: Option<PathBuf>,
}

impl Connection {
    /// As the plan file says. Without a password libpq looks for one where it always does.
    pub fn new(spec: &PostgresSource, password: Option<Secret>) -> Self {
        Self {
            host: spec.host.clone(),
            port: spec.port,
            user: spec.user.clone(),
            database: spec.database.clone(),
            sslmode: spec.sslmode,
            password,
            via: spec.via.clone(),
            bin: None,
        }
    }

    /// The local server, with whatever libpq finds in its environment.
    pub fn bare_server() -> Self {
        Self {
            host: None,
            port: 5432,
            user: None,
            database: String::new(),
            sslmode: SslMode::Prefer,
            password: None,
            via: Vec::new(),
            bin: None,
        }
    }

    /// A server for restore tests, as the plan file says.
    pub fn to_test_server(server: &TestServer, password: Option<Secret>) -> Self {
        Self {
            host: Some(server.host.clone()),
            port: server.port,
            user: server.user.clone(),
            sslmode: server.sslmode,
            password,
            ..Self::bare_server()
        }
    }

    /// A server of one's own that listens in `folder` only and asks for no password.
    pub fn local(folder: &str, user: &str, database: &str) -> Self {
        Self {
            host: Some(folder.to_owned()),
            user: Some(user.to_owned()),
            database: database.to_owned(),
            sslmode: SslMode::Disable,
            ..Self::bare_server()
        }
    }

    /// The same server and another database.
    pub fn to_database(&self, database: &str) -> Self {
        Self {
            database: database.to_owned(),
            ..self.clone()
        }
    }

    /// With the client programs of this folder.
    pub fn with_programs_of(&self, bin: Option<PathBuf>) -> Self {
        Self {
            bin,
            ..self.clone()
        }
    }

    /// With other settings than the plan file's, where `change` makes them.
    pub fn with(mut self, change: Change) -> Self {
        match change {
            Change::Host(host) => self.host = Some(host),
            Change::Port(port) => self.port = port,
            Change::User(user) => self.user = Some(user),
            Change::Database(database) => self.database = database,
            Change::SslMode(mode) => self.sslmode = mode,
        }
        self
    }

    /// The database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Whether the programs run on the far side of something.
    pub fn is_via(&self) -> bool {
        !self.via.is_empty()
    }

    /// For messages: `content_crew at db.example.com:5432`.
    pub fn title(&self) -> String {
        format!("{} at {}", self.database, self.server())
    }

    /// The server, for messages: `db.example.com:5432`.
    pub fn server(&self) -> String {
        let host = self.host.as_deref().unwrap_or("the local server");
        match host.starts_with('/') {
            true => host.to_owned(),
            false => format!("{host}:{}", self.port),
        }
    }

    /// A client program that is no server's client yet: `pg_dump --version`.
    pub fn bare(&self, program: &str) -> Program {
        let path = match (&self.bin, self.via.is_empty()) {
            (Some(bin), true) => bin.join(program).to_string_lossy().into_owned(),
            _ => program.to_owned(),
        };
        Program::new(&path).via(&self.via)
    }

    /// A client program that knows where the server is and never asks for a password: `pg_dump`, `psql`,
    /// `pg_dumpall`, `pg_restore`, `pg_basebackup`.
    pub fn program(&self, program: &str) -> Program {
        let program = self.bare(program).arg("--no-password");
        let program = program.arg(format!("--dbname={}", self.conninfo(&[])));
        match &self.password {
            Some(password) => program.secret_env("PGPASSWORD", password.clone()),
            None => program,
        }
    }

    /// What libpq is told, without the password. Stands above the environment and above a service file.
    fn conninfo(&self, more: &[(&str, String)]) -> String {
        let mut pairs = vec![
            ("dbname", self.database.clone()),
            ("port", self.port.to_string()),
            ("sslmode", self.sslmode.as_str().to_owned()),
            ("connect_timeout", CONNECT_LIMIT.as_secs().to_string()),
            ("application_name", "ccb".to_owned()),
            // A peer that is gone without a word is noticed, however long a program only listens.
            ("keepalives_idle", "30".to_owned()),
            ("keepalives_interval", "10".to_owned()),
            ("keepalives_count", "6".to_owned()),
        ];
        pairs.extend(self.host.clone().map(|host| ("host", host)));
        pairs.extend(self.user.clone().map(|user| ("user", user)));
        pairs.extend(more.iter().cloned());
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{name}={}", quoted(value)))
            .collect();
        pairs.join(" ")
    }

    /// `psql`, to carry out SQL up to the first error.
    pub fn script(&self) -> Program {
        self.psql(&[])
    }

    fn psql(&self, more: &[(&str, String)]) -> Program {
        let program = self.bare("psql").args(["-X", "-q", "-A", "-t", "-w"]);
        let program = program.args(["-v", "ON_ERROR_STOP=1"]);
        let program = program.arg(format!("--dbname={}", self.conninfo(more)));
        match &self.password {
            Some(password) => program.secret_env("PGPASSWORD", password.clone()),
            None => program,
        }
    }

    /// Asks one question whose answer is one JSON value. It is bounded: the server is told to give up in time,
    /// and a server that does not even take that is behind a pooler, where no dump can be made.
    pub fn ask<T: DeserializeOwned>(&self, sql: &str) -> Result<T, PostgresError> {
        self.ask_within(sql, STATEMENT_LIMIT)
    }

    /// Asks one question that may take this long.
    pub fn ask_within<T: DeserializeOwned>(
        &self,
        sql: &str,
        limit: Duration,
    ) -> Result<T, PostgresError> {
        let answer = self.answers(sql, limit, LOCK_LIMIT)?;
        serde_json::from_str(answer.trim()).map_err(|cause| self.as_unclear(cause))
    }

    /// Asks questions one after another in one session, each of which sees what is committed by then, may take
    /// this long and may wait so long for a lock. Each answer is one JSON value in one line.
    pub fn ask_each<T: DeserializeOwned>(
        &self,
        questions: &[String],
        limit: Duration,
        lock_limit: Duration,
    ) -> Result<Vec<T>, PostgresError> {
        let answers = self.answers(&questions.join(";\n"), limit, lock_limit)?;
        let answers: Vec<&str> = answers.lines().collect();
        serde_json::from_str(&format!("[{}]", answers.join(",")))
            .map_err(|cause| self.as_unclear(cause))
    }

    /// What `psql` prints of these questions.
    fn answers(
        &self,
        sql: &str,
        limit: Duration,
        lock_limit: Duration,
    ) -> Result<String, PostgresError> {
        let millis = limit.as_millis();
        let options = format!(
            "-c statement_timeout={millis} -c lock_timeout={} -c default_transaction_read_only=on",
            lock_limit.as_millis()
        );
        let psql = self.psql(&[("options", options)]);
        let setting = "SELECT setting FROM pg_settings WHERE name = 'statement_timeout'";
        let sql = format!("{setting};\n{sql};\n");
        let printed = psql.output_of(sql.as_bytes(), ANSWER_MAX_BYTES, limit + CLIENT_LIMIT);
        let printed = printed.map_err(|cause| self.as_refused(cause))?;
        let text = String::from_utf8_lossy(&printed.stdout);
        let (set, answers) = text.split_once('\n').unwrap_or_default();
        match set == millis.to_string() {
            true => Ok(answers.to_owned()),
            false => Err(PostgresError::Pooler(self.title())),
        }
    }

    fn as_unclear(&self, cause: serde_json::Error) -> PostgresError {
        PostgresError::Answer {
            at: self.title(),
            cause,
        }
    }

    /// Carries out SQL that changes something.
    pub fn run(&self, sql: &str, limit: Duration) -> Result<(), PostgresError> {
        let printed = self
            .script()
            .output_of(sql.as_bytes(), ANSWER_MAX_BYTES, limit);
        printed.map(|_| ()).map_err(|cause| self.as_refused(cause))
    }

    /// An error of a client program, in words that say the way out where there is a known one.
    pub fn as_refused(&self, cause: ProgramError) -> PostgresError {
        let words = cause.to_string();
        match words.contains("unsupported startup parameter") {
            true => PostgresError::Pooler(self.title()),
            false => PostgresError::Ask {
                at: self.title(),
                cause,
            },
        }
    }
}

/// One setting that differs.
#[allow(missing_docs)]
pub enum Change {
    Host(String),
    Port(u16),
    User(String),
    Database(String),
    SslMode(SslMode),
}

/// A value as libpq's connection strings want it.
fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('\'', "\\'");
    format!("'{escaped}'")
}

/// A name as SQL wants it.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL wants it, whatever `standard_conforming_strings` is.
pub fn literal(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "''");
    format!("E'{escaped}'")
}

#[cfg(test)]
mod tests {
    use crate::source::postgres::connection::{Connection, identifier, literal, quoted};

    #[test]
    fn values_are_quoted_for_whom_they_are_for() {
        assert_eq!(quoted(r"it's a\b"), r"'it\'s a\\b'");
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal(r"it's a\b"), r"E'it''s a\\b'");
    }

    #[test]
    fn a_title_names_the_database_and_where_it_is() {
        let local = Connection::local("/tmp/x", "postgres", "app");
        assert_eq!(local.title(), "app at /tmp/x");
        assert!(
            local
                .conninfo(&[])
                .starts_with("dbname='app' port='5432' sslmode='disable'")
        );
    }
}
