//! SIGINT and SIGTERM: the first one asks the run to end and is remembered for the exit code, the second one
//! ends the process at once. Other reasons to end a run early come in here, too.

use crate::cli::exit::Exit;
use crate::cli::output;
use std::sync::{Arc, OnceLock};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Tells when a run is to end before it is done, and why.
#[derive(Clone)]
pub struct Signals {
    /// Turns true when the run is to end.
    pub interrupted: watch::Receiver<bool>,
    end: Arc<watch::Sender<bool>>,
    why: Arc<OnceLock<Exit>>,
}

impl Signals {
    /// Listens from now on, until the runtime ends.
    pub fn listen() -> std::io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let (end, interrupted) = watch::channel(false);
        let signals = Self {
            interrupted,
            end: Arc::new(end),
            why: Arc::default(),
        };
        tokio::spawn(signals.clone().hear(interrupt, terminate));
        Ok(signals)
    }

    /// Asks the run to end; `why` becomes the exit code, unless there was a reason before.
    pub fn end(&self, why: Exit) {
        let _ = self.why.set(why);
        self.end.send_replace(true);
    }

    /// Returns when the run is to end, with the exit code.
    pub async fn ended(&self) -> Exit {
        let mut interrupted = self.interrupted.clone();
        // The sender lives as long as `self`.
        let _ = interrupted.wait_for(|on| *on).await;
        self.exit().unwrap_or(Exit::Interrupted)
    }

    /// Why the run is to end, if it is.
    pub fn exit(&self) -> Option<Exit> {
        self.why.get().copied()
    }

    async fn hear(self, mut interrupt: Signal, mut terminate: Signal) {
        let exit = next(&mut interrupt, &mut terminate).await;
        output::say("Ending: what is in hand is finished; once more to end at once.");
        self.end(exit);
        let exit = next(&mut interrupt, &mut terminate).await;
        // Nothing that was reported is lost: every object that counts is written whole or not at all.
        std::process::exit(exit as i32);
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> Exit {
    tokio::select! {
        _ = interrupt.recv() => Exit::Interrupted,
        _ = terminate.recv() => Exit::Terminated,
    }
}
