//! Things to protect: the `component` node with its hooks.

use crate::model::ids::{ComponentName, DestinationName};
use crate::model::strategy::export::Export;
use crate::model::strategy::retain::KeepRule;
use crate::model::strategy::schedule::Schedule;
use crate::model::strategy::source::SourceSpec;
use crate::model::strategy::verify::VerifySettings;
use crate::model::units::Period;
use serde::{Deserialize, Serialize};

/// One thing to protect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Its name.
    pub name: ComponentName,
    /// A disabled one is neither backed up nor forgotten.
    pub enabled: bool,
    /// Holds personal or secret data.
    pub sensitive: bool,
    /// How it is read.
    pub source: SourceSpec,
    /// Components whose backups are made first.
    pub after: Vec<ComponentName>,
    /// Destinations: written to the first, copied to the rest. Empty for an S3 bucket that is only checked.
    pub store: Vec<DestinationName>,
    /// When.
    pub schedules: Vec<Schedule>,
    /// Keep rules; empty keeps everything.
    pub retain: Vec<KeepRule>,
    /// Checks on backups.
    pub verify: VerifySettings,
    /// Copies that restore without ccb.
    pub exports: Vec<Export>,
    /// Commands run at apply.
    pub hooks: Vec<Hook>,
    /// Earlier names, whose backups count as this component's.
    pub moved_from: Vec<ComponentName>,
}

/// A command run at apply, never at plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Before, after, or when it failed.
    pub when: HookWhen,
    /// `true`: around restores; `false`: around backups.
    pub on_restore: bool,
    /// Killed after this.
    pub timeout: Period,
    /// argv; no shell.
    pub run: Vec<String>,
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum HookWhen {
    Before,
    After,
    Failed,
}
