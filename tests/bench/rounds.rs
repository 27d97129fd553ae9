//! The rounds: in each, every operation on every kind of data by one program after the other, so that a
//! machine that gets slower gets slower for all.

use crate::chart;
use crate::data::{self, Kind, Size};
use crate::inventory;
use crate::measure::{self, Figures, median};
use crate::redis;
use crate::table::{OWN, Table};
use crate::tools::{Operation, Tool};
use crate::{Options, Scale, index, limits, postgres, s3};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Whoever trusts times reads files again that are younger than this.
const SETTLE: Duration = Duration::from_millis(2100);
/// What a program uses besides what it writes.
const OWN_MEMORY: u64 = 512 << 20;
/// Backups of the inventory that is planned and listed.
const BACKUPS: usize = 5_000;

/// What all parts use.
struct Bench<'a> {
    options: &'a Options,
    tools: Vec<Tool>,
    dir: PathBuf,
    table: Table,
    /// MB/s of plain writing and syncing.
    disk: Vec<f64>,
    /// Tables of what has no peers among backup programs.
    more: String,
}

/// Runs everything and prints what was measured.
pub fn run(options: &Options) -> io::Result<()> {
    let dir = options
        .dir
        .join(format!("ccb-bench-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let alone = match options.only.as_str() {
        postgres::NAME => Some(postgres::run(options, &dir)),
        s3::NAME => Some(s3::run(options, &dir)),
        index::NAME => Some(index::run(options, &dir)),
        limits::NAME => Some(limits::run(options, &dir)),
        _ => None,
    };
    if let Some(outcome) = alone {
        fs::remove_dir_all(&dir)?;
        return outcome;
    }
    let outcome = Bench::new(options, dir.clone()).and_then(|mut bench| {
        let outcome = bench.run();
        // What was measured before something failed is worth its time.
        println!("{}", bench.report());
        bench.draw()?;
        outcome
    });
    fs::remove_dir_all(&dir)?;
    outcome
}

/// How much of it there is.
pub fn size(kind: Kind, scale: Scale) -> Size {
    let (files, len) = match (kind, scale) {
        (Kind::Media, Scale::Full) => (64, 32 << 20),
        (Kind::Media, Scale::Small) => (8, 32 << 20),
        (Kind::Small, Scale::Full) => (100_000, 4 << 10),
        (Kind::Small, Scale::Small) => (5_000, 4 << 10),
        (Kind::Text, Scale::Full) => (2_000, 512 << 10),
        (Kind::Text, Scale::Small) => (200, 512 << 10),
    };
    Size { files, len }
}

impl<'a> Bench<'a> {
    fn new(options: &'a Options, dir: PathBuf) -> io::Result<Self> {
        let mut tools = Vec::new();
        for tool in Tool::ALL {
            match tool.version(&options.ccb) {
                Some(version) => {
                    eprintln!("bench: {}: {version}", tool.name());
                    tools.push(tool);
                }
                None => eprintln!("bench: {} is not here, and is left out", tool.name()),
            }
        }
        let (table, disk, more) = (Table::default(), Vec::new(), String::new());
        Ok(Self {
            options,
            tools,
            dir,
            table,
            disk,
            more,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        for kind in [Kind::Media, Kind::Small, Kind::Text] {
            if kind.name().contains(&self.options.only) {
                self.rounds_of(kind)?;
            }
        }
        if "inventory".contains(&self.options.only) {
            self.plan_and_list()?;
        }
        if "redis".contains(&self.options.only) {
            self.more.push_str(&redis::run(self.options, &self.dir)?);
        }
        Ok(())
    }

    fn rounds_of(&mut self, kind: Kind) -> io::Result<()> {
        let (source, size) = (self.dir.join(kind.name()), size(kind, self.options.scale));
        eprintln!("bench: {} is made", kind.name());
        let len = data::make(kind, size, &source)?;
        sync();
        for round in 0..self.options.rounds {
            self.round(kind, size, len, &source, round)?;
            data::reset(&source)?;
        }
        fs::remove_dir_all(&source)
    }

    fn round(
        &mut self,
        kind: Kind,
        size: Size,
        len: u64,
        source: &Path,
        round: usize,
    ) -> io::Result<()> {
        let mut tools = self.tools.clone();
        tools.rotate_left(round % self.tools.len());
        for tool in &tools {
            let place = self.place(*tool);
            fs::create_dir_all(&place)?;
            tool.lay_out(&place, source)?;
            let environment = tool.environment(&place, source, &self.options.ccb)?;
            measure::prepare(tool.init(), &environment, &self.dir)?;
        }
        for operation in Operation::ALL {
            match operation {
                Operation::Changed => data::change(kind, size, source, round as u64)?,
                Operation::Added => data::add(kind, size, source, round as u64)?,
                Operation::Renamed => data::rename(source)?,
                _ => {}
            }
            sync();
            sleep(SETTLE);
            let row = format!("{}, {}", kind.name(), operation.name());
            eprintln!(
                "bench: {row}, round {} of {}",
                round + 1,
                self.options.rounds
            );
            if (kind, operation) == (Kind::Media, Operation::Initial) {
                self.disk
                    .push(write_plainly(source, &self.dir.join("plain"))? / 1e6);
            }
            // Who is the first may find it slower: that is another one each time.
            tools.rotate_left(1);
            for tool in &tools {
                measure::warm_up(len + OWN_MEMORY);
                self.measure(*tool, operation, &row, source)?;
            }
        }
        eprintln!(
            "bench: {} bytes of {} were backed up first",
            len,
            kind.name()
        );
        for tool in &tools {
            fs::remove_dir_all(self.place(*tool))?;
        }
        sync();
        Ok(())
    }

    fn place(&self, tool: Tool) -> PathBuf {
        self.dir.join(format!("of-{}", tool.name()))
    }

    fn measure(
        &mut self,
        tool: Tool,
        operation: Operation,
        row: &str,
        source: &Path,
    ) -> io::Result<()> {
        let Some(scripts) = tool.scripts(operation) else {
            return Ok(());
        };
        let place = self.place(tool);
        let environment = tool.environment(&place, source, &self.options.ccb)?;
        let mut figures: Option<Figures> = None;
        for script in scripts {
            if figures.is_some() {
                measure::prepare(tool.between(), &environment, &self.dir)?;
            }
            let more = measure::run(script, &environment, &self.dir)?;
            figures = Some(match figures {
                None => more,
                Some(all) => Figures {
                    wall: all.wall + more.wall,
                    cpu: all.cpu + more.cpu,
                    peak: all.peak.max(more.peak),
                    stored: 0.0,
                },
            });
        }
        let Some(mut figures) = figures else {
            return Ok(());
        };
        match operation {
            Operation::Restore => {
                compare(source, &tool.restored(&place))?;
                fs::remove_dir_all(tool.restored(&place))?;
                sync();
            }
            Operation::Check => {}
            _ => figures.stored = data::len_of(&place.join("repository"))? as f64 / 1e6,
        }
        self.table.add(row, tool.name(), figures);
        Ok(())
    }

    /// Peers have no counterpart to a plan, and no repository with so many backups can be made for them in
    /// sensible time: these rows stand alone.
    fn plan_and_list(&mut self) -> io::Result<()> {
        let place = self.dir.join("inventory");
        eprintln!("bench: a repository with {BACKUPS} backups is made");
        inventory::make(&place, BACKUPS)?;
        let environment = Tool::Ccb.environment(&place, &place, &self.options.ccb)?;
        for (name, script) in [
            (
                "plan, first look",
                "rm -rf \"$CCB_CACHE_DIR\"; exec \"$CCB\" plan \"$PLAN\"",
            ),
            ("plan", "exec \"$CCB\" plan \"$PLAN\""),
            ("list", "exec \"$CCB\" list \"$PLAN\""),
        ] {
            for _ in 0..self.options.rounds.max(3) {
                let figures = measure::run(script, &environment, &self.dir)?;
                self.table
                    .add(&format!("{BACKUPS} backups, {name}"), OWN, figures);
            }
        }
        fs::remove_dir_all(place)
    }

    fn draw(&self) -> io::Result<()> {
        let names: Vec<&str> = self.tools.iter().map(|tool| tool.name()).collect();
        match &self.options.chart {
            Some(path) => fs::write(path, chart::svg(&self.table, &names)),
            None => Ok(()),
        }
    }

    fn report(&self) -> String {
        let mut text = String::from(
            "Wall s / CPU s / peak MiB / MB in the repository; medians. Ratios: ccb to the best of its peers in that figure.\n\n",
        );
        let names: Vec<&str> = self.tools.iter().map(|tool| tool.name()).collect();
        text.push_str(&self.table.markdown(&names));
        let _ = write!(
            text,
            "\nccb's highest peak: {:.0} MiB.",
            self.table.peak(OWN)
        );
        if let Some(wall) = self.table.wall("media, initial", OWN) {
            let media = size(Kind::Media, self.options.scale);
            let _ = write!(
                text,
                " Media, initial: {:.0} MB/s; plain write and fsync of the same bytes: {:.0} MB/s.",
                (media.files * media.len) as f64 / wall / 1e6,
                median(self.disk.clone())
            );
        }
        text.push_str(&self.more);
        text
    }
}

/// Writes the same bytes to one file after the other and syncs each, as a backup must at least. Bytes per second.
fn write_plainly(source: &Path, to: &Path) -> io::Result<f64> {
    let started = Instant::now();
    let (mut len, mut buffer) = (0, vec![0; 1 << 20]);
    fs::create_dir_all(to)?;
    for directory in fs::read_dir(source)? {
        for file in fs::read_dir(directory?.path())? {
            let file = file?;
            let (mut from, mut copy) = (
                File::open(file.path())?,
                File::create(to.join(file.file_name()))?,
            );
            loop {
                let read = from.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                copy.write_all(&buffer[..read])?;
                len += read as u64;
            }
            copy.sync_all()?;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    fs::remove_dir_all(to)?;
    Ok(len as f64 / seconds)
}

/// A restore that is not equal to its source is no figure.
/// An error, where what was restored is not the source.
pub fn compare(source: &Path, restored: &Path) -> io::Result<()> {
    let output = Command::new("diff")
        .arg("-rq")
        .arg(source)
        .arg(restored)
        .output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "what was restored differs:\n{}",
            String::from_utf8_lossy(&output.stdout)
                .lines()
                .take(5)
                .collect::<Vec<_>>()
                .join("\n")
        ))),
    }
}

/// So that the next one does not write what the last one left.
fn sync() {
    rustix::fs::sync();
}
