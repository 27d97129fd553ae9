//! SIGINT and SIGTERM: the first one asks the run to end, and is remembered for the exit code.

use crate::cli::exit::Exit;
use std::sync::{Arc, OnceLock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tells when a signal came, and which.
#[derive(Clone)]
pub struct Signals {
    /// Turns true when the run is to end.
    pub interrupted: watch::Receiver<bool>,
    which: Arc<OnceLock<Exit>>,
}

impl Signals {
    /// Listens from now on, until the runtime ends.
    pub fn listen() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (send, interrupted) = watch::channel(false);
        let which = Arc::new(OnceLock::new());
        let seen = which.clone();
        tokio::spawn(async move {
            let exit = tokio::select! {
                _ = interrupt.recv() => Exit::Interrupted,
                _ = terminate.recv() => Exit::Terminated,
            };
            let _ = seen.set(exit);
            let _ = send.send(true);
            // Without this the sender is dropped, and who waits for a change hears of an end instead.
            send.closed().await;
        });
        Ok(Self { interrupted, which })
    }

    /// The exit code of the signal that came.
    pub fn exit(&self) -> Option<Exit> {
        self.which.get().copied()
    }
}
