//! What is compared for PostgreSQL, and how each program is asked for the same thing. Encryption is on where there is
//! any, compression is zstd's where that can be chosen.

use crate::postgres::server::{as_server_user, bin};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub const CCB: &str = "ccb";
/// `pg_dump -Fc` to a file, and `pg_restore` from it.
pub const PG_DUMP: &str = "pg_dump -Fc";
pub const PGBACKREST: &str = "pgBackRest";
/// A plain copy that is synced, with its folder.
pub const COPY: &str = "cp + fsync";

/// All of them, ccb first.
pub const ALL: [&str; 4] = [CCB, PG_DUMP, PGBACKREST, COPY];

/// What is measured, with `$AS` before what must be the server's user.
pub mod scripts {
    pub const DUMP: &str = "exec $AS \"$CCB\" backup \"$PLACE/dumps.kdl\" app --method dump";
    pub const DUMP_FC: &str =
        "$AS pg_dump -Fc -f \"$PLACE/app.dump\" app && exec sync \"$PLACE/app.dump\"";
    pub const RESTORE: &str =
        "exec $AS \"$CCB\" restore \"$PLACE/dumps.kdl\" app --to database=restored_ccb";
    pub const RESTORE_FC: &str = "createdb -T template0 restored_fc && exec $AS pg_restore -e -d restored_fc \"$PLACE/app.dump\"";
    pub const RESTORE_FILE: &str = "rm -rf \"$PLACE/restored.dump\"; exec $AS \"$CCB\" restore \"$PLACE/dumps.kdl\" app --to \"$PLACE/restored.dump\"";
    pub const RESTORE_TEST: &str =
        "exec $AS \"$CCB\" verify \"$PLACE/dumps.kdl\" app --level restore-test --backup latest";
    pub const BASE: &str = "exec $AS \"$CCB\" backup \"$PLACE/bases.kdl\" db --method base";
    pub const BASE_FULL: &str = "exec $AS pgbackrest --stanza=main backup --type=full";
    pub const BASE_INCR: &str = "exec $AS pgbackrest --stanza=main backup --type=incr";
    pub const BASE_RESTORE: &str =
        "exec $AS \"$CCB\" restore \"$PLACE/bases.kdl\" db --to \"$PLACE/restored\"";
    pub const BASE_RESTORE_PGBACKREST: &str =
        "exec $AS pgbackrest --stanza=main restore --pg1-path=\"$PLACE/restored\"";
    pub const PUSH: &str = "for s in \"$PLACE\"/segments/*; do $AS \"$CCB\" wal push \"$PLACE/bases.kdl\" db \"$s\" || exit; done";
    pub const PUSH_PGBACKREST: &str = "for s in \"$PLACE\"/segments/*; do $AS pgbackrest --stanza=main archive-push \"$s\" || exit; done";
    pub const PUSH_COPY: &str = "for s in \"$PLACE\"/segments/*; do $AS \"$BENCH\" copy \"$s\" \"$PLACE/copies/${s##*/}\" || exit; done";
}

/// What every command gets.
pub fn environment(place: &Path, ccb: &Path) -> io::Result<Vec<(String, String)>> {
    let at = |name: &str| place.join(name).display().to_string();
    let programs = bin("pg_dump")?;
    let programs = programs.parent().unwrap_or(Path::new("/")).display();
    let path = std::env::var("PATH").unwrap_or_default();
    let environment = [
        ("PLACE", place.display().to_string()),
        ("AS", as_server_user().join(" ")),
        ("CCB", ccb.display().to_string()),
        ("BENCH", at("bench")),
        ("PATH", format!("{programs}:{path}")),
        ("PGHOST", place.display().to_string()),
        ("PGUSER", "postgres".to_owned()),
        ("CCB_CACHE_DIR", at("cache")),
        ("CCB_STATE_DIR", at("state")),
        ("TMPDIR", at("tmp")),
        ("PGBACKREST_CONFIG", at("pgbackrest.conf")),
        ("HOME", at("tmp")),
    ];
    Ok(environment
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec())
}

/// Files that they need, and the programs themselves where the server's user can get to them. Gives ccb's.
pub fn lay_out(place: &Path, ccb: &Path) -> io::Result<PathBuf> {
    for folder in ["cache", "state", "tmp", "segments", "copies", "log", "lock"] {
        fs::create_dir_all(place.join(folder))?;
    }
    crate::tools::write_key(&place.join("key"))?;
    fs::write(place.join("dumps.kdl"), plan(place, "app", "dumps", DUMPS))?;
    fs::write(place.join("bases.kdl"), plan(place, "db", "bases", BASES))?;
    fs::write(place.join("pgbackrest.conf"), pgbackrest(place))?;
    fs::copy(std::env::current_exe()?, place.join("bench"))?;
    let copy = place.join("ccb");
    fs::copy(ccb, &copy)?;
    Ok(copy)
}

const DUMPS: &str = "schedule \"manual\" when=\"on-demand\" method=\"dump\"";
const BASES: &str = "schedule \"base\" when=\"on-demand\" method=\"base\"
    schedule \"wal\" when=\"continuous\" method=\"wal\"
    retain { pitr \"7d\" }";

fn plan(place: &Path, component: &str, repository: &str, more: &str) -> String {
    let at = place.display();
    format!(
        r#"plan "bench" environment="development" timezone="UTC"
encryption "default" {{ key file="{at}/key" }}
destination "primary" {{
    local "{at}/{repository}"
    encrypt "default"
}}
component "{component}" sensitive=#false {{
    source "postgres" {{
        host "{at}"
        user "postgres"
        database "app"
    }}
    store "primary"
    {more}
}}
policy preset="development"
"#
    )
}

fn pgbackrest(place: &Path) -> String {
    let at = place.display();
    format!(
        "[global]
repo1-path={at}/pgbackrest
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=correct horse battery staple
repo1-retention-full=2
compress-type=zst
compress-level=1
process-max=2
start-fast=y
log-level-file=off
log-path={at}/log
lock-path={at}/lock
[main]
pg1-path={at}/data
pg1-socket-path={at}
pg1-user=postgres
pg1-database=app
"
    )
}

/// What the server archives with while base backups are taken.
pub fn archive_command(place: &Path) -> String {
    let at = place.display();
    format!(
        "{at}/ccb wal push {at}/bases.kdl db %p && pgbackrest --config={at}/pgbackrest.conf --stanza=main archive-push %p"
    )
}
