//! Who hears of a run, as the plan file says: reads where they are found, and tells them. What does not work
//! is a warning; a run is neither better nor worse for it.

use crate::cli::exit::chain;
use crate::cli::output::{self, Listener};
use crate::cli::world::{self, Commands};
use crate::model::ids::{Address, RunId};
use crate::model::strategy::{Event as What, SecretRef, Strategy};
use crate::model::units::AsOf;
use crate::notify::{self, Client, HttpError, Plain, Summary, Url, log, prometheus};
use crate::plan::check::would_block;
use crate::render::event::{self, Event};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a run that was interrupted still spends on telling others.
const HURRIED: Duration = Duration::from_secs(5);

/// Who hears of a run over the network.
pub struct Hearers {
    client: Option<Client>,
    run: RunId,
    pings: Vec<(String, Url)>,
    hooks: Vec<(String, Url, BTreeSet<What>)>,
    starting: Option<JoinHandle<()>>,
}

impl Hearers {
    /// Finds out where they are. Nobody is told yet.
    pub fn of(strategy: &Strategy, run: RunId) -> Self {
        let (mut pings, mut hooks) = (Vec::new(), Vec::new());
        for notify in &strategy.notify {
            let url = |found: &SecretRef| url(strategy, &notify.name, found);
            let of_ping = notify.healthchecks.as_ref().and_then(url);
            pings.extend(of_ping.map(|url| (notify.name.clone(), url)));
            for hook in &notify.webhooks {
                let on = hook.on.iter().copied().collect();
                hooks.extend(url(&hook.url).map(|url| (notify.name.clone(), url, on)));
            }
        }
        let is_needed = !pings.is_empty() || !hooks.is_empty();
        Self {
            client: is_needed.then(client).flatten(),
            run,
            pings,
            hooks,
            starting: None,
        }
    }

    /// Tells that the run starts, beside it.
    pub fn started(&mut self) {
        let Some(client) = self.client.clone() else {
            return;
        };
        let (pings, run) = (self.pings.clone(), self.run);
        self.starting = Some(tokio::spawn(async move {
            let all = pings.iter().map(|(name, url)| async {
                complain(name, notify::started(&client, url, run).await);
            });
            join_all(all).await;
        }));
    }

    /// Tells how the run ended; `text` is the same for people. In a hurry only those hear who listen now.
    pub async fn ended(self, summary: &Summary, text: &str, is_hurried: bool) {
        let Some(client) = &self.client else { return };
        let telling = async {
            // The end must not arrive before the start.
            if let Some(starting) = self.starting {
                let _ = starting.await;
            }
            let pings = self.pings.iter().map(|(name, url)| {
                let ping = notify::ended(client, url, self.run, summary.exit, text);
                told(name, ping.boxed())
            });
            let hooks = self.hooks.iter();
            let hooks = hooks
                .filter(|(_, _, on)| !on.is_disjoint(&summary.events))
                .map(|(name, url, _)| told(name, notify::webhook(client, url, summary).boxed()));
            join_all(pings.chain(hooks)).await;
        };
        if !is_hurried {
            telling.await;
        } else if timeout(HURRIED, telling).await.is_err() {
            output::say("Warning: not all who should hear of this run did: it was interrupted");
        }
    }
}

/// What posts. Without it the run goes on, and says so.
fn client() -> Option<Client> {
    match world::tls() {
        Ok(tls) => Some(Client::new(tls)),
        Err(error) => {
            output::say(&format!("Warning: nobody is told of this run: {error}"));
            None
        }
    }
}

async fn told(name: &str, telling: BoxFuture<'_, Result<(), HttpError>>) {
    complain(name, telling.await);
}

fn complain(name: &str, outcome: Result<(), HttpError>) {
    if let Err(error) = outcome {
        output::say(&format!("Warning: notify.{name}: {}", chain(&error)));
    }
}

/// The URL behind a reference; one that can not be used is said, never shown.
fn url(strategy: &Strategy, name: &str, found: &SecretRef) -> Option<Url> {
    let at = Address("notify".to_owned()).child(name);
    let plain = match would_block(strategy, AsOf(world::now()), "CCB102", at) {
        true => Plain::LoopbackOnly,
        false => Plain::Allowed,
    };
    let secret = world::secret(found, Commands::Run).map_err(|e| format!("read its URL: {e}"));
    let url = secret.and_then(|secret| {
        let text = String::from_utf8_lossy(secret.expose()).into_owned();
        Url::parse(&text, plain).map_err(|e| e.to_string())
    });
    match url {
        Ok(url) => Some(url),
        Err(why) => {
            output::say(&format!("Warning: notify.{name}: {why}"));
            None
        }
    }
}

/// Listeners that keep what happens in the logs of runs, once their old lines are dropped.
pub fn logs(strategy: &Strategy, run: RunId) -> Vec<Listener> {
    let logs = strategy
        .notify
        .iter()
        .filter_map(|notify| notify.log.as_ref());
    logs.map(|log| {
        let path = PathBuf::from(&log.file);
        let oldest = log.keep.before(world::now());
        if let Err(error) = log::trim(&path, oldest) {
            say_unwritten(&path, &error);
        }
        keep_in(path, run)
    })
    .collect()
}

fn keep_in(path: PathBuf, run: RunId) -> Listener {
    let has_failed = AtomicBool::new(false);
    Arc::new(move |what| {
        if matches!(what, Event::ActionProgress(_)) || has_failed.load(Relaxed) {
            return;
        }
        let line = event::line(world::now(), Some(run), what);
        if let Err(error) = log::append(&path, &line) {
            // Before it is said: what is said comes here, too.
            has_failed.store(true, Relaxed);
            say_unwritten(&path, &error);
        }
    })
}

fn say_unwritten(path: &Path, error: &std::io::Error) {
    output::say(&format!(
        "Warning: write the log `{}`: {error}",
        path.display()
    ));
}

/// Writes the metrics of the run.
pub fn metrics(strategy: &Strategy, summary: &Summary, newest: &prometheus::Newest) {
    let files = strategy
        .notify
        .iter()
        .filter_map(|it| it.prometheus.as_ref());
    for file in files {
        if let Err(error) = prometheus::write(Path::new(file), summary, newest) {
            output::say(&format!("Warning: write the metrics `{file}`: {error}"));
        }
    }
}
