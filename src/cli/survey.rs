//! What the commands that only look need: the plan file, what the destinations hold, and what was decided of
//! it. Reads; writes nothing.

use crate::cli::exit::{Exit, Trouble};
use crate::cli::places;
use crate::cli::world::{self, Commands};
use crate::cli::{Context, input, output, plan as planning};
use crate::model::inventory::Inventory;
use crate::model::strategy::Strategy;
use crate::model::units::AsOf;
use crate::plan::{self, Plan, Request};
use crate::plan_file::UnsetEnv;
use jiff::Timestamp;

/// A plan file, what there is, and the plan made of both.
pub struct Survey {
    /// What is asked for.
    pub strategy: Strategy,
    /// What exists.
    pub inventory: Inventory,
    /// What would be done, without what the rules say of it.
    pub plan: Plan,
}

impl Survey {
    /// Looks at every destination, and plans for `at`, or for now.
    pub async fn make(
        file: &str,
        at: Option<Timestamp>,
        context: &Context,
    ) -> Result<Self, Trouble> {
        let variables = &context.global.variables;
        let strategy = input::strategy(file, variables, UnsetEnv::Warn, &context.terminal)?;
        let places = places::open_all(&strategy, Commands::Run).await?;
        let inventory = planning::observe_all(&strategy, &places).await;
        let at = AsOf(at.unwrap_or_else(world::now));
        let plan = plan::plan(&strategy, &inventory, at, &Request::default());
        let plan = plan.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
        Ok(Self {
            strategy,
            inventory,
            plan,
        })
    }

    /// Says which destinations were not seen completely; fails when there is nothing to look at.
    pub fn warn_of_unseen(&self) -> Result<(), Trouble> {
        let unseen = self.plan.unseen.iter();
        let unseen: Vec<String> = unseen
            .map(|(name, why)| format!("destination.{name}: {why}"))
            .collect();
        let holdings = &self.inventory.destinations;
        if holdings
            .values()
            .all(|holding| holding.repository.is_none())
        {
            let words = match unseen.is_empty() {
                true => NOTHING_YET.to_owned(),
                false => unseen.join("; "),
            };
            return Err(Trouble::new(Exit::Absent, words));
        }
        for words in unseen {
            output::say(&format!("Warning: {words}"));
        }
        Ok(())
    }
}

/// What there is to say where no backup was ever made.
pub const NOTHING_YET: &str =
    "there is no repository at any destination yet; `ccb apply` makes the first backup";
