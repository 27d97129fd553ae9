//! The one place that knows both worlds: CPU work runs on the rayon pool, whatever crosses a file or a
//! socket on tokio. Pool threads may wait for uploads, uploads never wait for pool threads, so that the
//! two can not stop each other.

use crate::repository::RepositoryError;
use crate::repository::format::pack::FinishedPack;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;
use std::future::Future;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

/// Runs `work` on the pool and waits for it without holding a thread.
pub(crate) async fn on_pool<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = oneshot::channel();
    rayon::spawn(move || {
        // Whoever asked may have been dropped meanwhile.
        let _ = done.send(work());
    });
    result.await.expect("a panic on the pool ends the process")
}

/// Starts `work` on the pool; the result is for a thread that may wait.
pub(crate) fn start<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::sync::mpsc::Receiver<T> {
    let (done, result) = std::sync::mpsc::sync_channel(1);
    rayon::spawn(move || {
        let _ = done.send(work());
    });
    result
}

/// Applies `f` to all of `items` on the pool; results in the order of the input.
pub(crate) fn map_in_order<T: Send, U: Send>(
    items: Vec<T>,
    f: impl Fn(T) -> U + Send + Sync,
) -> Vec<U> {
    items.into_par_iter().map(f).collect()
}

/// Sorts on the pool.
pub(crate) fn sort<T: Send, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K + Sync) {
    items.par_sort_unstable_by_key(key);
}

/// More than this is sorted in place.
const MERGED_MAX: usize = 1 << 21;

/// Sorts what consists of a few sorted parts; up to two million take half as much memory again meanwhile.
pub(crate) fn merge<T: Send, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K + Sync) {
    match items.len() {
        ..MERGED_MAX => items.sort_by_key(key),
        _ => sort(items, key),
    }
}

/// Runs `work` on a thread of its own, for what waits much: a walk, a stream. Its result comes here.
pub(crate) async fn on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RepositoryError> {
    let (done, result) = oneshot::channel();
    let spawned = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _ = done.send(work());
        });
    match spawned {
        Err(_) => Err(RepositoryError::Interrupted),
        // The sender is dropped without a word only when the thread panicked.
        Ok(_) => result.await.map_err(|_| RepositoryError::Interrupted),
    }
}

/// Where pool threads hand in finished packs; waits while the uploads are behind.
#[derive(Clone)]
pub(crate) struct PackSink(mpsc::Sender<FinishedPack>);

impl PackSink {
    /// The sink and where its packs come out. One pack waits between the two.
    pub(crate) fn new() -> (Self, mpsc::Receiver<FinishedPack>) {
        let (sink, packs) = mpsc::channel(1);
        (Self(sink), packs)
    }

    /// Hands in a pack. Gives whether it had to wait. Must not be called where waiting is not allowed.
    pub(crate) fn put(&self, pack: FinishedPack) -> Result<bool, RepositoryError> {
        let pack = match self.0.try_send(pack) {
            Ok(()) => return Ok(false),
            Err(TrySendError::Full(pack)) => pack,
            Err(TrySendError::Closed(_)) => return Err(RepositoryError::Interrupted),
        };
        let put = self.0.blocking_send(pack);
        put.map(|()| true).map_err(|_| RepositoryError::Interrupted)
    }
}

/// Answers questions that a thread asks and waits for: the bridge for code that can not be async, such
/// as an iterator. `answer` runs as a task until the asker is dropped.
pub(crate) fn asker<Q, A, F>(answer: impl Fn(Q) -> F + Send + 'static) -> Asker<Q, A>
where
    Q: Send + 'static,
    A: Send + 'static,
    F: Future<Output = A> + Send,
{
    let (questions, mut asked) = mpsc::unbounded_channel::<(Q, std::sync::mpsc::SyncSender<A>)>();
    tokio::spawn(async move {
        while let Some((question, reply)) = asked.recv().await {
            let _ = reply.send(answer(question).await);
        }
    });
    Asker(questions)
}

/// See [`asker`].
pub(crate) struct Asker<Q, A>(mpsc::UnboundedSender<(Q, std::sync::mpsc::SyncSender<A>)>);

impl<Q, A> Asker<Q, A> {
    /// The answer, or nothing when the runtime has ended. Must not be called from async code.
    pub(crate) fn ask(&self, question: Q) -> Option<A> {
        self.start(question)?.recv().ok()
    }

    /// Where the answer will come out.
    pub(crate) fn start(&self, question: Q) -> Option<std::sync::mpsc::Receiver<A>> {
        let (reply, answer) = std::sync::mpsc::sync_channel(1);
        self.0.send((question, reply)).ok()?;
        Some(answer)
    }
}
