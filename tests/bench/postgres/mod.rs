//! PostgreSQL: a database that changes from day to day, dumped and restored, as files and with its log; by ccb,
//! by PostgreSQL's own programs and by pgBackRest in turn, on one server.

mod data;
mod programs;
mod server;

use crate::data::len_of;
use crate::measure::{self, Figures};
use crate::postgres::data::Rows;
use crate::postgres::programs::{CCB, COPY, PG_DUMP, PGBACKREST, scripts};
use crate::postgres::server::{Server, give};
use crate::table::Table;
use crate::{Options, Scale};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What `--only` calls it.
pub const NAME: &str = "postgres";
/// Backups that are kept: one a day.
const DAYS: u64 = 10;
/// Segments that are pushed.
const SEGMENTS: usize = 16;

/// Measures everything in a folder of its own below `dir`, and prints it.
pub fn run(options: &Options, dir: &Path) -> io::Result<()> {
    let place = dir.join(NAME);
    fs::create_dir_all(&place)?;
    let ccb = programs::lay_out(&place, &options.ccb)?;
    give(&place)?;
    let mut bench = Bench {
        rows: Rows::of(match options.scale {
            Scale::Small => 1,
            Scale::Full => 15,
        }),
        rounds: options.rounds.max(3),
        environment: programs::environment(&place, &ccb)?,
        server: Server::start(&place)?,
        table: Table::default(),
        place,
    };
    let outcome = bench.all();
    // What was measured before something failed is worth its time.
    println!("{}", bench.report());
    outcome
}

struct Bench {
    rows: Rows,
    rounds: usize,
    place: PathBuf,
    environment: Vec<(String, String)>,
    server: Server,
    table: Table,
}

impl Bench {
    fn all(&mut self) -> io::Result<()> {
        eprintln!("bench: a database is made");
        data::make(&self.server, self.rows)?;
        self.dumps()?;
        self.restores()?;
        self.days()?;
        if self.has_pgbackrest() {
            self.bases()?;
        }
        self.pushes()
    }

    fn has_pgbackrest(&self) -> bool {
        let here = self.prepare("pgbackrest version").is_ok();
        if !here {
            eprintln!("bench: {PGBACKREST} is not here, and bases are left out");
        }
        here
    }

    fn measure(&self, script: &str) -> io::Result<Figures> {
        eprintln!(
            "bench: {NAME}: {}",
            script.split(';').next().unwrap_or(script)
        );
        rustix::fs::sync();
        measure::run(script, &self.environment, &self.place)
    }

    fn prepare(&self, script: &str) -> io::Result<()> {
        measure::prepare(script, &self.environment, &self.place)
    }

    fn stored(&self, what: &str) -> io::Result<f64> {
        Ok(len_of(&self.place.join(what))? as f64 / 1e6)
    }

    /// Measures and adds a row; `stored` is what is looked at afterwards.
    fn row(
        &mut self,
        row: &str,
        program: &'static str,
        script: &str,
        stored: &str,
    ) -> io::Result<()> {
        let mut figures = self.measure(script)?;
        if !stored.is_empty() {
            figures.stored = self.stored(stored)?;
        }
        self.table.add(&format!("{NAME}, {row}"), program, figures);
        Ok(())
    }

    fn dumps(&mut self) -> io::Result<()> {
        self.row("dump, the first", CCB, scripts::DUMP, "dumps")?;
        self.row("dump, the first", PG_DUMP, scripts::DUMP_FC, "app.dump")?;
        self.files("the first")?;
        let before = self.stored("dumps")?;
        for _ in 0..self.rounds {
            self.row("dump, unchanged", CCB, scripts::DUMP, "dumps")?;
            self.row("dump, unchanged", PG_DUMP, scripts::DUMP_FC, "app.dump")?;
        }
        let new = (self.stored("dumps")? - before) * 1e3 / self.rounds as f64;
        eprintln!("bench: {NAME}: a dump of the unchanged database adds {new:.1} kB");
        Ok(())
    }

    /// The newest dump as a file: what it costs that later ones stand on earlier ones.
    fn files(&mut self, which: &str) -> io::Result<()> {
        for _ in 0..self.rounds {
            let row = format!("restore to a file, {which}");
            self.row(&row, CCB, scripts::RESTORE_FILE, "")?;
        }
        self.prepare("rm \"$PLACE/restored.dump\"")
    }

    /// In turn, another one first in every round.
    fn restores(&mut self) -> io::Result<()> {
        let peers = [
            ("restore", CCB, scripts::RESTORE),
            ("restore", PG_DUMP, scripts::RESTORE_FC),
            ("restore test", CCB, scripts::RESTORE_TEST),
        ];
        for round in 0..self.rounds {
            for number in 0..peers.len() {
                let (row, program, script) = peers[(round + number) % peers.len()];
                self.row(row, program, script, "")?;
                for made in ["restored_ccb", "restored_fc"] {
                    let drop = format!("DROP DATABASE IF EXISTS {made}");
                    self.server.sql("postgres", &drop)?;
                }
                self.server.sql("postgres", "CHECKPOINT")?;
            }
        }
        Ok(())
    }

    fn days(&mut self) -> io::Result<()> {
        for day in 1..DAYS {
            data::pass(&self.server, self.rows, day)?;
            self.row("dump, a day later", CCB, scripts::DUMP, "dumps")?;
            if day % 4 == 1 {
                self.row("dump, a day later", PG_DUMP, scripts::DUMP_FC, "app.dump")?;
            }
        }
        self.files("the last of ten days")?;
        let (all, one) = (self.stored("dumps")?, self.stored("app.dump")?);
        eprintln!(
            "bench: {NAME}: {DAYS} days take {all:.1} MB; the last one as {PG_DUMP}: {one:.1} MB; ratio {:.2}",
            all / one
        );
        Ok(())
    }

    fn bases(&mut self) -> io::Result<()> {
        // Its first backup makes the repository, which archiving needs.
        self.prepare("$AS \"$CCB\" apply \"$PLACE/bases.kdl\" --auto-approve")?;
        self.prepare("$AS pgbackrest --stanza=main stanza-create")?;
        self.archive_with(&programs::archive_command(&self.place))?;
        self.row("base, the first", CCB, scripts::BASE, "bases")?;
        self.row(
            "base, the first",
            PGBACKREST,
            scripts::BASE_FULL,
            "pgbackrest",
        )?;
        data::pass(&self.server, self.rows, DAYS)?;
        self.row("base, a day later", CCB, scripts::BASE, "bases")?;
        self.row(
            "base, a day later",
            PGBACKREST,
            scripts::BASE_INCR,
            "pgbackrest",
        )?;
        for _ in 0..self.rounds {
            for (program, script) in [
                (CCB, scripts::BASE_RESTORE),
                (PGBACKREST, scripts::BASE_RESTORE_PGBACKREST),
            ] {
                self.prepare("rm -rf \"$PLACE/restored\"; $AS mkdir -m 700 \"$PLACE/restored\"")?;
                self.row("base, restored", program, script, "")?;
            }
        }
        self.prepare("rm -rf \"$PLACE/restored\"")?;
        self.archive_with("/bin/true")
    }

    fn archive_with(&self, command: &str) -> io::Result<()> {
        let sql = format!("ALTER SYSTEM SET archive_command = '{command}'");
        self.server.sql("postgres", &sql)?;
        self.server
            .sql("postgres", "SELECT pg_reload_conf()")
            .map(drop)
    }

    fn pushes(&mut self) -> io::Result<()> {
        self.segments()?;
        let mut peers = vec![
            (CCB, scripts::PUSH, "bases/wal"),
            (COPY, scripts::PUSH_COPY, "copies"),
        ];
        match self.place.join("pgbackrest").exists() {
            true => peers.push((
                PGBACKREST,
                scripts::PUSH_PGBACKREST,
                "pgbackrest/archive/main",
            )),
            false => self.prepare("$AS \"$CCB\" apply \"$PLACE/bases.kdl\" --auto-approve")?,
        }
        for round in 0..self.rounds {
            for number in 0..peers.len() {
                let (program, script, written) = peers[(round + number) % peers.len()];
                // Names that are there already are another thing.
                self.prepare(&format!(
                    "find \"$PLACE/{written}\" -type f -name '0*' -delete"
                ))?;
                let row = format!("push of {SEGMENTS} segments");
                self.row(&row, program, script, written)?;
            }
        }
        Ok(())
    }

    /// Makes the server write WAL, and keeps copies of whole segments.
    fn segments(&self) -> io::Result<()> {
        let whole = "SELECT name FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'
            AND name < pg_walfile_name(pg_current_wal_lsn()) ORDER BY name DESC";
        loop {
            let names = self.server.sql("postgres", whole)?;
            let names: Vec<&str> = names.lines().take(SEGMENTS).collect();
            if names.len() == SEGMENTS {
                for name in names {
                    let from = self.place.join("data/pg_wal").join(name);
                    fs::copy(from, self.place.join("segments").join(name))?;
                }
                return give(&self.place.join("segments"));
            }
            self.server.sql(
                "app",
                "UPDATE artifacts SET version = version + 1 WHERE id % 5 = 0",
            )?;
        }
    }

    fn report(&self) -> String {
        format!(
            "Wall s / CPU s of the client / peak MiB / MB stored; medians. Ratios: ccb to the best of its peers in that figure.\n\n{}\nccb's highest peak: {:.0} MiB.\n",
            self.table.markdown(&programs::ALL),
            self.table.peak(CCB)
        )
    }
}
