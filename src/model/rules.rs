//! The catalogue of rules: every practice that ccb checks, with its stable id, how hard it is in each
//! environment, why it exists and how to satisfy it. Data only: `plan::check` decides when a rule is
//! broken, and `ccb explain` prints what stands here.

use crate::model::strategy::{Level, Preset};

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Stable id: `CCB202`.
    pub id: &'static str,
    /// Stable name: `copies`.
    pub name: &'static str,
    /// Level in production, staging and development.
    pub levels: [Level; 3],
    /// What must be known to check it.
    pub when: &'static [When],
    /// Whether `waive` and `set` may soften it.
    pub waivable: bool,
    /// What is wrong, in one line, with placeholders in capitals.
    pub message: &'static str,
    /// Why the rule exists.
    pub reason: &'static str,
    /// What to write or do.
    pub fix: &'static str,
}

/// What must be known to check a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// The plan file alone.
    Validate,
    /// The inventory too.
    Plan,
    /// What a run has just made.
    Apply,
}

impl Rule {
    /// The level under `preset`. Without one the strictest holds: nobody said that less is enough.
    pub fn level(&self, preset: Option<Preset>) -> Level {
        match preset {
            None | Some(Preset::Production) => self.levels[0],
            Some(Preset::Staging) => self.levels[1],
            Some(Preset::Development) => self.levels[2],
        }
    }
}

/// The rule with that id (`CCB202`) or name (`copies`).
pub fn find(id_or_name: &str) -> Option<&'static Rule> {
    RULES
        .iter()
        .find(|rule| rule.id == id_or_name || rule.name == id_or_name)
}

const D: Level = Level::Deny;
const W: Level = Level::Warn;
const I: Level = Level::Info;
const X: Level = Level::Off;
const V: &[When] = &[When::Validate];
const P: &[When] = &[When::Plan];
const VP: &[When] = &[When::Validate, When::Plan];
const A: &[When] = &[When::Apply];
const PA: &[When] = &[When::Plan, When::Apply];

const fn rule(
    id: &'static str,
    name: &'static str,
    levels: [Level; 3],
    when: &'static [When],
    [message, reason, fix]: [&'static str; 3],
) -> Rule {
    Rule {
        id,
        name,
        levels,
        when,
        waivable: true,
        message,
        reason,
        fix,
    }
}

const fn never_waived(rule: Rule) -> Rule {
    Rule {
        waivable: false,
        ..rule
    }
}

/// Every rule, by id.
pub const RULES: &[Rule] = &[
    rule(
        "CCB101",
        "encrypted-at-rest",
        [D, W, W],
        V,
        [
            "component.X is stored unencrypted",
            "whoever reads the disk, the bucket or a lost copy reads the data",
            "name an `encryption` in the destination: encrypt \"default\"",
        ],
    ),
    rule(
        "CCB102",
        "tls-in-transit",
        [D, D, W],
        V,
        [
            "destination.X uses http://",
            "credentials and metadata cross the network readable; loopback is exempt",
            "use an https:// endpoint",
        ],
    ),
    rule(
        "CCB103",
        "database-tls",
        [D, W, X],
        V,
        [
            "sslmode \"prefer\" does not force TLS",
            "with `prefer` a server or attacker that refuses TLS gets a plain connection, password included",
            "write sslmode \"require\" or, better, \"verify-full\" in the source",
        ],
    ),
    never_waived(rule(
        "CCB104",
        "secret-in-plan",
        [D, D, D],
        V,
        [
            "a secret is written in the plan file",
            "plan files are committed, reviewed and printed; a secret in one is known to all of them",
            "refer to it: password env=\"PGPASSWORD\", and change the secret that was exposed",
        ],
    )),
    rule(
        "CCB105",
        "key-beside-data",
        [D, D, W],
        V,
        [
            "the key file of encryption.X lies inside a source or destination",
            "who takes the data takes its key, and a lost disk loses both",
            "keep the key in a secret store, or in a folder that is neither backed up nor written to",
        ],
    ),
    rule(
        "CCB106",
        "sensitive-unencrypted",
        [D, D, W],
        V,
        [
            "component.X is sensitive and is stored at a destination with `encrypt none`",
            "sensitive data must be unreadable wherever its copies end up",
            "encrypt the destination, or write sensitive=#false on a component that holds none",
        ],
    ),
    rule(
        "CCB107",
        "sse-missing",
        [W, W, X],
        V,
        [
            "destination.X has no `sse`",
            "server-side encryption is a second lock that the provider holds",
            "write sse \"AES256\" or sse \"aws:kms\" key-id=\"...\" in the destination",
        ],
    ),
    rule(
        "CCB108",
        "bucket-public",
        [D, D, W],
        P,
        [
            "the bucket of destination.X can be read by anyone",
            "backups in a public bucket are published",
            "block public access on the bucket",
        ],
    ),
    rule(
        "CCB109",
        "inside-git",
        [W, W, W],
        V,
        [
            "destination.X lies in a git work tree and is not ignored",
            "backups that are committed grow the history for ever and leak what they hold",
            "add its path to .gitignore, or store it elsewhere",
        ],
    ),
    rule(
        "CCB110",
        "key-in-argv",
        [D, D, D],
        V,
        [
            "a hook of component.X passes a secret on the command line",
            "every user of the machine can read the arguments of a process",
            "let the command read the secret from its environment or a file",
        ],
    ),
    rule(
        "CCB201",
        "separate-host",
        [D, W, X],
        VP,
        [
            "destination.X is on the same host as the server of component.Y",
            "a host that burns, or is taken over, takes data and backup with it",
            "store to another host first, or say where it is: location host=\"...\"",
        ],
    ),
    rule(
        "CCB202",
        "copies",
        [D, W, X],
        V,
        [
            "component.X has N copies, M are required",
            "one copy is lost by one mistake",
            "name a further destination: store \"primary\" \"offsite\"",
        ],
    ),
    rule(
        "CCB203",
        "offsite",
        [D, X, X],
        V,
        [
            "component.X has no destination in another region or with another provider",
            "fire, theft, a closed account or a region's outage reach every copy at one place",
            "add a destination with location offsite=#true to its `store`",
        ],
    ),
    rule(
        "CCB204",
        "verify-missing",
        [D, W, X],
        V,
        [
            "component.X has no `presence` and `integrity` check",
            "a backup that nobody has read is a hope",
            "verify { presence; integrity every=\"7d\" }",
        ],
    ),
    never_waived(rule(
        "CCB205",
        "forget-unverified",
        [D, D, D],
        P,
        [
            "N backups would be forgotten, and no newer verified backup replaces them",
            "old backups may only go when something that was proven good stands in their place",
            "verify the newest backup first: ccb verify FILE COMPONENT",
        ],
    )),
    rule(
        "CCB206",
        "restore-test-overdue",
        [D, W, X],
        P,
        [
            "the last restore test of component.X was D days ago",
            "only a restore proves that a backup can be restored",
            "verify { restore-test every=\"30d\" into=\"temporary-database\" }, then ccb apply",
        ],
    ),
    rule(
        "CCB207",
        "stale-backup",
        [W, W, X],
        P,
        [
            "the newest backup of component.X is H hours old, one is expected every E",
            "a schedule that silently stopped is noticed on the day the backup is needed",
            "see what failed with ccb status, then ccb apply",
        ],
    ),
    rule(
        "CCB208",
        "key-old",
        [W, W, X],
        P,
        [
            "the key of encryption.X is D days old",
            "a key that is changed from time to time limits what one leak exposes",
            "ccb key rotate FILE",
        ],
    ),
    rule(
        "CCB209",
        "failures-ignored",
        [W, W, X],
        P,
        [
            "schedule X failed N times in a row",
            "failures that repeat are not accidents",
            "read the run log, repair the cause, then ccb apply",
        ],
    ),
    rule(
        "CCB210",
        "copy-missing",
        [W, W, X],
        P,
        [
            "N backups of component.X are missing at destination.Y",
            "a copy that never arrived protects nothing",
            "ccb apply copies them; ccb status says why it failed",
        ],
    ),
    rule(
        "CCB211",
        "notify-missing",
        [W, X, X],
        V,
        [
            "nobody hears of failures",
            "a backup that fails unheard is found missing when it is needed",
            "notify \"ops\" { healthchecks { url env=\"HEALTHCHECKS_PING_URL\" } }",
        ],
    ),
    rule(
        "CCB212",
        "log-missing",
        [W, X, X],
        V,
        [
            "no `log` in `notify`",
            "after an incident the log says what was kept, and when",
            "notify \"ops\" { log file=\"/var/log/ccb/runs.jsonl\" }",
        ],
    ),
    rule(
        "CCB213",
        "forget-limit",
        [D, D, W],
        P,
        [
            "the plan forgets N of M backups, the limit is L",
            "a mistyped keep rule must not empty a repository in one run",
            "check the keep rules; if it is meant: ccb apply --allow-forget=N",
        ],
    ),
    never_waived(rule(
        "CCB214",
        "last-copy",
        [D, D, D],
        P,
        [
            "the plan would remove the last complete backup of component.X",
            "the last complete backup is never removed",
            "make and verify a newer backup first",
        ],
    )),
    rule(
        "CCB215",
        "wal-without-base",
        [D, D, D],
        VP,
        [
            "WAL is kept for 7d but the oldest base only reaches 3d",
            "WAL restores nothing without the base backup that it follows",
            "schedule \"base\" on=\"sunday\" at=\"01:00\" method=\"base\", and keep it with pitr \"7d\"",
        ],
    ),
    rule(
        "CCB216",
        "versioning-off",
        [D, W, X],
        P,
        [
            "versioning of bucket X is suspended, the plan says enabled",
            "without versioning an overwritten or deleted object is gone",
            "on-drift \"fix\" in the source, then ccb apply",
        ],
    ),
    rule(
        "CCB217",
        "lifecycle-short",
        [D, W, X],
        P,
        [
            "non-current versions in bucket X expire after 30d, the plan says 90d",
            "history that expires early is not there when it is needed",
            "on-drift \"fix\" in the source, then ccb apply",
        ],
    ),
    rule(
        "CCB218",
        "replication-lag",
        [D, W, X],
        P,
        [
            "replication of bucket X is absent, or N objects wait longer than max-lag",
            "a replica that lags is a copy that is missing",
            "check the replication rule and its role on the bucket",
        ],
    ),
    rule(
        "CCB219",
        "size-anomaly",
        [D, W, W],
        A,
        [
            "the backup of component.X is 61% smaller than the median of the last 5, the limit is 50%",
            "a backup that shrinks suddenly has usually lost something",
            "look at it: ccb diff; if it is right, raise presence max-shrink",
        ],
    ),
    rule(
        "CCB220",
        "tables-missing",
        [D, D, W],
        PA,
        [
            "the dump of component.X lacks table \"T\"",
            "a dump without its tables restores an empty application",
            "check the role's rights and `exclude-tables`",
        ],
    ),
    rule(
        "CCB221",
        "counts-differ",
        [D, W, W],
        A,
        [
            "component.X has 1204 files in the source and 1203 in the backup",
            "what was not read is not backed up",
            "see the unreadable files in the run report, then back up again",
        ],
    ),
    rule(
        "CCB222",
        "wal-gap",
        [W, W, W],
        P,
        [
            "WAL of component.X lacks N segments: from the base of T no moment after T2 can be restored",
            "WAL is a chain: where one segment is missing, nothing after it can be reached",
            "make a base backup to go on from: ccb backup FILE COMPONENT --method base; then find out in the server's log why the segment was not archived",
        ],
    ),
    rule(
        "CCB223",
        "schema-drift",
        [I, I, I],
        P,
        [
            "the schema of component.X since T: ~ TABLE public.users: + email TEXT",
            "what changed without anybody's knowledge is seen while the last backup still holds it as it was",
            "nothing when it was meant; what was dropped by mistake: ccb restore FILE COMPONENT --table TABLE",
        ],
    ),
    rule(
        "CCB224",
        "source-unready",
        [W, W, W],
        P,
        [
            "component.X could not be backed up by method M now: WHY",
            "what a backup would fail at is better known before it is due than after",
            "see the cause: start the server, repair its settings, or choose another method",
        ],
    ),
    rule(
        "CCB225",
        "bucket-unseen",
        [W, W, W],
        P,
        [
            "bucket X could not be looked at, or does not tell how it is set",
            "of what is not seen nobody knows whether it is protected",
            "repair what the message says: the name, the region, the credentials or their rights",
        ],
    ),
    rule(
        "CCB226",
        "lifecycle-removes-backups",
        [D, D, W],
        P,
        [
            "a lifecycle rule of a destination's bucket removes objects that backups are made of",
            "a pack that the bucket removes by itself takes every backup with it that needs it",
            "remove the rule, or let it not concern the destination's prefix",
        ],
    ),
    rule(
        "CCB301",
        "shadowed-rule",
        [I, I, I],
        V,
        [
            "a keep rule of component.X keeps nothing that another does not",
            "a rule without effect reads like protection that is not there",
            "remove it, or raise its count",
        ],
    ),
    rule(
        "CCB302",
        "no-schedule",
        [W, W, X],
        V,
        [
            "component.X has only on-demand schedules",
            "nothing is backed up unless someone remembers",
            "schedule \"daily\" at=\"02:00\"",
        ],
    ),
    rule(
        "CCB303",
        "retain-missing",
        [W, W, W],
        V,
        [
            "component.X keeps everything for ever",
            "without keep rules a repository only grows",
            "retain { daily 30; weekly 4; monthly 12 }",
        ],
    ),
    rule(
        "CCB304",
        "retain-shorter-than-interval",
        [W, W, W],
        V,
        [
            "a keep rule of component.X is shorter than the interval of its schedule",
            "between two backups there would be days without one",
            "lengthen `within`, or use last 1 beside it",
        ],
    ),
    rule(
        "CCB305",
        "compressed-dump",
        [W, W, W],
        V,
        [
            "compress N spoils de-duplication",
            "a compressed dump differs everywhere when one row changes; ccb compresses after it has de-duplicated",
            "compress 0",
        ],
    ),
    rule(
        "CCB306",
        "weak-export-kdf",
        [W, W, W],
        V,
        [
            "the export's key derivation is one round of EVP_BytesToKey",
            "a passphrase behind one hash round is guessed fast",
            "kdf \"pbkdf2-sha256\", and openssl enc -pbkdf2 -iter N to read it",
        ],
    ),
    rule(
        "CCB307",
        "runbook-stale",
        [W, X, X],
        V,
        [
            "the committed runbook differs from `ccb runbook`",
            "in a disaster the page that is printed is the one that is followed",
            "ccb runbook FILE > RUNBOOK.md, and commit it",
        ],
    ),
    rule(
        "CCB308",
        "unused",
        [W, W, W],
        V,
        [
            "X is defined and never used",
            "what nothing refers to protects nothing, though it looks as if it did",
            "use it, or remove it",
        ],
    ),
    rule(
        "CCB309",
        "waiver-expired",
        [D, D, D],
        V,
        [
            "a waiver has ended, its rule applies again",
            "exceptions end, or they are the rule",
            "satisfy the rule, or renew the waiver with a new reason",
        ],
    ),
    rule(
        "CCB310",
        "dst",
        [W, W, W],
        V,
        [
            "a schedule's time does not exist on one day of the year",
            "at the change to summer time clocks skip an hour; that day's slot moves",
            "use UTC, or a time outside of the skipped hour",
        ],
    ),
    rule(
        "CCB311",
        "clock-skew",
        [W, W, W],
        P,
        [
            "a backup is dated in the future and is counted nowhere",
            "a wrong clock must not decide what is newest",
            "set the clock of the machine that made it; ccb counts it when its time has come",
        ],
    ),
    rule(
        "CCB312",
        "capacity",
        [I, I, I],
        P,
        [
            "simulated peak: N backups, about X",
            "space that runs out stops every backup",
            "ccb simulate FILE --days 365",
        ],
    ),
    rule(
        "CCB313",
        "same-slot",
        [I, I, I],
        V,
        [
            "two schedules of component.X share a slot: one run serves both",
            "nothing runs twice; the run is recorded under both",
            "nothing needs to be done",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::{RULES, find};
    use crate::model::ids::is_name;
    use crate::model::strategy::{Level, Preset};

    #[test]
    fn ids_ascend_and_names_are_unique() {
        assert!(RULES.windows(2).all(|pair| pair[0].id < pair[1].id));
        for rule in RULES {
            assert!(is_name(rule.name), "{}", rule.name);
            assert_eq!(find(rule.name), Some(rule));
            assert_eq!(find(rule.id), Some(rule));
        }
        assert_eq!(find("CCB999"), None);
    }

    #[test]
    fn rules_never_get_harder_from_production_to_development() {
        for rule in RULES {
            assert!(
                rule.levels[0] >= rule.levels[1] && rule.levels[1] >= rule.levels[2],
                "{}",
                rule.id
            );
        }
    }

    #[test]
    fn an_environment_without_a_preset_gets_the_strictest_levels() {
        let copies = find("copies").unwrap();
        assert_eq!(copies.level(None), Level::Deny);
        assert_eq!(copies.level(Some(Preset::Development)), Level::Off);
    }
}
