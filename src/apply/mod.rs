//! Carries a plan out: each step when its needs are done, independent ones at the same time. Makes no
//! decision: what is done, to what and in which order stands in the plan. One failed step stops only
//! those that need it; outcomes are data.

mod back_up;
mod bucket;
mod capture;
mod copy;
mod destinations;
mod error;
mod export;
mod forget;
mod hands;
mod hooks;
mod initialize;
mod locks;
mod physical;
mod verify;
mod walk;

pub use error::StepError;
pub use hands::{Buckets, Hands, Secrets};
pub use locks::{IsGone, LockError, Locks};
pub use walk::{Monitor, Quiet, run};

use crate::plan::report::Done;
use crate::plan::{Action, Step};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Does one step. `what` the step is about was decided by the plan; this only takes the right tool.
fn perform<'a>(
    step: &'a Step,
    hands: &'a Hands,
    monitor: &'a Arc<dyn Monitor>,
) -> BoxFuture<'a, Result<Done, StepError>> {
    match &step.action {
        Action::Initialize { destination } => initialize::initialize(destination, hands).boxed(),
        Action::BackUp { .. } => back_up::back_up(step, hands, monitor).boxed(),
        Action::Copy {
            backup, from, to, ..
        } => copy::copy(step.id, backup, from, to, hands, monitor).boxed(),
        Action::Verify {
            component,
            backup,
            destination,
            check,
        } => verify::verify(component, backup, destination, check, hands).boxed(),
        Action::Forget {
            backup,
            destination,
            ..
        } => forget::forget(step, backup, destination, hands).boxed(),
        Action::Prune { destination, trash } => forget::prune(destination, *trash, hands).boxed(),
        Action::Configure {
            component,
            settings,
            ..
        } => bucket::configure(component, settings, hands).boxed(),
        Action::Inspect { component } => bucket::inspect(component, hands).boxed(),
        Action::Export { .. } => export::export(step, hands, monitor).boxed(),
    }
}
