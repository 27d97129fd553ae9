//! Reading plan files in tests: texts in memory, an environment of the test's own.

use ccb::plan_file::{self, Parsed, PlanFileError, Request, UnsetEnv, diagnostic};
use std::{collections::BTreeMap, io, path::Path};

/// Files and environment that a plan file is read with; the first file is the root.
pub(crate) struct World<'a> {
    pub(crate) files: &'a [(&'a str, &'a str)],
    pub(crate) env: &'a [(&'a str, &'a str)],
    pub(crate) vars: &'a [(&'a str, &'a str)],
    pub(crate) unset_env: UnsetEnv,
}

impl World<'_> {
    pub(crate) fn with<T>(&self, act: impl FnOnce(&Request<'_>) -> T) -> T {
        let read = |path: &str| {
            let file = self.files.iter().find(|(name, _)| *name == path);
            let missing = || io::Error::from(io::ErrorKind::NotFound);
            file.map(|(_, text)| (*text).to_owned()).ok_or_else(missing)
        };
        let env = |name: &str| {
            let set = self.env.iter().find(|(known, _)| *known == name);
            set.map(|(_, value)| (*value).to_owned())
        };
        let vars: BTreeMap<String, String> = self
            .vars
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        act(&Request {
            path: self.files[0].0,
            text: self.files[0].1,
            read: &read,
            env: &env,
            vars: &vars,
            unset_env: self.unset_env,
        })
    }

    pub(crate) fn parse(&self) -> Result<Parsed, PlanFileError> {
        self.with(plan_file::parse)
    }
}

/// The report that a refused plan file gets, without colour.
pub(crate) fn report(error: &PlanFileError) -> String {
    diagnostic::report(&error.problems, false, 100)
}

/// A committed plan with what it includes, by its path from the root of the project.
pub(crate) fn committed(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("read {path}: {e}"))
}

/// The environment that the committed plans are read in.
pub(crate) const ENV: &[(&str, &str)] = &[
    ("BACKUP_KMS_KEY_ID", "alias/backups"),
    ("BACKUP_ENCRYPTION_KEY", "x"),
    ("BACKUP_EXPORT_KEY", "x"),
    ("PGPASSWORD", "x"),
    ("REDIS_URL", "x"),
    ("HEALTHCHECKS_PING_URL", "x"),
    ("OPS_WEBHOOK_URL", "x"),
];

/// Acts on a committed plan with its includes and environment.
pub(crate) fn committed_world<T>(path: &str, act: impl FnOnce(&World<'_>) -> T) -> T {
    let text = committed(path);
    let shared = committed("plans/shared/app.kdl");
    act(&World {
        files: &[(path, &text), ("plans/shared/app.kdl", &shared)],
        env: ENV,
        vars: &[],
        unset_env: UnsetEnv::Refuse,
    })
}

/// Parses a committed plan.
pub(crate) fn parse_committed(path: &str) -> Result<Parsed, PlanFileError> {
    committed_world(path, |world| world.parse())
}
