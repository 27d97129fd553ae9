//! A repository in a bucket: backed up to, restored from, and copied to a second place; by ccb and its peers in turn,
//! on one server, beside what plain parallel requests reach there.

mod server;

use crate::data::{self, Kind, Numbers, Size, len_of};
use crate::measure::{self, Figures};
use crate::rounds::compare;
use crate::s3::server::{SECRET, Server, USER};
use crate::table::{OWN, Table};
use crate::tools::{PASSWORD, write_key};
use crate::{Options, Scale};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What `--only` calls it.
pub const NAME: &str = "s3";
/// No backup program: the same bytes as objects of the length of a pack, four at once, and made durable where they are
/// fetched to, as a restore is.
const PLAIN: &str = "curl";
/// What curl sends in one request.
const PACK_BYTES: u64 = 16 << 20;

/// What is measured of every program, in this order.
const ROWS: [&str; 4] = ["initial", "unchanged", "restore", "copy to a directory"];

/// A program, and its command for each of the rows.
struct Program {
    name: &'static str,
    init: &'static str,
    scripts: [&'static str; 4],
}

const PROGRAMS: [Program; 4] = [
    Program {
        name: OWN,
        init: "true",
        scripts: [
            "exec \"$CCB\" backup \"$PLAN\" data --method incremental",
            "exec \"$CCB\" backup \"$PLAN\" data --method incremental",
            "exec \"$CCB\" restore \"$PLAN\" data --to \"$TO\"",
            "exec \"$CCB\" apply \"$PLAN.copy\" --auto-approve",
        ],
    },
    Program {
        name: "restic",
        init: "restic init",
        scripts: [
            "cd \"$SRC\" && exec restic backup .",
            "cd \"$SRC\" && exec restic backup .",
            "restic restore latest --target \"$TO\" && sync -f \"$TO\"",
            "export RESTIC_FROM_REPOSITORY=\"$RESTIC_REPOSITORY\" RESTIC_FROM_PASSWORD=\"$PASSWORD\" RESTIC_REPOSITORY=\"$COPY\"; restic init --copy-chunker-params && exec restic copy",
        ],
    },
    Program {
        name: "rustic",
        init: "rustic init --set-compression 1",
        scripts: [
            "cd \"$SRC\" && exec rustic backup .",
            "cd \"$SRC\" && exec rustic backup .",
            "rustic restore latest \"$TO\" && sync -f \"$TO\"",
            "exec rustic copy --init --target copy",
        ],
    },
    Program {
        name: PLAIN,
        init: "true",
        scripts: [
            "exec curl -K \"$PUT\"",
            "",
            "mkdir -p \"$TO\" && curl -K \"$GET\" && exec sync -f \"$TO\"",
            "",
        ],
    },
];

/// Measures everything in a folder of its own below `dir`, and prints it.
pub fn run(options: &Options, dir: &Path) -> io::Result<()> {
    let place = dir.join(NAME);
    let size = Size {
        files: match options.scale {
            Scale::Small => 8,
            Scale::Full => 32,
        },
        len: 32 << 20,
    };
    eprintln!("bench: {} is made", Kind::Media.name());
    let len = data::make(Kind::Media, size, &place.join("source"))?;
    let mut bench = Bench {
        options,
        place,
        len,
        table: Table::default(),
    };
    let outcome = (0..options.rounds.max(3)).try_for_each(|round| bench.round(round));
    // What was measured before something failed is worth its time.
    println!("{}", bench.report());
    outcome
}

struct Bench<'a> {
    options: &'a Options,
    place: PathBuf,
    len: u64,
    table: Table,
}

impl Bench<'_> {
    /// Every program with an empty repository, another one first in every round.
    fn round(&mut self, round: usize) -> io::Result<()> {
        for number in 0..PROGRAMS.len() {
            let program = &PROGRAMS[(round + number) % PROGRAMS.len()];
            let here = self.place.join("here");
            fs::create_dir_all(&here)?;
            // Of its own: what the others stored takes memory.
            let server = Server::start(&here)?;
            let environment = self.lay_out(&here, &server)?;
            let bucket = "curl -sSf -X PUT \"${KEYS[@]}\" \"$ENDPOINT/bench\"";
            let bucket = format!("{}{bucket}", keys());
            measure::prepare(&bucket, &environment, &here)?;
            match measure::prepare(program.init, &environment, &here) {
                Ok(()) => self.measure(program, &environment, &here)?,
                Err(e) => eprintln!("bench: {} is left out: {e}", program.name),
            }
            drop(server);
            fs::remove_dir_all(&here)?;
        }
        Ok(())
    }

    fn measure(
        &mut self,
        program: &Program,
        environment: &[(String, String)],
        here: &Path,
    ) -> io::Result<()> {
        for (row, script) in ROWS.into_iter().zip(program.scripts) {
            if script.is_empty() {
                continue;
            }
            eprintln!("bench: {NAME}: {row} by {}", program.name);
            rustix::fs::sync();
            let mut figures: Figures = measure::run(script, environment, here)?;
            match row {
                "restore" if program.name != PLAIN => {
                    compare(&self.place.join("source"), &here.join("restored"))?;
                }
                "copy to a directory" => {
                    figures.stored = len_of(&here.join("copy"))? as f64 / 1e6;
                }
                _ => {}
            }
            self.table
                .add(&format!("{NAME}, {row}"), program.name, figures);
        }
        Ok(())
    }

    /// What every command gets, and the files that it reads.
    fn lay_out(&self, here: &Path, server: &Server) -> io::Result<Vec<(String, String)>> {
        let at = |name: &str| here.join(name).display().to_string();
        let source = self.place.join("source").display().to_string();
        let endpoint = server.endpoint();
        write_key(&here.join("key"))?;
        fs::write(here.join("plan.kdl"), self.plan(here, &endpoint, false))?;
        fs::write(here.join("plan.kdl.copy"), self.plan(here, &endpoint, true))?;
        let copy = format!(
            "[repository]\nrepository = \"{}\"\npassword = \"{PASSWORD}\"\n",
            at("copy")
        );
        fs::create_dir_all(here.join("home/.config/rustic"))?;
        fs::write(here.join("home/.config/rustic/copy.toml"), copy)?;
        fs::create_dir_all(here.join("objects"))?;
        self.requests(here, &endpoint)?;
        let environment = [
            ("SRC", source),
            ("TO", at("restored")),
            ("COPY", at("copy")),
            ("PUT", at("put.curl")),
            ("GET", at("get.curl")),
            ("ENDPOINT", endpoint.clone()),
            ("CCB", self.options.ccb.display().to_string()),
            ("PLAN", at("plan.kdl")),
            ("CCB_CACHE_DIR", at("cache")),
            ("CCB_STATE_DIR", at("state")),
            ("BENCH_ACCESS_KEY_ID", USER.to_owned()),
            ("BENCH_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_ACCESS_KEY_ID", USER.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("PASSWORD", PASSWORD.to_owned()),
            ("RESTIC_PASSWORD", PASSWORD.to_owned()),
            ("RESTIC_REPOSITORY", format!("s3:{endpoint}/bench/restic")),
            ("RESTIC_CACHE_DIR", at("cache")),
            ("RESTIC_PROGRESS_FPS", "0.1".to_owned()),
            ("RUSTIC_PASSWORD", PASSWORD.to_owned()),
            ("RUSTIC_REPOSITORY", "opendal:s3".to_owned()),
            ("RUSTIC_REPO_OPT_BUCKET", "bench".to_owned()),
            ("RUSTIC_REPO_OPT_ROOT", "/rustic".to_owned()),
            ("RUSTIC_REPO_OPT_ENDPOINT", endpoint),
            ("RUSTIC_REPO_OPT_REGION", "us-east-1".to_owned()),
            ("RUSTIC_REPO_OPT_ACCESS_KEY_ID", USER.to_owned()),
            ("RUSTIC_REPO_OPT_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("RUSTIC_CACHE_DIR", at("cache")),
            ("RUSTIC_NO_PROGRESS", "true".to_owned()),
            ("HOME", at("home")),
        ];
        let owned = environment.into_iter();
        Ok(owned
            .map(|(name, value)| (name.to_owned(), value))
            .collect())
    }

    /// The source in objects of the length of a pack, as requests of curl: to the server, and back.
    fn requests(&self, here: &Path, endpoint: &str) -> io::Result<()> {
        let head = format!(
            "silent\nshow-error\nfail\nparallel\nparallel-max = 4\naws-sigv4 = \"aws:amz:us-east-1:s3\"\nuser = \"{USER}:{SECRET}\"\nheader = \"x-amz-content-sha256: UNSIGNED-PAYLOAD\"\n"
        );
        let (mut put, mut get) = (head.clone(), head);
        for number in 0..self.len.div_ceil(PACK_BYTES) {
            let object = here.join("objects").join(number.to_string());
            let len = PACK_BYTES.min(self.len - number * PACK_BYTES);
            let bytes = Numbers::new(number).bytes(len as usize);
            fs::write(&object, bytes)?;
            let url = format!("url = \"{endpoint}/bench/plain/{number}\"\n");
            put += &format!("upload-file = \"{}\"\n{url}", object.display());
            get += &format!("output = \"{}/restored/{number}\"\n{url}", here.display());
        }
        fs::write(here.join("put.curl"), put)?;
        fs::write(here.join("get.curl"), get)
    }

    fn plan(&self, here: &Path, endpoint: &str, twice: bool) -> String {
        let (second, store) = match twice {
            true => (
                format!(
                    "destination \"second\" {{\n    local \"{}\"\n    encrypt \"default\"\n}}\n",
                    here.join("copy").display()
                ),
                "\"primary\" \"second\"",
            ),
            false => (String::new(), "\"primary\""),
        };
        format!(
            r#"plan "bench" environment="development" timezone="UTC"
encryption "default" {{ key file="{key}" }}
destination "primary" {{
    s3 "s3://bench/ccb" endpoint="{endpoint}" path-style=#true
    credentials env-prefix="BENCH_"
    encrypt "default"
}}
{second}component "data" sensitive=#false {{
    source "files" {{ path "{source}" }}
    store {store}
    schedule "manual" when="on-demand" method="incremental"
}}
policy preset="development"
"#,
            key = here.join("key").display(),
            source = self.place.join("source").display(),
        )
    }

    fn report(&self) -> String {
        let mut text = format!(
            "Wall s / CPU s / peak MiB / MB stored; medians. Ratios: ccb to the best of its peers in that figure.\n\n{}\nccb's highest peak: {:.0} MiB.\n",
            self.table.markdown(&PROGRAMS.map(|program| program.name)),
            self.table.peak(OWN)
        );
        for (row, what) in [("initial", "PUT"), ("restore", "GET")] {
            let row = format!("{NAME}, {row}");
            let wall = |program| self.table.wall(&row, program);
            if let (Some(own), Some(plain)) = (wall(OWN), wall(PLAIN)) {
                text += &format!("{row}: {:.2} of plain parallel {what}.\n", plain / own);
            }
        }
        let row = format!("{NAME}, copy to a directory");
        if let Some(cpu) = self.table.cpu(&row, OWN) {
            let per_gb = cpu / (self.len as f64 / 1e9);
            text += &format!("{row}: {per_gb:.2} CPU s per GB.\n");
        }
        text
    }
}

/// What curl signs with.
fn keys() -> String {
    format!(
        "KEYS=(--aws-sigv4 aws:amz:us-east-1:s3 --user {USER}:{SECRET} -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD'); "
    )
}
