//! Puts steps in an order in which each comes after what it needs, the same order for the same steps. It never
//! decides what is done.

use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use petgraph::{Direction, algo};
use std::collections::BTreeSet;

/// Steps that wait for each other in a circle. Only `after` in a plan file can say so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("these components wait for each other: {}", members.join(", "))]
pub struct Cycle {
    /// Names of the components, sorted.
    pub members: Vec<String>,
}

/// The indexes of `keys` in an order that respects `needs` (by index), smallest key first among those that are
/// free to go: Kahn's walk with an ordered frontier. `name` gives a node its name in a [`Cycle`].
pub fn order<K: Ord>(
    keys: &[K],
    needs: &[Vec<usize>],
    name: impl Fn(usize) -> String,
) -> Result<Vec<usize>, Cycle> {
    debug_assert_eq!(keys.len(), needs.len());
    let graph = graph(needs);
    let mut waits_for: Vec<usize> = graph
        .node_indices()
        .map(|node| graph.edges_directed(node, Direction::Incoming).count())
        .collect();
    let mut frontier: BTreeSet<(&K, usize)> = (0..keys.len())
        .filter(|i| waits_for[*i] == 0)
        .map(|i| (&keys[i], i))
        .collect();
    let mut ordered = Vec::with_capacity(keys.len());
    while let Some((_, i)) = frontier.pop_first() {
        ordered.push(i);
        for edge in graph.edges(NodeIndex::new(i)) {
            let next = edge.target().index();
            waits_for[next] -= 1;
            if waits_for[next] == 0 {
                frontier.insert((&keys[next], next));
            }
        }
    }
    if ordered.len() == keys.len() {
        Ok(ordered)
    } else {
        Err(cycle(&graph, name))
    }
}

/// An edge from each step to those that need it.
fn graph(needs: &[Vec<usize>]) -> DiGraph<(), ()> {
    let mut graph = DiGraph::with_capacity(needs.len(), needs.iter().map(Vec::len).sum());
    for _ in needs {
        graph.add_node(());
    }
    for (i, needed) in needs.iter().enumerate() {
        for need in needed {
            graph.add_edge(NodeIndex::new(*need), NodeIndex::new(i), ());
        }
    }
    graph
}

fn cycle(graph: &DiGraph<(), ()>, name: impl Fn(usize) -> String) -> Cycle {
    let circles = algo::tarjan_scc(graph).into_iter().filter(|members| {
        members.len() > 1 || members.iter().any(|m| graph.find_edge(*m, *m).is_some())
    });
    let members: BTreeSet<String> = circles.flatten().map(|node| name(node.index())).collect();
    Cycle {
        members: members.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Cycle, order};

    #[test]
    fn the_smallest_free_step_goes_first() {
        let keys = [3, 1, 2, 0];
        let needs = [vec![], vec![0], vec![], vec![2]];
        let ordered = order(&keys, &needs, |i| i.to_string());
        assert_eq!(ordered, Ok(vec![2, 3, 0, 1]));
    }

    #[test]
    fn a_circle_names_its_members_and_nobody_else() {
        let needs = [vec![1], vec![0], vec![0], vec![]];
        let circle = Cycle {
            members: vec!["0".into(), "1".into()],
        };
        assert_eq!(order(&[0; 4], &needs, |i| i.to_string()), Err(circle));
    }
}
