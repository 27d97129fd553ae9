//! The database of the benchmark, the same at every run: what an application keeps, with text, numbers, JSON and
//! pictures; and the days that pass over it, each with one or two of a hundred rows changed, all over the tables.

use crate::data::Numbers;
use crate::postgres::server::Server;
use std::io::{self, Write};

const SCHEMA: &str = "
CREATE TABLE users (id bigint PRIMARY KEY, email text UNIQUE NOT NULL, name text, settings jsonb, last_login_at timestamptz);
CREATE TABLE projects (id bigint PRIMARY KEY, owner bigint NOT NULL REFERENCES users, title text, about text, state text,
  options jsonb, updated_at timestamptz);
CREATE TABLE artifacts (id bigint PRIMARY KEY, project bigint NOT NULL REFERENCES projects, kind text, body text, meta jsonb,
  version int NOT NULL DEFAULT 1, updated_at timestamptz);
CREATE TABLE blobs (id bigint PRIMARY KEY, artifact bigint, mime text, content bytea);
CREATE TABLE sessions (id uuid PRIMARY KEY, owner bigint NOT NULL REFERENCES users, token text, expires_at timestamptz);
CREATE TABLE events (id bigint PRIMARY KEY, owner bigint NOT NULL REFERENCES users, kind text, data jsonb, at timestamptz);";
const INDEXES: &str = "
CREATE INDEX ON projects (owner); CREATE INDEX ON artifacts (project, kind); CREATE INDEX ON blobs (artifact);
CREATE INDEX ON sessions (owner); CREATE INDEX ON events (owner, at);";

/// How many rows there are.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    pub users: u64,
    pub projects: u64,
    pub artifacts: u64,
    pub blobs: u64,
    pub sessions: u64,
    pub events: u64,
}

impl Rows {
    /// About 100 MB of dump for each.
    pub fn of(hundred_mb: u64) -> Self {
        Self {
            users: 8_000 * hundred_mb,
            projects: 5_000 * hundred_mb,
            artifacts: 15_000 * hundred_mb,
            blobs: 1_000 * hundred_mb,
            sessions: 20_000 * hundred_mb,
            events: 80_000 * hundred_mb,
        }
    }
}

/// Fills the database `app`.
pub fn make(server: &Server, rows: Rows) -> io::Result<()> {
    server.sql("postgres", "CREATE DATABASE app")?;
    server.sql("app", SCHEMA)?;
    server.copy("users", |to| users(to, rows))?;
    server.copy("projects", |to| projects(to, rows))?;
    server.copy("artifacts", |to| artifacts(to, rows, 0..rows.artifacts))?;
    server.copy("blobs", |to| blobs(to, rows, 0..rows.blobs))?;
    server.copy("sessions", |to| sessions(to, rows, 0, rows.sessions))?;
    server.copy("events", |to| events(to, rows, 0..rows.events))?;
    server.sql("app", INDEXES)?;
    server.sql("app", "VACUUM ANALYZE")?;
    server.sql("app", "CHECKPOINT").map(drop)
}

/// Lets a day pass: logins, edits of old and mostly of new texts, rows that go, and new ones.
pub fn pass(server: &Server, rows: Rows, day: u64) -> io::Result<()> {
    let at = format!("timestamptz '2026-01-01' + interval '{day} days'");
    let some = |key: &str, salt: u64, of: u64, count: u64| {
        format!("(hashint8({key} + {day} * {salt}) & {}) < {count}", of - 1)
    };
    let recent = rows.artifacts * 4 / 5;
    for sql in [
        format!(
            "UPDATE users SET last_login_at = {at} WHERE {}",
            some("id", 1_000_003, 1024, 20)
        ),
        format!(
            "UPDATE projects SET title = title || ' v{day}', updated_at = {at} WHERE {}",
            some("id", 1_000_033, 1024, 10)
        ),
        format!(
            "UPDATE artifacts SET body = left(body, length(body) / 2) || ' Edited on day {day}. ' || right(body, length(body) / 2),
               version = version + 1, updated_at = {at} WHERE id > {recent} AND {} OR id <= {recent} AND {}",
            some("id", 1_000_037, 1024, 36),
            some("id", 1_000_039, 1024, 4)
        ),
        format!("DELETE FROM artifacts WHERE {}", some("id", 1_000_081, 4096, 8)),
        format!("DELETE FROM blobs WHERE {}", some("id", 1_000_099, 4096, 8)),
        format!(
            "DELETE FROM sessions WHERE {}",
            some("hashtext(id::text)::bigint", 1_000_117, 1024, 20)
        ),
    ] {
        server.sql("app", &sql)?;
    }
    let new = |count: u64, per_day: u64| {
        let first = count + (day - 1) * per_day;
        first..first + per_day
    };
    let (a, b, e) = (rows.artifacts / 200, rows.blobs / 200, rows.events / 100);
    server.copy("artifacts", |to| {
        artifacts(to, rows, new(rows.artifacts, a))
    })?;
    server.copy("blobs", |to| blobs(to, rows, new(rows.blobs, b)))?;
    server.copy("sessions", |to| sessions(to, rows, day, rows.sessions / 50))?;
    server.copy("events", |to| events(to, rows, new(rows.events, e)))?;
    server.sql("app", "VACUUM ANALYZE")?;
    server.sql("app", "CHECKPOINT").map(drop)
}

type To<'a> = &'a mut dyn Write;

fn users(to: To<'_>, rows: Rows) -> io::Result<()> {
    let mut numbers = Numbers::new(11);
    for id in 0..rows.users {
        let (name, at) = (text(&mut numbers, 14), instant(&mut numbers));
        let theme = ["dark", "light"][numbers.below(2) as usize];
        writeln!(
            to,
            "{id}\tuser{id}@example.com\t{name}\t{{\"theme\": \"{theme}\", \"lang\": \"en\", \"tz\": \"Europe/Berlin\"}}\t{at}"
        )?;
    }
    Ok(())
}

fn projects(to: To<'_>, rows: Rows) -> io::Result<()> {
    let mut numbers = Numbers::new(12);
    for id in 0..rows.projects {
        let owner = numbers.below(rows.users);
        let (title, about) = (text(&mut numbers, 40), text(&mut numbers, 400));
        let state = ["draft", "active", "archived"][numbers.below(3) as usize];
        let (steps, at) = (numbers.below(9), instant(&mut numbers));
        writeln!(
            to,
            "{id}\t{owner}\t{title}\t{about}\t{state}\t{{\"model\": \"llama3\", \"steps\": {steps}}}\t{at}"
        )?;
    }
    Ok(())
}

fn artifacts(to: To<'_>, rows: Rows, ids: std::ops::Range<u64>) -> io::Result<()> {
    let mut numbers = Numbers::new(13 + ids.start);
    for id in ids {
        let project = numbers.below(rows.projects);
        // Most are short, some are long.
        let len = 300 + (numbers.below(1_000) * numbers.below(1_000) * 12 / 1_000);
        let body = text(&mut numbers, len as usize);
        let (tokens, seed, hash) = (numbers.below(9_000), numbers.below(1 << 31), numbers.next());
        let kind = ["script", "voiceover", "storyboard", "caption"][numbers.below(4) as usize];
        let at = instant(&mut numbers);
        writeln!(
            to,
            "{id}\t{project}\t{kind}\t{body}\t{{\"tokens\": {tokens}, \"seed\": {seed}, \"sha\": \"{hash:016x}\"}}\t1\t{at}"
        )?;
    }
    Ok(())
}

fn blobs(to: To<'_>, rows: Rows, ids: std::ops::Range<u64>) -> io::Result<()> {
    let mut numbers = Numbers::new(14 + ids.start);
    for id in ids {
        write!(
            to,
            "{id}\t{}\timage/webp\t\\\\x",
            numbers.below(rows.artifacts)
        )?;
        for _ in 0..1_000 + numbers.below(3_000) {
            write!(to, "{:016x}", numbers.next())?;
        }
        writeln!(to)?;
    }
    Ok(())
}

fn sessions(to: To<'_>, rows: Rows, day: u64, count: u64) -> io::Result<()> {
    let mut numbers = Numbers::new(15 + day);
    for _ in 0..count {
        let (high, low) = (numbers.next(), numbers.next());
        let (owner, token, more) = (numbers.below(rows.users), numbers.next(), numbers.next());
        let at = instant(&mut numbers);
        writeln!(
            to,
            "{high:016x}{low:016x}\t{owner}\t{token:016x}{more:016x}\t{at}"
        )?;
    }
    Ok(())
}

fn events(to: To<'_>, rows: Rows, ids: std::ops::Range<u64>) -> io::Result<()> {
    let mut numbers = Numbers::new(16 + ids.start);
    for id in ids {
        let owner = numbers.below(rows.users);
        let kind = ["login", "generate", "render", "export", "share"][numbers.below(5) as usize];
        let (price, at) = (numbers.below(100_000), instant(&mut numbers));
        writeln!(
            to,
            "{id}\t{owner}\t{kind}\t{{\"p\": {price}, \"ok\": true}}\t{at}"
        )?;
    }
    Ok(())
}

fn text(numbers: &mut Numbers, len: usize) -> String {
    let words = crate::data::words(numbers, len);
    // One line, without what COPY takes for a mark.
    String::from_utf8_lossy(&words).replace(['\n', '\t', '\\'], " ")
}

fn instant(numbers: &mut Numbers) -> String {
    let second = numbers.below(86_400 * 300);
    let (day, hour, minute) = (second / 86_400, second / 3_600 % 24, second / 60 % 60);
    let (month, day) = (1 + day / 28, 1 + day % 28);
    format!(
        "2025-{month:02}-{day:02} {hour:02}:{minute:02}:{:02}+00",
        second % 60
    )
}
