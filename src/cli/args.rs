//! The command line as types. Says what can be asked for; does nothing.

mod reading;

pub use crate::cli::args::reading::{
    DiffArguments, ExplainArguments, FindArguments, SimulateArguments, StatusArguments,
    VerifyArguments, VerifyLevel,
};

use crate::cli::input::Variables;
use crate::cli::output::Color;
use crate::model::strategy::{ExportKind, SecretRef};
use crate::model::units::{Period, Size};
use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use std::path::PathBuf;

/// Declarative plan-and-apply engine for backups.
#[derive(Debug, Parser)]
#[command(name = "ccb", version, about, max_term_width = 100)]
pub struct Arguments {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Values of the plan file's variables.
    #[command(flatten)]
    pub variables: Variables,
    /// Colours
    #[arg(long, value_name = "WHEN", default_value = "auto", global = true)]
    pub color: Color,
    /// No colours, like --color never
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Only results and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Also what only matters when something is looked into
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// How progress and diagnostics are written to standard error
    #[arg(long, value_name = "FORMAT", default_value = "text", global = true)]
    pub log_format: LogFormat,
    /// Ask questions on a terminal; =false: never, as if there were none
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        global = true
    )]
    pub input: bool,
}

/// How progress and diagnostics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// A JSON object a line, as schemas/events.v1.json says
    Json,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Human,
    /// For programs
    Json,
    /// For a comment on a pull request
    Markdown,
    /// Annotations of a GitHub workflow
    Github,
    /// SARIF, for code scanning
    Sarif,
}

/// How the plan language is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaFormat {
    /// A KDL schema
    Kdl,
    /// JSON
    Json,
    /// Tables
    Markdown,
}

/// How a graph is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// For Graphviz
    Dot,
    /// For Markdown
    Mermaid,
    /// For programs
    Json,
}

/// How a result is printed, for commands that know text and JSON.
#[derive(Debug, Clone, Copy, Args)]
pub struct Json {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check plan files without looking at any destination
    Validate {
        /// Plan files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<String>,
        /// How problems are printed
        #[arg(long, default_value = "human")]
        format: Format,
    },
    /// Show what apply would do, and why
    Plan(PlanArguments),
    /// Do what is due
    Apply(ApplyArguments),
    /// Show a saved plan
    Show {
        /// A saved plan, or a plan file
        file: String,
        /// A plan file without includes, templates and variables, each line with its place (what a plan file
        /// shows anyway)
        #[arg(long, conflicts_with = "json")]
        resolved: bool,
        /// Print JSON
        #[command(flatten)]
        json: Json,
    },
    /// Make one backup now, with its copies and checks
    Backup {
        /// The plan file
        file: String,
        /// The component
        component: String,
        /// How; default: the first method of its kind of source
        #[arg(long, value_name = "METHOD")]
        method: Option<String>,
        /// A tag for retention rules
        #[arg(long, value_name = "TAG")]
        tag: Option<String>,
        /// Beside other runs, or not.
        #[command(flatten)]
        locking: Locking,
    },
    /// List backups
    List {
        /// The plan file
        file: String,
        /// Only this component
        component: Option<String>,
        /// Forgotten ones that can be brought back
        #[arg(long)]
        deleted: bool,
        /// Print JSON
        #[command(flatten)]
        json: Json,
    },
    /// List the files of a backup
    Ls {
        /// The plan file
        file: String,
        /// An id, its beginning, `latest`, or a component for its newest
        backup: String,
        /// A path below the root
        path: Option<String>,
        /// Print JSON
        #[command(flatten)]
        json: Json,
    },
    /// Write one file of a backup to standard output
    Cat {
        /// The plan file
        file: String,
        /// An id, its beginning, `latest`, or a component for its newest
        backup: String,
        /// A path below the root; not needed for a database's backup, which is about one file
        path: Option<String>,
    },
    /// Find paths in all backups of a component
    Find(FindArguments),
    /// Show how two backups differ
    Diff(DiffArguments),
    /// Show how things stand against the plan file; 0: all is well
    Status(StatusArguments),
    /// Check backups now
    Verify(VerifyArguments),
    /// Show what will be kept over time, and how much space it takes
    Simulate(SimulateArguments),
    /// Put a backup back, whole or in part
    Restore(RestoreArguments),
    /// Write a backup as a file that restores without ccb
    Export(ExportArguments),
    /// Keep a backup whatever the rules say
    Hold {
        /// The plan file
        file: String,
        /// An id or its beginning
        backup: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// End a hold
    Release {
        /// The plan file
        file: String,
        /// An id or its beginning
        backup: String,
        /// Why
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Bring a forgotten backup back from the trash
    Undelete {
        /// The plan file
        file: String,
        /// An id or its beginning, as `ccb list --deleted` shows it
        backup: String,
    },
    /// Look for damage in the repositories
    Check {
        /// The plan file
        file: String,
        /// Only this destination
        #[arg(long, value_name = "DESTINATION")]
        destination: Option<String>,
        /// 0 all objects are there, 1 their structure, 2 a part of the bytes, 3 every byte
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=3))]
        level: u8,
        /// How much is read at level 2, beginning with what was read longest ago
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..=100))]
        percent: u8,
        /// Store again what is damaged or missing, from the other destinations, and check again
        #[arg(long)]
        heal: bool,
        /// Print JSON
        #[command(flatten)]
        json: Json,
    },
    /// Remove what no backup needs; `ccb apply` does it when it is due
    Prune {
        /// The plan file
        file: String,
        /// Only this destination
        #[arg(long, value_name = "DESTINATION")]
        destination: Option<String>,
        /// How much may be moved out of packs that are used in part: 512MiB, 0B for nothing
        #[arg(long, value_name = "SIZE")]
        repack: Option<Size>,
        /// Print JSON
        #[command(flatten)]
        json: Json,
    },
    /// The keys that open the repositories
    #[command(subcommand)]
    Key(KeyCommand),
    /// Write plan files in the usual layout
    Fmt {
        /// Plan files, `-` for standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<String>,
        /// Write nothing; exit with 2 when a file would change
        #[arg(long, conflicts_with = "diff")]
        check: bool,
        /// Write nothing; print what would change
        #[arg(long)]
        diff: bool,
    },
    /// Print the plan language
    Schema {
        /// How
        #[arg(long, default_value = "markdown")]
        format: SchemaFormat,
    },
    /// Explain a rule, or why a backup stays or goes
    Explain(ExplainArguments),
    /// Remove the lock of a run that is dead
    Unlock(UnlockArguments),
    /// Draw the steps of a plan
    Graph {
        /// What is planned.
        #[command(flatten)]
        plan: PlanArguments,
        /// As what it is drawn
        #[arg(long = "as", default_value = "mermaid")]
        drawn_as: GraphFormat,
    },
    /// PostgreSQL's WAL: hand it over, or get it back
    #[command(subcommand)]
    Wal(WalCommand),
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// The plan file
    pub file: String,
    /// An id, its beginning, `latest`, or a component for its newest
    pub backup: String,
    /// plain, tar, openssl or gpg
    #[arg(long = "format", value_name = "FORMAT", value_parser = export_kind)]
    pub form: ExportKind,
    /// The file to write, which must not be there yet
    #[arg(long, value_name = "PATH")]
    pub to: PathBuf,
    /// Where the password is, for openssl and gpg: env:NAME, file:PATH or command:COMMAND; default: where the
    /// component's `export` of this format says
    #[arg(long, value_name = "REFERENCE", value_parser = secret_ref)]
    pub key: Option<SecretRef>,
}

fn export_kind(text: &str) -> Result<ExportKind, String> {
    let kinds = [
        ExportKind::Plain,
        ExportKind::Tar,
        ExportKind::Openssl,
        ExportKind::Gpg,
    ];
    let found = kinds.into_iter().find(|kind| kind.as_str() == text);
    found.ok_or_else(|| "write plain, tar, openssl or gpg".to_owned())
}

/// The commands that a PostgreSQL server runs.
#[derive(Debug, Subcommand)]
pub enum WalCommand {
    /// Archive one file: archive_command = 'ccb wal push /etc/ccb/plan.kdl COMPONENT %p'
    Push {
        /// The plan file
        file: String,
        /// The component
        component: String,
        /// The file, as the server gives it for %p
        path: PathBuf,
        /// Where relative paths of the plan file start from; default: the current directory
        #[arg(long, value_name = "DIRECTORY")]
        chdir: Option<PathBuf>,
    },
    /// Get one file: restore_command = 'ccb wal fetch /etc/ccb/plan.kdl COMPONENT %f %p'
    ///
    /// Exits with 1 only where the archive really ends, and with 200 when recovery must stop.
    Fetch(FetchArguments),
}

/// Arguments of `wal fetch`.
#[derive(Debug, Args)]
pub struct FetchArguments {
    /// The plan file
    pub file: String,
    /// The component
    pub component: String,
    /// The file's name, as the server gives it for %f
    pub name: String,
    /// Where to, as the server gives it for %p
    pub path: PathBuf,
    /// Look at this destination only (repeatable)
    #[arg(long, value_name = "DESTINATION")]
    pub from: Vec<String>,
    /// Where relative paths of the plan file start from; default: the current directory
    #[arg(long, value_name = "DIRECTORY")]
    pub chdir: Option<PathBuf>,
}

/// The commands about keys. A key itself is never an argument: others on this machine could read it.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Print a fresh random key, or write it to a file that is not there yet
    New {
        /// The file, readable by its owner only
        path: Option<PathBuf>,
    },
    /// List the keys that open the repositories
    List {
        /// The plan file
        file: String,
        /// Only this destination
        #[arg(long, value_name = "DESTINATION")]
        destination: Option<String>,
        /// Print JSON
        #[command(flatten)]
        json: Json,
    },
    /// Let one more key open the repositories
    Add {
        /// The plan file
        file: String,
        /// Where the key is: env:NAME, file:PATH or command:COMMAND
        #[arg(long, value_name = "REFERENCE", value_parser = secret_ref)]
        key: SecretRef,
        /// What to call it; default: key-2, key-3, ...
        #[arg(long, value_name = "NAME")]
        slot: Option<String>,
        /// Only this destination
        #[arg(long, value_name = "DESTINATION")]
        destination: Option<String>,
    },
    /// Let a key not open the repositories any more
    Remove {
        /// The plan file
        file: String,
        /// Its name, as `ccb key list` shows it
        slot: String,
        /// Only this destination
        #[arg(long, value_name = "DESTINATION")]
        destination: Option<String>,
    },
    /// Seal what is stored from now on under a new data key
    Rotate {
        /// The plan file
        file: String,
        /// Where another key that opens the repositories is (repeatable): env:NAME, file:PATH or
        /// command:COMMAND
        #[arg(long = "key", value_name = "REFERENCE", value_parser = secret_ref)]
        keys: Vec<SecretRef>,
        /// Only this destination
        #[arg(long, value_name = "DESTINATION")]
        destination: Option<String>,
    },
}

/// Where a secret is, as it is written on the command line.
fn secret_ref(text: &str) -> Result<SecretRef, String> {
    let make: fn(String) -> SecretRef = match text.split_once(':') {
        Some(("env", _)) => SecretRef::Env,
        Some(("file", _)) => SecretRef::File,
        Some(("command", _)) => SecretRef::Command,
        // What was typed may be the key itself: it is not repeated.
        _ => return Err("write env:NAME, file:PATH or command:COMMAND, and never the key".into()),
    };
    match text.split_once(':') {
        Some((_, place)) if !place.is_empty() => Ok(make(place.to_owned())),
        _ => Err("after the colon stands where the key is".into()),
    }
}

/// What a plan is made of.
#[derive(Debug, Clone, Args)]
pub struct Selection {
    /// Only this address and what it needs (repeatable)
    #[arg(long, value_name = "ADDRESS", conflicts_with = "exclude")]
    pub target: Vec<String>,
    /// All but this address (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    pub exclude: Vec<String>,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArguments {
    /// The plan file
    pub file: String,
    /// Save the plan, to be applied later
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Exit with 2 when there is something to do
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// What is planned.
    #[command(flatten)]
    pub selection: Selection,
    /// Plan for this instant instead of now
    #[arg(long, value_name = "RFC3339")]
    pub at: Option<Timestamp>,
    /// Compare with this plan file, to show what the change causes
    #[arg(long, value_name = "FILE")]
    pub base: Option<String>,
    /// Use this inventory instead of looking at the destinations
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// Plan nothing; show what became different at the destinations since they were looked at before
    #[arg(long, conflicts_with_all = ["out", "target", "exclude", "base", "inventory"])]
    pub refresh_only: bool,
    /// Look at the databases too: how their schemas differ from the last dump, and whether expected tables are
    /// there. Reads their passwords and runs `psql` and `pg_dump`, through `via` and `command=` where the plan file
    /// says so: not for a plan file that you have not read
    #[arg(long, conflicts_with_all = ["inventory", "refresh_only"])]
    pub sources: bool,
    /// Look at the destinations; =false: plan on what was seen the last time
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set
    )]
    pub refresh: bool,
    /// Save the inventory that was seen
    #[arg(long, value_name = "FILE")]
    pub inventory_out: Option<PathBuf>,
    /// How the plan is printed
    #[arg(long, default_value = "human")]
    pub format: Format,
    /// Print JSON, like --format json
    #[arg(long)]
    pub json: bool,
    /// Longest Markdown, in characters
    #[arg(long, value_name = "N", default_value_t = 60_000)]
    pub max_chars: usize,
}

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct ApplyArguments {
    /// A plan file, or a plan saved by `plan --out`
    pub file: String,
    /// Ask nothing; forgets beyond the limit still need --allow-forget
    #[arg(long)]
    pub auto_approve: bool,
    /// Let this run forget up to N backups, instead of the plan file's limit
    #[arg(long, value_name = "N")]
    pub allow_forget: Option<u64>,
    /// What is applied.
    #[command(flatten)]
    pub selection: Selection,
    /// Look at the databases first, as `plan --sources` does: what is missing there may stop the run
    #[arg(long)]
    pub sources: bool,
    /// Steps at once, instead of the plan file's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=64))]
    pub parallelism: Option<u64>,
    /// Beside other runs, or not.
    #[command(flatten)]
    pub locking: Locking,
    /// Print what happens as JSON, a line each, as schemas/events.v1.json says
    #[arg(long)]
    pub json: bool,
}

/// How a run gets along with others.
#[derive(Debug, Clone, Copy, Args)]
pub struct Locking {
    /// Lock the repositories against other runs; =false: do not
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set
    )]
    pub lock: bool,
    /// How long to wait for another run's lock, instead of the plan file's
    #[arg(long, value_name = "DURATION")]
    pub lock_timeout: Option<Period>,
}

/// Arguments of `unlock`.
#[derive(Debug, Args)]
pub struct UnlockArguments {
    /// The plan file
    pub file: String,
    /// Only this destination
    #[arg(long, value_name = "DESTINATION")]
    pub destination: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub auto_approve: bool,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// The plan file
    pub file: String,
    /// The component
    pub component: String,
    /// An id, its beginning, or `latest`
    #[arg(long, value_name = "BACKUP", conflicts_with = "time")]
    pub backup: Option<String>,
    /// The newest backup at or before this instant; of a PostgreSQL server with base backups, the instant itself
    #[arg(long, value_name = "RFC3339")]
    pub time: Option<Timestamp>,
    /// Read from this destination only
    #[arg(long, value_name = "DESTINATION")]
    pub from: Option<String>,
    /// Along this timeline of a PostgreSQL server; default: the newest that goes on from the base
    #[arg(long, value_name = "NUMBER")]
    pub timeline: Option<u32>,
    /// Where to; default: where the component was read from. A dump goes to `postgres://USER@HOST:PORT/DATABASE`
    /// (no password in it), `database=NAME` on the source's server, a file `NAME.dump`, or a directory; objects to
    /// `s3://BUCKET/PREFIX` with the source's endpoint and rights, or a directory
    #[arg(long, value_name = "TARGET")]
    pub to: Option<PathBuf>,
    /// S3: earlier versions that the bucket itself has, instead of a backup: as they were at --time, or now. PATH is a
    /// key, or what keys begin with up to a `/`
    #[arg(long, conflicts_with_all = ["backup", "from"])]
    pub versions: bool,
    /// S3: this version of the object PATH, which the bucket itself has
    // A server may begin an id with a hyphen.
    #[arg(long, value_name = "ID", allow_hyphen_values = true, conflicts_with_all = ["backup", "from", "time"])]
    pub object_version: Option<String>,
    /// PostgreSQL: only this table, with its indexes, keys and sequences; may be repeated
    #[arg(long, value_name = "TABLE")]
    pub table: Vec<String>,
    /// PostgreSQL: only this schema; may be repeated
    #[arg(long, value_name = "SCHEMA")]
    pub schema: Vec<String>,
    /// PostgreSQL: jobs at once; more than one write the dump to a temporary file first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    /// PostgreSQL: first make the roles that the target's server does not have
    #[arg(long)]
    pub roles: bool,
    /// PostgreSQL: everything belongs to who restores, and nothing is granted
    #[arg(long)]
    pub no_owner: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Replace files that differ, or what is in the database: that is kept under another name
    #[arg(long)]
    pub overwrite: bool,
    /// Redis: the configuration that the server will be started with
    #[arg(long, value_name = "FILE")]
    pub redis_conf: Option<PathBuf>,
    /// Do not ask before restoring into place
    #[arg(long)]
    pub auto_approve: bool,
    /// Only these paths below the root; for a dump tables, or schemas as `SCHEMA.*`
    pub paths: Vec<String>,
    /// Print the result as JSON
    #[command(flatten)]
    pub json: Json,
}
