//! The README's tour is what the commands print: its `console` blocks are run in a folder of their own, in order,
//! on a fixed day, and compared; those that say `postgres` or `redis` with a server of their own, those that say `any moment`,
//! `bucket`, `mirror` or `settings` with one whose clock can not be set, on the day of the test and as the user of servers. `CCB_BLESS=1`
//! writes what they print. Ids, times of day, sizes and durations differ from run to run and are not compared.

use crate::support::archiving;
use crate::support::clock::shifted;
use crate::support::postgres::{Cluster, Options, SUPERUSER, as_server_user, bin};
use crate::support::restored::wait_for;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// When the tour takes place: a Monday after lunch, so that what is due does not depend on the hour of the test.
const TOUR_AT: &str = "2026-11-23T12:20:00Z";

/// When the protected files were written, as `ccb ls` shows it.
const FILES_FROM: &str = "2026-11-20T09:00:00Z";

/// One `$` line with what belongs to it, and what it prints.
struct Step {
    command: String,
    /// The lines of the command as they stand in the README.
    typed: Vec<String>,
    printed: Vec<String>,
}

#[test]
fn the_readme_shows_what_the_commands_print() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy_plans(folder.path());
    let count = Tour::fixed("```console\n", folder.path()).take();
    assert!(count >= 10, "the tour has {count} commands");
}

#[test]
fn the_readme_shows_what_the_commands_print_of_a_database() {
    let cluster = Cluster::start();
    cluster.create("shop", SHOP);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tour = Tour::fixed("```console postgres\n", folder.path());
    let count = tour.at(&cluster).take();
    assert!(count >= 5, "the tour has {count} commands");
}

#[test]
fn the_readme_shows_how_a_server_comes_back_as_it_was_at_a_moment() {
    let folder = archiving::folder();
    let at = folder.path().display();
    let command = format!("archive_command = '{at}/ccb wal push {at}/shop.kdl db %p'");
    let cluster = Cluster::with(&Options {
        settings: &["archive_mode = on", &command],
        ..Options::default()
    });
    let orders = "CREATE TABLE orders AS SELECT n FROM generate_series(1, 100) n";
    cluster.create("shop", orders);
    let _started = Started(folder.path().join("restored"));
    let tour = Tour {
        after: &|command| match command {
            // The server hands a segment over when it comes to it.
            _ if command.contains("pg_switch_wal") => {
                let waiting =
                    "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name ~ '\\.ready$'";
                wait_for(|| cluster.sql("postgres", waiting) == "0");
            }
            // It lets readers in before it has come to the moment.
            _ if command.contains("start") => {
                let recovers = "SELECT pg_is_in_recovery()";
                wait_for(|| {
                    let mut psql = cluster.client("psql");
                    psql.args(["-p", "5433", "-Atc", recovers, "postgres"]);
                    psql.output().expect("psql can be started").stdout == b"f\n"
                });
            }
            _ => {}
        },
        ..Tour::today("```console any moment\n", folder.path())
    };
    let tour = tour.at(&cluster);
    let count = tour.calling("/srv/shop", &at.to_string()).take();
    assert!(count >= 6, "the tour has {count} commands");
}

/// A data directory whose server is ended.
struct Started(PathBuf);

impl Drop for Started {
    fn drop(&mut self) {
        let mut stop = Command::new(bin().join("pg_ctl"));
        stop.args(["-s", "-m", "immediate", "stop", "-D"])
            .arg(&self.0);
        as_server_user(&mut stop);
        // One that was never started can not be ended.
        let _ = stop.current_dir("/").output();
    }
}

/// The database of the tour.
const SHOP: &str = "CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);
    CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL REFERENCES customers, total numeric(10, 2));
    INSERT INTO customers SELECT n, 'customer ' || n FROM generate_series(1, 100) n;
    INSERT INTO orders SELECT n, 1 + n % 100, n / 4.0 FROM generate_series(1, 1000) n;";

/// The blocks of the README that begin with `fence`, and what they are run with.
pub(crate) struct Tour<'a> {
    fence: &'static str,
    folder: &'a Path,
    /// Variables that its commands get.
    pub(crate) env: Vec<(&'static str, String)>,
    /// Names that stand in the README, and what they are here.
    called: Vec<(&'static str, String)>,
    /// `None`: the clock of the machine, as the user of servers.
    clock: Option<Clock>,
    /// Done after a command.
    pub(crate) after: &'a dyn Fn(&str),
}

impl<'a> Tour<'a> {
    /// On the day of the tour.
    pub(crate) fn fixed(fence: &'static str, folder: &'a Path) -> Self {
        Self {
            fence,
            folder,
            env: Vec::new(),
            called: Vec::new(),
            clock: Some(Clock::fixed()),
            after: &|_| {},
        }
    }

    /// On the day of the test, as the user of servers.
    pub(crate) fn today(fence: &'static str, folder: &'a Path) -> Self {
        Self {
            clock: None,
            ..Self::fixed(fence, folder)
        }
    }

    /// With a server.
    fn at(mut self, cluster: &Cluster) -> Self {
        let host = cluster.host().to_owned();
        self.env = vec![("PGHOST", host.clone()), ("PGUSER", SUPERUSER.to_owned())];
        self.calling("/run/postgresql", &host)
    }

    /// With another name for what the README calls `name`.
    pub(crate) fn calling(mut self, name: &'static str, here: &str) -> Self {
        self.called.push((name, here.to_owned()));
        self
    }

    /// Runs the blocks and compares; gives how many commands there were.
    pub(crate) fn take(&self) -> usize {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let text = fs::read_to_string(&path).expect("the README is there");
        let is_today = self.clock.is_none();
        let mut written = String::new();
        let mut wrong = Vec::new();
        let mut count = 0;
        for (number, part) in text.split(self.fence).enumerate() {
            if number == 0 {
                written.push_str(part);
                continue;
            }
            let (block, rest) = part.split_once("```").expect("the block ends");
            written.push_str(self.fence);
            for step in steps(block) {
                let printed = self.run(&step.command);
                count += 1;
                let same = plain(&printed, is_today) == plain(&step.printed, is_today);
                if !same {
                    wrong.push(format!(
                        "$ {}\n--- the README says\n{}\n--- it prints\n{}\n",
                        step.command,
                        step.printed.join("\n"),
                        printed.join("\n")
                    ));
                }
                for line in step
                    .typed
                    .iter()
                    .chain(if same { &step.printed } else { &printed })
                {
                    written.push_str(line);
                    written.push('\n');
                }
            }
            written.push_str("```");
            written.push_str(rest);
        }
        if std::env::var_os("CCB_BLESS").is_some() {
            fs::write(&path, written).expect("written");
            return count;
        }
        assert!(
            wrong.is_empty(),
            "CCB_BLESS=1 writes it:\n{}",
            wrong.join("\n")
        );
        count
    }

    /// What the command prints on both streams, as a terminal would show it.
    fn run(&self, command: &str) -> Vec<String> {
        let mut real = command.to_owned();
        for (name, here) in &self.called {
            real = real.replace(name, here);
        }
        let mut bash = Command::new("bash");
        if self.clock.is_none() {
            as_server_user(&mut bash);
        }
        let program = Path::new(env!("CARGO_BIN_EXE_ccb"));
        let programs = program.parent().expect("it lies in a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        // A folder of its own first: where tests are built may be out of reach of the server's user.
        let places = [self.folder, bin(), programs].map(|place| place.display().to_string());
        let output = bash
            .args(["-c", &format!("{real}\n")])
            .current_dir(self.folder)
            .env_clear()
            .env("PATH", format!("{}:{path}", places.join(":")))
            .env("CCB_CACHE_DIR", self.folder.join("cache"))
            .env("CCB_STATE_DIR", self.folder.join("state"))
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1")
            .envs(
                self.clock
                    .iter()
                    .flat_map(|clock| shifted(clock.offset_seconds)),
            )
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("it can be started");
        (self.after)(&real);
        let printed = [output.stdout, output.stderr].concat();
        let mut printed = String::from_utf8(printed).expect("it is text");
        for (name, here) in &self.called {
            printed = printed.replace(here, name);
        }
        printed.lines().map(str::to_owned).collect()
    }
}

fn copy_plans(folder: &Path) {
    let plans = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    for entry in walkdir::WalkDir::new(&plans) {
        let entry = entry.expect("it can be read");
        let below = entry.path().strip_prefix(&plans).expect("it is below");
        let to = folder.join("plans").join(below);
        match entry.file_type().is_dir() {
            true => fs::create_dir_all(to).expect("made"),
            false => {
                fs::copy(entry.path(), &to).expect("copied");
                let file = fs::File::options().write(true).open(&to);
                let written: jiff::Timestamp = FILES_FROM.parse().expect("it is an instant");
                let set = file.and_then(|file| file.set_modified(written.into()));
                set.expect("its time can be set");
            }
        }
    }
}

/// A line that begins with `$ ` is a command, those with `> ` go on with it, the rest is what it prints.
fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                command: command.to_owned(),
                typed: vec![line.to_owned()],
                printed: Vec::new(),
            });
            continue;
        }
        let step = steps.last_mut().expect("a block begins with a command");
        match line.strip_prefix("> ").filter(|_| step.printed.is_empty()) {
            Some(more) => {
                step.command = format!("{}\n{more}", step.command);
                step.typed.push(line.to_owned());
            }
            None => step.printed.push(line.to_owned()),
        }
    }
    steps
}

/// The clock of the tour: it starts at [`TOUR_AT`] and goes on from command to command.
struct Clock {
    offset_seconds: i64,
}

impl Clock {
    fn fixed() -> Self {
        let start: jiff::Timestamp = TOUR_AT.parse().expect("it is an instant");
        let now = jiff::Timestamp::now();
        Self {
            offset_seconds: start.as_second() - now.as_second(),
        }
    }
}

/// Lines without what differs from run to run, and without the widths of columns that follow from it; on the day of
/// the test without days, and without the number of a server's files.
fn plain(lines: &[String], is_today: bool) -> Vec<String> {
    let is_day = |word: &str| word.parse::<jiff::civil::Date>().is_ok();
    let words = |line: &String| {
        let mut words: Vec<String> = line.split_whitespace().map(word).collect();
        for word in words.iter_mut().filter(|_| is_today) {
            // Also in brackets: `(2026-11-23)`.
            let at = word.len() - word.trim_start_matches('(').len();
            match word.get(at..at + 10) {
                Some(day) if is_day(day) => word.replace_range(at..at + 10, "DAY"),
                _ => {}
            }
        }
        // `1.71 KiB`: the unit says that the number is a size.
        for at in 1..words.len() {
            let unit = words[at].trim_end_matches([',', ')']);
            let is_size = matches!(unit, "B" | "KiB" | "MiB" | "GiB" | "bytes");
            if is_size || is_today && unit == "files" {
                words[at - 1] = "N".to_owned();
                words[at] = "SIZE".to_owned();
            }
        }
        // Checks of two copies run side by side: either ends last.
        for at in 1..words.len() {
            if words[at] == "passed"
                && matches!(words[at - 1].as_str(), "integrity" | "restore-test")
            {
                words[at - 1] = "CHECK".to_owned();
            }
        }
        words.join(" ")
    };
    lines.iter().map(words).collect()
}

fn word(word: &str) -> String {
    let bare = word.trim_matches(['(', ')', ',', '.', ';', ':', '`']);
    // Also as the end of a name: `replaced-by-97648e51`.
    let last = bare.rsplit('-').next().unwrap_or(bare);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_id = last.len() == 8 && last.bytes().all(|b| b.is_ascii_hexdigit());
    let is_duration = bare
        .strip_suffix(['s', 'm', 'h'])
        .is_some_and(|number| digits(&number.replace('.', "")));
    if is_id {
        return word.replace(last, "ID");
    }
    if is_duration {
        return word.replace(bare, "DURATION");
    }
    match word.split_once('T') {
        Some((day, time)) if day.len() == 10 && time.contains(':') => format!("{day}TIME"),
        _ if bare.len() >= 5
            && bare.split(':').all(|part| digits(&part.replace('.', "")))
            && bare.contains(':') =>
        {
            "TIME".to_owned()
        }
        _ => word.to_owned(),
    }
}

#[test]
fn what_differs_from_run_to_run_is_not_compared_and_the_rest_is() {
    let table = [
        (
            "97648e51  plans  2026-11-23T12:20Z  10.7 KiB  primary",
            "aaaabbbb plans   2026-11-23T13:05Z  9 B  primary",
            false,
            true,
        ),
        (
            "now in `/var/lib/redis/replaced-by-97648e51`.",
            "now in `/var/lib/redis/replaced-by-aaaabbbb`.",
            false,
            true,
        ),
        ("took 0.5s.", "took 12s.", false, true),
        (
            "planned for 2026-11-23 12:20 UTC",
            "planned for 2026-11-23 12:59 UTC",
            false,
            true,
        ),
        ("2026-11-23T12:20Z", "2026-11-24T12:20Z", false, false),
        ("1 backed up", "2 backed up", false, false),
        // The slot of a day may be another day's, whenever the test runs.
        (
            "1 daily (2026-11-23), 1 last",
            "1 daily (2026-11-24), 1 last",
            true,
            true,
        ),
        (
            "due: 2026-11-23T02:00Z",
            "due: 2026-11-24T02:00Z",
            true,
            true,
        ),
        ("1 daily (2026-11-23)", "2 daily (2026-11-23)", true, false),
    ];
    for (one, other, is_today, same) in table {
        let lines = |text: &str| plain(&[text.to_owned()], is_today);
        assert_eq!(lines(one) == lines(other), same, "{one} / {other}");
    }
}
