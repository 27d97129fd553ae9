//! Ten days of a Redis server, with a restart and a rewrite of its append-only file in between: what each
//! of ccb's methods takes and stores, beside what scripts do, which is BGSAVE and a copy of the file. Every
//! restore is started and must have the digest of the server.

mod data;
mod server;

use crate::measure::{self, Figures, median};
use crate::redis::data::Amount;
use crate::redis::server::Server;
use crate::tools::write_key;
use crate::{Options, Scale, data::len_of};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

const DAYS: u64 = 10;
/// Before this day's backup the server is restarted,
const RESTART: u64 = 5;
/// and before this one's its append-only file is rewritten.
const REWRITE: u64 = 7;

/// Redis dates its saves in whole seconds: who wants one of their own waits until the last one is past.
const SETTLE: Duration = Duration::from_millis(1200);

/// How a server is backed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// BGSAVE, and `cp` of the file.
    Copy,
    /// ccb, method `rdb`, by the file.
    File,
    /// ccb, method `rdb`, as a replica.
    Replica,
    /// ccb, method `aof`.
    Append,
}

impl Way {
    const ALL: [Self; 4] = [Self::Copy, Self::File, Self::Replica, Self::Append];

    fn name(self) -> &'static str {
        match self {
            Self::Copy => "BGSAVE + cp",
            Self::File => "ccb rdb, by file",
            Self::Replica => "ccb rdb, streamed",
            Self::Append => "ccb aof",
        }
    }

    fn backup(self) -> &'static str {
        match self {
            Self::Copy => {
                "set -e; cli() { redis-cli -s \"$SOCKET\" \"$@\"; }
                 cli BGSAVE; until cli INFO persistence | grep -q rdb_bgsave_in_progress:0; do sleep 0.05; done
                 mkdir -p \"$REPO\"; cp \"$DATA/dump.rdb\" \"$REPO/$DAY.rdb\"; sync \"$REPO/$DAY.rdb\""
            }
            Self::File | Self::Replica => "exec \"$CCB\" backup \"$PLAN\" cache --method rdb",
            Self::Append => "exec \"$CCB\" backup \"$PLAN\" cache --method aof",
        }
    }

    fn restore(self) -> &'static str {
        match self {
            Self::Copy => {
                "set -e; mkdir -p \"$TO\"; cp \"$REPO/$DAY.rdb\" \"$TO/dump.rdb\"; sync \"$TO/dump.rdb\""
            }
            Self::Append => "exec \"$CCB\" restore \"$PLAN\" cache --to \"$TO\"",
            // The server runs with append-only files; what is restored is started without.
            Self::File | Self::Replica => {
                "exec \"$CCB\" restore \"$PLAN\" cache --to \"$TO\" --redis-conf \"$CONF\""
            }
        }
    }

    fn restore_test(self) -> &'static str {
        match self {
            Self::Copy => {
                "set -e; trap 'kill $!; wait' EXIT
                 redis-server --port 0 --save '' --dir \"$REPO\" --dbfilename \"$DAY.rdb\" --unixsocket \"$TO.socket\" &
                 until redis-cli -s \"$TO.socket\" INFO persistence 2>&1 | grep -q '^loading:0'; do sleep 0.02; done
                 redis-cli -s \"$TO.socket\" INFO keyspace"
            }
            _ => "exec \"$CCB\" verify \"$PLAN\" cache --level restore-test",
        }
    }
}

/// What was measured, by way and by what was done.
#[derive(Default)]
struct Measured(BTreeMap<(Way, &'static str), Vec<Figures>>);

/// Runs it, and gives the table; nothing where there is no Redis.
pub fn run(options: &Options, dir: &Path) -> io::Result<String> {
    let version = Command::new("redis-server")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if version.is_err() {
        eprintln!("bench: redis-server is not here, and its rows are left out");
        return Ok(String::new());
    }
    let amount = Amount {
        sessions: match options.scale {
            Scale::Full => 100_000,
            Scale::Small => 10_000,
        },
    };
    let dir = dir.join("redis");
    fs::create_dir_all(&dir)?;
    let mut server = Server::start(&dir.join("data"), true)?;
    data::fill(&server, amount)?;
    let keys = server.call(&["INFO", "keyspace"])?;
    eprintln!("bench: redis: {}", keys.replace("\r\n", " "));
    let ways = Way::ALL.map(|way| (way, dir.join(format!("{way:?}"))));
    for (way, place) in &ways {
        lay_out(*way, place, &server)?;
    }
    let mut measured = Measured::default();
    for day in 1..=DAYS {
        if day > 1 {
            data::pass_day(&server, amount, day - 1)?;
        }
        if day == RESTART {
            server = server.restart()?;
        }
        if day == REWRITE {
            server.call(&["BGREWRITEAOF"])?;
            server.wait_until("aof_rewrite_in_progress:0")?;
        }
        let what = match day {
            1 => "first",
            RESTART => "after a restart",
            REWRITE => "after a rewrite",
            _ => "day",
        };
        back_up(&ways, &mut measured, what, day, &server, options)?;
    }
    let ten_days = sizes(&ways)?;
    // Again, and nothing has changed.
    back_up(&ways, &mut measured, "unchanged", DAYS, &server, options)?;
    let after = sizes(&ways)?;
    let digest = server.digest()?;
    for (way, place) in &ways {
        let environment = environment(*way, place, &server, DAYS, options);
        for _ in 0..options.rounds {
            let figures = measure::run(way.restore(), &environment, &dir)?;
            measured.add(*way, "restore", figures);
            prove(*way, &place.join("restored"), &digest)?;
            let figures = measure::run(way.restore_test(), &environment, &dir)?;
            measured.add(*way, "restore test", figures);
        }
    }
    let text = report(&measured, &ten_days, &after, &keys);
    drop(server);
    fs::remove_dir_all(dir)?;
    Ok(text)
}

fn back_up(
    ways: &[(Way, PathBuf)],
    measured: &mut Measured,
    what: &'static str,
    day: u64,
    server: &Server,
    options: &Options,
) -> io::Result<()> {
    // Another one is the first on every day.
    let mut ways: Vec<_> = ways.iter().collect();
    let count = ways.len();
    ways.rotate_left(day as usize % count);
    for (way, place) in ways {
        eprintln!("bench: redis, day {day} ({what}), {}", way.name());
        rustix::fs::sync();
        sleep(SETTLE);
        let environment = environment(*way, place, server, day, options);
        let mut figures = measure::run(way.backup(), &environment, place)?;
        figures.stored = len_of(&place.join("repository"))? as f64 / 1e6;
        measured.add(*way, what, figures);
    }
    Ok(())
}

fn sizes(ways: &[(Way, PathBuf)]) -> io::Result<BTreeMap<Way, f64>> {
    let sizes = ways.iter().map(|(way, place)| {
        let len = len_of(&place.join("repository"))?;
        Ok((*way, len as f64 / 1e6))
    });
    sizes.collect()
}

/// A restore that has other data than the server is no figure.
fn prove(way: Way, restored: &Path, digest: &str) -> io::Result<()> {
    let copy = Server::start(restored, way == Way::Append)?;
    let found = copy.digest()?;
    drop(copy);
    fs::remove_dir_all(restored)?;
    match found == digest {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "{}: what was restored has another digest",
            way.name()
        ))),
    }
}

fn environment(
    way: Way,
    place: &Path,
    server: &Server,
    day: u64,
    options: &Options,
) -> Vec<(String, String)> {
    let at = |name: &str| place.join(name).display().to_string();
    let all = [
        ("SOCKET", server.socket().display().to_string()),
        ("DATA", server.data().display().to_string()),
        ("REPO", at("repository")),
        ("TO", at("restored")),
        ("DAY", day.to_string()),
        ("CCB", options.ccb.display().to_string()),
        ("PLAN", at("plan.kdl")),
        ("CONF", at("redis.conf")),
        ("CCB_CACHE_DIR", at("cache")),
        ("CCB_STATE_DIR", at("state")),
        ("WAY", way.name().to_owned()),
    ];
    let all = all.into_iter();
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

fn lay_out(way: Way, place: &Path, server: &Server) -> io::Result<()> {
    fs::create_dir_all(place)?;
    write_key(&place.join("key"))?;
    let url = format!("unix://{}", server.socket().display());
    fs::write(place.join("url"), url)?;
    fs::write(place.join("redis.conf"), "appendonly no\n")?;
    let data = match way {
        Way::Copy | Way::Replica => String::new(),
        Way::File | Way::Append => format!("data-dir {:?}", server.data()),
    };
    let plan = format!(
        r#"plan "bench" environment="development" timezone="UTC"
encryption "default" {{ key file="{place}/key" }}
destination "primary" {{
    local "{place}/repository"
    encrypt "default"
}}
component "cache" sensitive=#false {{
    source "redis" {{
        url file="{place}/url"
        {data}
    }}
    store "primary"
    schedule "rdb" when="on-demand" method="rdb"
    schedule "aof" when="on-demand" method="aof"
    verify {{ restore-test every="30d" into="temporary-redis" }}
}}
policy preset="development"
"#,
        place = place.display()
    );
    fs::write(place.join("plan.kdl"), plan)
}

impl Measured {
    fn add(&mut self, way: Way, what: &'static str, figures: Figures) {
        self.0.entry((way, what)).or_default().push(figures);
    }

    fn cell(&self, way: Way, what: &'static str) -> String {
        let Some(runs) = self.0.get(&(way, what)) else {
            return "–".to_owned();
        };
        let of = |part: fn(&Figures) -> f64| median(runs.iter().map(part).collect());
        let peak = runs.iter().map(|run| run.peak).fold(0.0, f64::max);
        format!("{:.2} / {:.2} / {peak:.0}", of(|f| f.wall), of(|f| f.cpu))
    }
}

fn report(
    measured: &Measured,
    ten_days: &BTreeMap<Way, f64>,
    after: &BTreeMap<Way, f64>,
    keys: &str,
) -> String {
    let keys = keys.lines().filter(|line| line.starts_with("db"));
    let keys = keys.map(str::trim).collect::<Vec<_>>().join("; ");
    let mut text = format!(
        "\n\nRedis over ten days, {keys}. Wall s / CPU s / highest peak MiB; medians. CPU of BGSAVE and of servers is not counted.\n\n| |"
    );
    for way in Way::ALL {
        let _ = write!(text, " {} |", way.name());
    }
    text.push_str("\n|---|---|---|---|---|\n");
    for what in [
        "first",
        "day",
        "after a restart",
        "after a rewrite",
        "unchanged",
        "restore",
        "restore test",
    ] {
        let cells = Way::ALL.map(|way| measured.cell(way, what));
        let _ = writeln!(text, "| {what} | {} |", cells.join(" | "));
    }
    let files = ten_days.get(&Way::Copy).copied().unwrap_or(f64::NAN);
    let of = |sizes: &BTreeMap<Way, f64>, way| sizes.get(&way).copied().unwrap_or(f64::NAN);
    let stored = Way::ALL.map(|way| {
        let stored = of(ten_days, way);
        format!("{stored:.1} MB, {:.3} of the files", stored / files)
    });
    let _ = writeln!(text, "| stored of ten days | {} |", stored.join(" | "));
    let added = Way::ALL.map(|way| match way {
        Way::Copy => "–".to_owned(),
        _ => format!("{:.0} KB", (of(after, way) - of(ten_days, way)) * 1000.0),
    });
    let _ = writeln!(text, "| added when unchanged | {} |", added.join(" | "));
    text
}
