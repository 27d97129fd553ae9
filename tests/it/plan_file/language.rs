//! What plan files mean: the committed plans, templates, variables, interpolation.

use crate::plan_file::support::{parse_committed, report};
use ccb::model::strategy::Strategy;

fn strategy(path: &str) -> Strategy {
    match parse_committed(path) {
        Ok(parsed) => {
            assert_eq!(parsed.warnings.len(), 0, "{path}: {:?}", parsed.warnings);
            parsed.strategy
        }
        Err(error) => panic!("{}", report(&error)),
    }
}

#[test]
fn the_committed_plans_parse_without_a_warning() {
    for (path, components) in [
        ("plans/production.kdl", 4),
        ("plans/staging.kdl", 3),
        ("plans/development.kdl", 3),
        ("plans/quickstart.kdl", 1),
    ] {
        assert_eq!(strategy(path).components.len(), components, "{path}");
    }
}
