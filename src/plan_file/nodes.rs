//! The rows of the node table; `table` says what the columns mean.

use crate::plan_file::table::Type::{
    Any, Boolean, Choice, Cron, Date, Day, DayOfYear, Duration, EnvName, Method, Name, Path,
    Percent, S3Url, SftpUrl, Size, Text, Time, Timezone, Url, VariableName, Version,
};
use crate::plan_file::table::{Node, Prop, Times, Type};

const fn node(
    parent: &'static str,
    name: &'static str,
    times: Times,
    meaning: &'static str,
) -> Node {
    Node {
        parent,
        name,
        arg: None,
        props: &[],
        times,
        only: &[],
        default: None,
        meaning,
    }
}

const fn prop(name: &'static str, ty: Type) -> Prop {
    Prop {
        name,
        ty,
        required: false,
        default: None,
    }
}

const fn int(min: i64, max: i64) -> Type {
    Type::Integer { min, max }
}

const ONCE: Times = Times::Once;
const MAYBE: Times = Times::Optional;
const ANY: Times = Times::Any;
const SOME: Times = Times::OneOrMore;
const COUNT: Type = int(1, 1_000_000);
const LEVEL: Prop = prop("level", Choice(&["deny", "warn", "off"]));
const METHOD: Prop = prop("method", Method);
const SCHEDULE: Prop = prop("schedule", Name);
const TAG: Prop = prop("tag", Name);
const PICK: Type = Choice(&["first", "last"]);
const SECRET: &[Prop] = &[
    prop("env", EnvName),
    prop("file", Path),
    prop("command", Text),
];
const AMONG: &[Prop] = &[METHOD, SCHEDULE, TAG];
const PG: &[&str] = &["postgres"];
const REDIS: &[&str] = &["redis"];
const FILES: &[&str] = &["files"];
const S3: &[&str] = &["s3"];
const PLACE: Times = Times::OneOf("s3, local, sftp");
const PRESETS: Type = Choice(&["production", "staging", "development"]);

/// Every node of plan files of format 1.
#[rustfmt::skip]
pub const NODES: &[Node] = &[
    node("file", "plan", ONCE, "what this file is; in the root file only")
        .arg("name", Name)
        .props(&[prop("environment", Name).must(), prop("format", int(1, 1)).or("1"), prop("timezone", Timezone).or("\"UTC\""), prop("requires", Version)]),
    node("file", "include", ANY, "read another file; the path is relative to this file, without globs")
        .arg("path", Path),
    node("file", "variable", ANY, "an input, set by --var, --var-file or CCB_VAR_NAME; without a default it is required")
        .arg("name", VariableName)
        .props(&[prop("type", Choice(&["string", "integer", "boolean", "duration", "size"])).or("\"string\""), prop("default", Any), prop("description", Text)]),
    node("file", "apply", MAYBE, "engine limits"),
    node("file", "encryption", ANY, "a named key").arg("name", Name),
    node("file", "destination", SOME, "where backups go; an optional one may be unreachable")
        .arg("name", Name).props(&[prop("optional", Boolean).or("#false")]),
    node("file", "template", ANY, "a component body to extend").arg("name", Name),
    node("file", "component", SOME, "one thing to protect")
        .arg("name", Name)
        .props(&[prop("extends", Name), prop("enabled", Boolean).or("#true"), prop("sensitive", Boolean).or("#true")]),
    node("file", "policy", MAYBE, "rules; without it the preset named like the environment")
        .props(&[prop("preset", PRESETS).must()]),
    node("file", "notify", ANY, "who hears of runs").arg("name", Name),

    node("apply", "parallelism", MAYBE, "steps at once").arg("count", int(1, 64)).or("4"),
    node("apply", "lock-timeout", MAYBE, "how long to wait for another run's lock").arg("duration", Duration).or("\"0s\""),
    node("apply", "plan-max-age", MAYBE, "a saved plan older than this is stale").arg("duration", Duration).or("\"24h\""),
    node("apply", "forget-limit", MAYBE, "a plan that forgets more than this is blocked")
        .props(&[prop("count", int(0, 1_000_000)).or("20"), prop("percent", int(0, 100)).or("50")]).or("count=20 percent=50"),
    node("apply", "trash", MAYBE, "how long forgotten backups can be brought back").arg("duration", Duration).or("\"7d\""),

    node("encryption", "cipher", MAYBE, "authenticated cipher for all that is stored")
        .arg("cipher", Choice(&["aes-256-gcm", "chacha20-poly1305"])).or("\"aes-256-gcm\""),
    node("encryption", "key", ONCE, "where the key or passphrase is found; never the key itself").props(SECRET),
    node("encryption", "kdf", MAYBE, "`raw`: 32 bytes in hex or base64; `argon2id`: a passphrase; `auto` decides by its form")
        .arg("kdf", Choice(&["auto", "argon2id", "raw"])).or("\"auto\""),
    node("encryption", "rotate-after", MAYBE, "warn when the key is older (CCB208)").arg("duration", Duration),

    node("destination", "s3", PLACE, "an S3-compatible bucket and prefix").arg("url", S3Url)
        .props(&[prop("region", Text), prop("endpoint", Url), prop("path-style", Boolean).or("#false"), prop("storage-class", Text)]),
    node("destination", "local", PLACE, "a directory, on a local disk or a mounted server").arg("path", Path),
    node("destination", "sftp", PLACE, "a server over SSH, with the user's ssh configuration and keys").arg("url", SftpUrl),
    node("destination", "encrypt", ONCE, "the encryption of its repository; none=#true says plainly that there is none")
        .maybe_arg("encryption", Name).props(&[prop("none", Boolean)]),
    node("destination", "sse", MAYBE, "server-side encryption, asked for on every PUT and checked")
        .arg("mode", Choice(&["AES256", "aws:kms"])).props(&[prop("key-id", Text)]),
    node("destination", "credentials", MAYBE, "where S3 credentials come from; without it the AWS default chain")
        .props(&[prop("profile", Text), prop("env-prefix", Text)]),
    node("destination", "location", MAYBE, "fault domain, used by rules")
        .props(&[prop("provider", Text), prop("region", Text), prop("site", Text), prop("host", Text), prop("offsite", Boolean).or("#false")]),
    node("destination", "object-lock", MAYBE, "retention put on objects; forgetting waits for it")
        .arg("mode", Choice(&["governance", "compliance"])).props(&[prop("days", int(1, 36_500)).must()]),

    node("component", "source", ONCE, "what is read; its children depend on the kind")
        .arg("kind", Choice(&["postgres", "redis", "files", "s3"])),
    node("component", "after", ANY, "components whose backups are made first").args("component", Name),
    node("component", "store", MAYBE, "written to the first, copied to the rest, restored in that order; only an s3 source that is merely checked needs none")
        .args("destination", Name),
    node("component", "schedule", ANY, "when a method is owed: exactly one of at (with on), every, cron, when")
        .arg("name", Name)
        .props(&[prop("at", Time), prop("on", Day), prop("every", Duration), prop("cron", Cron), prop("when", Choice(&["on-demand", "continuous"])),
            METHOD, prop("window", Duration).or("\"6h\""), prop("missed", Choice(&["run-once", "skip"])).or("\"run-once\""), TAG, prop("enabled", Boolean).or("#true")]),
    node("component", "retain", MAYBE, "keep rules: a backup stays while any keeps it; without any, everything stays"),
    node("component", "verify", MAYBE, "checks on backups"),
    node("component", "export", ANY, "copies that restore without ccb")
        .arg("kind", Choice(&["openssl", "gpg", "tar", "plain"])).props(&[prop("to", Name).must(), METHOD]),
    node("component", "hook", ANY, "a command run at apply, never at plan")
        .arg("when", Choice(&["before", "after", "failed"]))
        .props(&[prop("on", Choice(&["backup", "restore"])).or("\"backup\""), prop("timeout", Duration).or("\"5m\"")]),
    node("component", "remove", ANY, "drop a schedule or export that the template has").props(&[SCHEDULE, prop("export", Name)]),
    node("component", "moved", ANY, "an old name, whose backups count as this component's").props(&[prop("from", Text).must()]),

    node("hook", "run", ONCE, "program and arguments; no shell").args("arg", Text),

    node("source", "host", MAYBE, "PGHOST").arg("host", Text).only(PG),
    node("source", "port", MAYBE, "PGPORT").arg("port", int(1, 65_535)).only(PG).or("5432"),
    node("source", "user", MAYBE, "role").arg("user", Text).only(PG),
    node("source", "password", MAYBE, "where the password is found").props(SECRET).only(PG),
    node("source", "database", ONCE, "database to back up").arg("database", Text).only(PG),
    node("source", "sslmode", MAYBE, "TLS to the server; CCB103 wants require or better in production")
        .arg("mode", Choice(&["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])).only(PG).or("\"prefer\""),
    node("source", "format", MAYBE, "pg_dump -F; directory is refused: custom holds the same, as one stream that de-duplicates").arg("format", Choice(&["custom", "directory", "plain"])).only(PG).or("\"custom\""),
    node("source", "compress", MAYBE, "pg_dump -Z; more than 0 spoils de-duplication (CCB305)").arg("level", int(0, 9)).only(PG).or("0"),
    node("source", "schemas", MAYBE, "pg_dump -n").args("schema", Text).only(PG),
    node("source", "exclude-tables", MAYBE, "pg_dump -T").args("table", Text).only(PG),
    node("source", "timeout", MAYBE, "a dump that still runs then is ended, and no backup: as long as it runs, the server can not clean up dead rows").arg("duration", Duration).only(PG).or("\"24h\""),
    node("source", "wal", MAYBE, "where WAL segments are found").props(&[prop("archive-dir", Path), prop("slot", Text)]).only(PG),
    node("source", "url", ONCE, "where the server's URL is found; it may hold a password").props(SECRET).only(REDIS),
    node("source", "data-dir", MAYBE, "where AOF and RDB files lie; without it `rdb` is streamed from the server").arg("path", Path).only(REDIS),
    node("source", "via", MAYBE, "put before every client program and file copy, for servers in containers").args("arg", Text).only(&["postgres", "redis"]),
    node("source", "path", ONCE, "root of the tree").arg("path", Path).only(FILES),
    node("source", "subdirectories", MAYBE, "directories that must exist in source and backup").args("directory", Path).only(FILES),
    node("source", "exclude", MAYBE, "globs as in .gitignore").args("glob", Text).only(FILES),
    node("source", "symlinks", MAYBE, "what is done with symbolic links").arg("mode", Choice(&["keep", "follow", "skip"])).only(FILES).or("\"keep\""),
    node("source", "bucket", ONCE, "bucket").arg("bucket", Text)
        .props(&[prop("region", Text), prop("endpoint", Url), prop("path-style", Boolean).or("#false")]).only(S3),
    node("source", "credentials", MAYBE, "where S3 credentials come from; without it the AWS default chain")
        .props(&[prop("profile", Text), prop("env-prefix", Text)]).only(S3),
    node("source", "versioning", MAYBE, "expected state").arg("state", Choice(&["enabled", "suspended"])).only(S3),
    node("source", "lifecycle", MAYBE, "expected rules")
        .props(&[prop("noncurrent-expire", Duration), prop("current-expire", Duration), prop("abort-multipart", Duration)]).only(S3),
    node("source", "replication", MAYBE, "expected rule, and how late it may be")
        .props(&[prop("to", Text).must(), prop("region", Text), prop("endpoint", Url), prop("role", Text), prop("max-lag", Duration).or("\"24h\"")]).only(S3),
    node("source", "on-drift", MAYBE, "`fix` turns drift into steps").arg("mode", Choice(&["report", "fix"])).only(S3).or("\"report\""),

    node("retain", "last", ANY, "the newest N").arg("count", COUNT).props(AMONG),
    node("retain", "hourly", ANY, "the N newest hours that have one").arg("count", COUNT).props(&[METHOD, SCHEDULE, TAG, prop("pick", PICK).or("\"last\"")]),
    node("retain", "daily", ANY, "the N newest days that have one").arg("count", COUNT).props(&[METHOD, SCHEDULE, TAG, prop("pick", PICK).or("\"last\"")]),
    node("retain", "weekly", ANY, "the N newest weeks that have one, each starting on that weekday")
        .arg("count", COUNT).props(&[prop("on", Day).or("\"sunday\""), METHOD, SCHEDULE, TAG, prop("pick", PICK).or("\"first\"")]),
    node("retain", "monthly", ANY, "the N newest months that have one, each starting on that day")
        .arg("count", COUNT).props(&[prop("on", Day).or("1"), METHOD, SCHEDULE, TAG, prop("pick", PICK).or("\"first\"")]),
    node("retain", "yearly", ANY, "the N newest years that have one, each starting on that day")
        .arg("count", COUNT).props(&[prop("on", DayOfYear).or("\"01-01\""), METHOD, SCHEDULE, TAG, prop("pick", PICK).or("\"first\"")]),
    node("retain", "within", ANY, "everything younger").arg("duration", Duration).props(AMONG),
    node("retain", "pitr", MAYBE, "the bases and WAL that reach any moment that long back (CCB215)").arg("duration", Duration),
    node("retain", "all", ANY, "everything, or until that has happened")
        .props(&[METHOD, SCHEDULE, TAG, prop("until", Choice(&["verified", "released"]))]),
    node("retain", "expire", ANY, "hard cap: forgotten when older, whatever keeps it").arg("duration", Duration).props(AMONG),

    node("verify", "presence", MAYBE, "after every backup: there, not empty, of plausible size, not too old")
        .props(&[prop("min-size", Size).or("\"1B\""), prop("max-shrink", Percent).or("\"50%\""), prop("fresh", Duration)]),
    node("verify", "integrity", MAYBE, "stored bytes are read back from each destination and checked")
        .props(&[prop("every", Duration).or("\"7d\""), prop("sample", Percent).or("\"100%\"")]),
    node("verify", "contents", MAYBE, "the backup lists what it should")
        .props(&[prop("counts", Choice(&["match", "ignore"])).or("\"match\""), prop("sizes", Choice(&["match", "ignore"])).or("\"match\""), prop("keys-tolerance", Percent).or("\"0%\"")]),
    node("verify", "restore-test", MAYBE, "really restore it, then drop what was restored")
        .props(&[prop("every", Duration).or("\"30d\""), prop("into", Choice(&["temporary-database", "temporary-redis", "temporary-directory"])).must(), prop("files", COUNT)]),
    node("restore-test", "server", MAYBE, "where dumps are restored: never the server that is backed up; without it, a server is made for each test and gone after it").only(&["verify"]),
    node("server", "host", ONCE, "PGHOST").arg("host", Text),
    node("server", "port", MAYBE, "PGPORT").arg("port", int(1, 65_535)).or("5432"),
    node("server", "user", MAYBE, "a role that may make databases").arg("user", Text),
    node("server", "password", MAYBE, "where its password is found").props(SECRET),
    node("server", "sslmode", MAYBE, "TLS to the server; CCB103 wants require or better in production")
        .arg("mode", Choice(&["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])).or("\"prefer\""),
    node("verify", "encrypted", MAYBE, "the stored bytes carry ccb's header and the right key id"),
    node("contents", "tables", MAYBE, "tables that must be in the dump, with rows where an earlier one had some").args("table", Text),

    node("export", "layout", MAYBE, "object key with {component} {tier} {method} {database} {id} {time:STRFTIME}").arg("key", Path),
    node("export", "cipher", MAYBE, "cipher of the exported file: aes-256-cbc for openssl, AES256 for gpg")
        .arg("cipher", Choice(&["aes-256-cbc", "AES256"])).only(&["openssl", "gpg"]),
    node("export", "kdf", MAYBE, "how the passphrase becomes a key; evp-sha256 is what `openssl enc -k` reads without -pbkdf2 (CCB306)")
        .arg("kdf", Choice(&["evp-sha256", "pbkdf2-sha256"])).props(&[prop("iterations", int(1_000, 100_000_000)).or("600000")]).only(&["openssl"]).or("\"evp-sha256\""),
    node("export", "key", ONCE, "where the passphrase is found").props(SECRET).only(&["openssl", "gpg"]),
    node("export", "keep", ANY, "how many of these copies stay")
        .props(&[prop("count", COUNT).must(), prop("tiers", Choice(&["hourly", "daily", "weekly", "monthly", "yearly"]))]),

    node("policy", "copies", MAYBE, "copies required (CCB202)").props(&[prop("min", int(1, 100)).must(), LEVEL]),
    node("policy", "offsite", MAYBE, "copies required in another region or with another provider (CCB203)").props(&[prop("min", int(1, 100)).must(), LEVEL]),
    node("policy", "restore-test", MAYBE, "a restore test is not longer ago than this (CCB206)").props(&[prop("within", Duration).must(), LEVEL]),
    node("policy", "set", ANY, "change one rule's level").arg("rule", Text).props(&[LEVEL.must()]),
    node("policy", "waive", ANY, "an exception that ends; shown in every plan")
        .arg("rule", Text).props(&[prop("for", Text).must(), prop("until", Date).must(), prop("reason", Text).must()]),

    node("notify", "healthchecks", MAYBE, "pings /start, success and /fail with the summary"),
    node("notify", "webhook", ANY, "POST of the summary as JSON"),
    node("notify", "prometheus", MAYBE, "a textfile for node_exporter, written by rename").props(&[prop("textfile", Path).must()]),
    node("notify", "log", MAYBE, "JSON lines of every run").props(&[prop("file", Path).must(), prop("keep", Duration).or("\"90d\"")]),
    node("healthchecks", "url", ONCE, "where the ping URL is found").props(SECRET),
    node("webhook", "url", ONCE, "where the URL is found").props(SECRET),
    node("webhook", "on", MAYBE, "what it hears of").args("event", Choice(&["success", "failure", "violation", "missed", "forget"]))
        .or("\"failure\" \"violation\" \"missed\""),
];
