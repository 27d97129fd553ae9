//! The command line: the only place that reads arguments, environment, clock and terminal. Each command
//! is a short script over the rest of the library: read, parse, observe, plan, check, render.

mod access;
mod allocator;
mod apply;
mod approve;
mod args;
mod around;
mod buckets;
mod check;
mod exit;
mod export;
mod foresee;
mod health;
mod holdings;
mod input;
mod journal;
mod key;
mod lock;
mod monitor;
mod more;
mod output;
mod places;
mod plan;
mod process;
mod prune;
mod read;
mod refresh;
mod restore;
mod schema_diff;
mod search;
mod signals;
mod sources;
mod state;
mod survey;
mod validate;
mod wal;
mod world;

use crate::cli::args::{Arguments, Command, Global, WalCommand};
use crate::cli::exit::{Exit, Trouble};
use crate::cli::output::{Color, Terminal};
use crate::render::Look;
use clap::{CommandFactory, Parser};
use std::process::ExitCode;
use std::time::Duration;

/// The flags of every command, worked out.
struct Context {
    global: Global,
    terminal: Terminal,
}

impl Context {
    fn look_err(&self) -> Look {
        Look {
            color: self.terminal.color_err,
            width: self.terminal.width,
            verbose: self.global.verbose,
        }
    }
    fn look(&self) -> Look {
        Look {
            color: self.terminal.color,
            width: self.terminal.width,
            verbose: self.global.verbose,
        }
    }
}

/// So long work that was given up may take to end.
const ENDING: Duration = Duration::from_secs(10);

/// Runs the program and says how it ended.
pub fn main() -> ExitCode {
    allocator::bound();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            // clap's own code for wrong usage is 2, which means "there is a difference" here.
            let exit = match error.use_stderr() {
                true if wal::is_fetch(std::env::args_os()) => Exit::Stop,
                true => Exit::Error,
                false => Exit::Ok,
            };
            return exit.into();
        }
    };
    let color = match arguments.global.no_color {
        true => Color::Never,
        false => arguments.global.color,
    };
    let context = Context {
        terminal: Terminal::new(color),
        global: arguments.global,
    };
    output::configure(&context.global);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let is_fetch = matches!(arguments.command, Command::Wal(WalCommand::Fetch(_)));
    let outcome = match runtime {
        Ok(runtime) => {
            let work = || runtime.block_on(dispatch(arguments.command, &context));
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            // Dropped, it would wait for what was given up, such as a server that is still starting, for as long as
            // that takes, and hear no signal meanwhile.
            runtime.shutdown_timeout(ENDING);
            match done {
                Ok(outcome) => outcome,
                // The code of a panic would tell a server that its archive ends here.
                Err(_) if is_fetch => return Exit::Stop.into(),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Err(error) => Err(Trouble::new(Exit::Error, format!("start threads: {error}"))),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(trouble) => {
            if !trouble.message.is_empty() {
                output::say(&format!("Error: {}", trouble.message));
            }
            match is_fetch {
                true => Exit::Stop.into(),
                false => trouble.exit.into(),
            }
        }
    }
}

async fn dispatch(command: Command, context: &Context) -> Result<Exit, Trouble> {
    match command {
        Command::Validate { files, format } => validate::run(&files, format, context),
        Command::Plan(arguments) => plan::run(&arguments, context).await,
        Command::Apply(arguments) => apply::run(&arguments, context).await,
        Command::Show {
            file,
            json,
            resolved,
        } => plan::show(&file, json.json, resolved, context),
        Command::Backup {
            file,
            component,
            method,
            tag,
            locking,
        } => {
            let what = (component.as_str(), method.as_deref(), tag.as_deref());
            apply::backup(&file, what, locking, context).await
        }
        Command::List {
            file,
            component,
            deleted,
            json,
        } => read::list(&file, component.as_deref(), deleted, json.json, context).await,
        Command::Ls {
            file,
            backup,
            path,
            json,
        } => read::ls(&file, &backup, path.as_deref(), json.json, context).await,
        Command::Cat { file, backup, path } => {
            read::cat(&file, &backup, path.as_deref(), context).await
        }
        Command::Find(arguments) => search::find(&arguments, context).await,
        Command::Diff(arguments) => search::diff(&arguments, context).await,
        Command::Status(arguments) => health::status(&arguments, context).await,
        Command::Verify(arguments) => health::verify(&arguments, context).await,
        Command::Simulate(arguments) => foresee::simulate(&arguments, context).await,
        Command::Restore(arguments) => restore::run(&arguments, context).await,
        Command::Export(arguments) => export::run(&arguments, context).await,
        Command::Hold {
            file,
            backup,
            reason,
        } => read::hold(&file, &backup, &reason, true, context).await,
        Command::Release {
            file,
            backup,
            reason,
        } => read::hold(&file, &backup, &reason, false, context).await,
        Command::Undelete { file, backup } => more::undelete(&file, &backup, context).await,
        Command::Check {
            file,
            destination,
            level,
            percent,
            heal,
            json,
        } => {
            let wanted = check::Wanted {
                destination: destination.as_deref(),
                level,
                percent,
                heal,
            };
            check::run(&file, &wanted, json.json, context).await
        }
        Command::Prune {
            file,
            destination,
            repack,
            json,
        } => prune::run(&file, destination.as_deref(), repack, json.json, context).await,
        Command::Key(command) => key::run(command, context).await,
        Command::Fmt { files, check, diff } => more::fmt(&files, check, diff, context),
        Command::Schema { format } => more::print_schema(format),
        Command::Explain(arguments) => foresee::explain(&arguments, context).await,
        Command::Graph { plan, drawn_as } => more::graph(&plan, drawn_as, context).await,
        Command::Wal(command) => wal::run(command, context).await,
        Command::Unlock(arguments) => lock::unlock(&arguments, context).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "ccb", &mut script);
            output::print_bytes(&script)?;
            Ok(Exit::Ok)
        }
    }
}
