//! The pool for CPU work, of one thread that works when it is told to: so it is known when there is nothing to
//! do, and blobs get into packs in the same order each time. A pool of its own would look for work for a while
//! before it sleeps, which on a busy machine takes as long as a schedule.

use crate::repository::simulation::calm::own_number;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// The pool of this process.
pub(super) struct Pool {
    /// The number of its thread.
    pub(super) number: u32,
    state: Mutex<State>,
}

struct State {
    work: SyncSender<()>,
    /// How many jobs were done, each time that it worked.
    done: Receiver<u64>,
    is_at_work: bool,
}

impl Pool {
    /// There is one for all schedules of a process, and nothing has used another one before.
    pub(super) fn of_this_process() -> &'static Self {
        static POOL: OnceLock<Pool> = OnceLock::new();
        POOL.get_or_init(Self::start)
    }

    fn start() -> Self {
        let (work, told) = sync_channel::<()>(1);
        let (tell, done) = sync_channel(1);
        let (tell_number, number) = sync_channel(1);
        std::thread::spawn(move || {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
            pool.use_current_thread().build_global().unwrap();
            tell_number.send(own_number()).unwrap();
            while told.recv().is_ok() {
                let jobs = std::iter::from_fn(rayon::yield_now);
                let jobs = jobs.take_while(|job| *job == rayon::Yield::Executed);
                let _ = tell.send(jobs.count() as u64);
            }
        });
        Self {
            number: number.recv().unwrap(),
            state: Mutex::new(State {
                work,
                done,
                is_at_work: false,
            }),
        }
    }

    /// Lets it do what there is to do. `is_asleep` tells whether it waits for something.
    pub(super) fn works(&self, is_asleep: impl Fn(u32) -> bool) -> Worked {
        let mut state = self.state.lock().unwrap();
        if !state.is_at_work {
            state.work.send(()).unwrap();
            state.is_at_work = true;
        }
        loop {
            match state.done.recv_timeout(Duration::from_micros(300)) {
                Ok(jobs) => {
                    state.is_at_work = false;
                    return match jobs {
                        0 => Worked::NothingToDo,
                        _ => Worked::Jobs,
                    };
                }
                Err(RecvTimeoutError::Timeout) if !is_asleep(self.number) => {}
                Err(_) => return Worked::Waits,
            }
        }
    }
}

/// What came of letting it work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worked {
    NothingToDo,
    Jobs,
    /// Perhaps for an upload that others have to let through.
    Waits,
}
