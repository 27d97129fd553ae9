//! Arguments of the commands that look at backups and change none.

use crate::cli::args::Json;
use clap::{Args, ValueEnum};
use jiff::Timestamp;

/// Arguments of `find`.
#[derive(Debug, Args)]
pub struct FindArguments {
    /// The plan file
    pub file: String,
    /// The component
    pub component: String,
    /// As in a .gitignore: `*.pdf` anywhere, `reports/*.pdf` and `/x` from the root, `x/` directories
    pub glob: String,
    /// Print JSON
    #[command(flatten)]
    pub json: Json,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArguments {
    /// The plan file
    pub file: String,
    /// The older one: an id, its beginning, `latest~1`, or a component and `~1`
    #[arg(value_name = "BACKUP")]
    pub before: String,
    /// The newer one, likewise
    #[arg(value_name = "BACKUP")]
    pub after: String,
    /// Print JSON
    #[command(flatten)]
    pub json: Json,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// The plan file
    pub file: String,
    /// Print JSON
    #[command(flatten)]
    pub json: Json,
}

/// Checks that can be asked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VerifyLevel {
    /// There, not empty, of a plausible size
    Presence,
    /// Every stored byte is read back
    Integrity,
    /// It lists what it should
    Contents,
    /// It is restored, compared and dropped again
    RestoreTest,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The plan file
    pub file: String,
    /// Only this component
    pub component: Option<String>,
    /// This backup instead of the newest: an id, its beginning, `latest`, a component
    #[arg(long, value_name = "BACKUP")]
    pub backup: Option<String>,
    /// Only this check, in full; default: those that the plan file asks for, as it asks for them
    #[arg(long, value_name = "LEVEL")]
    pub level: Option<VerifyLevel>,
    /// Print JSON
    #[command(flatten)]
    pub json: Json,
}

/// Arguments of `simulate`.
#[derive(Debug, Args)]
pub struct SimulateArguments {
    /// The plan file
    pub file: String,
    /// How many days
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3660))]
    pub days: u32,
    /// From this instant on instead of now
    #[arg(long, value_name = "RFC3339")]
    pub at: Option<Timestamp>,
    /// Print JSON
    #[command(flatten)]
    pub json: Json,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArguments {
    /// A rule (CCB202, copies), or the plan file of the backup
    #[arg(value_name = "RULE|FILE")]
    pub subject: String,
    /// An id, its beginning, `latest`, a component
    pub backup: Option<String>,
    /// At this instant instead of now
    #[arg(long, value_name = "RFC3339", requires = "backup")]
    pub at: Option<Timestamp>,
    /// Print JSON
    #[command(flatten)]
    pub json: Json,
}
