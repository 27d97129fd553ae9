//! A database with one of everything, and captures read through as a backup reads them.

use crate::support::captured::{self as support, chain};
use crate::support::postgres::{Cluster, SUPERUSER};
use ccb::model::strategy::{DumpFormat, PostgresSource, SslMode};
use ccb::source::postgres::{Request, dump};
use ccb::source::{Capture, Facts};
use std::collections::BTreeMap;
use std::time::Duration;

/// One of everything that a dump treats in its own way.
pub(crate) const LAB: &str = r#"
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');
CREATE TABLE users (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  email email UNIQUE NOT NULL,
  feels mood DEFAULT 'ok',
  avatar bytea,
  notes text
);
CREATE TABLE orders (
  id serial PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users,
  total numeric(12, 2) CHECK (total >= 0),
  tags text[]
);
CREATE TABLE events (at timestamptz NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE INDEX ON events (at);
CREATE SCHEMA "Odd schema";
CREATE TABLE "Odd schema"."Odd ""table""" ("a column" text);
CREATE TABLE empty (id int);
CREATE TABLE bare ();
CREATE UNLOGGED TABLE scratch (n int);
CREATE VIEW happy AS SELECT email FROM users WHERE feels = 'happy' WITH LOCAL CHECK OPTION;
CREATE MATERIALIZED VIEW totals AS SELECT user_id, sum(total) FROM orders GROUP BY user_id WITH NO DATA;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER touched BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch();
CREATE EXTENSION pgcrypto;
INSERT INTO users (email, avatar, notes)
  SELECT 'u' || n || '@example.com', decode(md5(n::text), 'hex'), E'line\nbreak \\ back\tslash ' || n
  FROM generate_series(1, 100) n;
INSERT INTO orders (user_id, total, tags)
  SELECT 1 + n % 100, n, ARRAY['a', NULL, 'b\c'] FROM generate_series(1, 250) n;
INSERT INTO events SELECT timestamptz '2024-12-01' + n * interval '1 day', 'e' FROM generate_series(1, 90) n;
INSERT INTO "Odd schema"."Odd ""table""" VALUES (E'\\.'), ('');
INSERT INTO bare SELECT FROM generate_series(1, 3);
INSERT INTO scratch VALUES (1);
SELECT lo_from_bytea(0, decode(repeat('ab', 5000), 'hex')), lo_from_bytea(0, 'second');
"#;

/// Tables of [`LAB`] with rows of their own, and how many.
pub(crate) const LAB_ROWS: &[(&str, u64)] = &[
    (r#""Odd schema"."Odd ""table""""#, 2),
    ("public.bare", 3),
    ("public.empty", 0),
    ("public.events_2025", 60),
    ("public.events_rest", 30),
    ("public.orders", 250),
    ("public.scratch", 1),
    ("public.users", 100),
];

/// Quick to dump, and for ever to restore.
pub(crate) const SLOW: &str = "
CREATE FUNCTION slow(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE TABLE users (a text CHECK (slow(a)));
INSERT INTO users VALUES ('1');
CREATE OR REPLACE FUNCTION slow(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
  'BEGIN PERFORM pg_sleep(100000); RETURN true; END';
";

/// What a plan file says of `database` on this server.
pub(crate) fn spec(cluster: &Cluster, database: &str) -> PostgresSource {
    PostgresSource {
        host: Some(cluster.host().to_owned()),
        port: cluster.port(),
        user: Some(SUPERUSER.to_owned()),
        password: None,
        database: database.to_owned(),
        sslmode: SslMode::Prefer,
        format: DumpFormat::Custom,
        compress: 0,
        schemas: Vec::new(),
        exclude_tables: Vec::new(),
        timeout: "24h".parse().unwrap(),
        wal: None,
        via: Vec::new(),
    }
}

pub(crate) fn request(spec: PostgresSource) -> Request {
    Request {
        spec,
        password: None,
        at_ns: 0,
        lock_wait: Duration::from_secs(60),
    }
}

/// Everything that a capture gives: its files and its facts.
pub(crate) struct Captured {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) facts: Facts,
}

/// Reads a dump as a backup does; the error of a stream as words.
pub(crate) fn captured(spec: PostgresSource) -> Result<Captured, String> {
    read(dump(request(spec)).map_err(|e| chain(&e))?)
}

pub(crate) fn read(capture: Capture) -> Result<Captured, String> {
    let (files, facts) = support::captured(capture)?;
    Ok(Captured { files, facts })
}
