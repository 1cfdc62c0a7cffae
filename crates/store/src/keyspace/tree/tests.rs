//! The tree against the standard library's collections.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::node::Node;
use super::*;

#[derive(Debug, Clone, PartialEq)]
struct Pair(u32, u32);

impl Item for Pair {
    type Bound = u32;

    fn bound(&self) -> u32 {
        self.0
    }
}

struct Key(u32);

impl Probe<Pair> for Key {
    fn item(&self, item: &Pair) -> Ordering {
        item.0.cmp(&self.0)
    }

    fn bound(&self, bound: &u32) -> Ordering {
        bound.cmp(&self.0)
    }
}

fn set(tree: &mut Tree<Pair>, key: u32, value: u32) -> Option<u32> {
    tree.upsert(&Key(key), |found| match found {
        Some(pair) => (None, Some(std::mem::replace(&mut pair.1, value))),
        None => (Some(Pair(key, value)), None),
    })
}

/// Checks the counts and the order of everything below a node; answers its depth.
fn check(node: &Arc<Node<Pair>>, len: usize) -> usize {
    match &**node {
        Node::Leaf(items) => {
            assert_eq!(items.len(), len);
            assert!(items.windows(2).all(|pair| pair[0].0 < pair[1].0));
            0
        }
        Node::Branch(children) => {
            assert_eq!(children.iter().map(|child| child.len).sum::<usize>(), len);
            assert!(children.iter().all(|child| child.len > 0));
            let depths: Vec<_> = children
                .iter()
                .map(|child| check(&child.node, child.len))
                .collect();
            assert!(depths.windows(2).all(|pair| pair[0] == pair[1]));
            depths[0] + 1
        }
    }
}

proptest! {
    #[test]
    fn an_ordered_tree_behaves_like_a_map(
        steps in prop::collection::vec((0u8..5, 0u32..3_000, any::<u32>()), 1..200),
        runs in prop::collection::vec((0u32..3_000, 1u32..900, any::<bool>()), 1..8),
    ) {
        let (mut model, mut tree) = (BTreeMap::new(), Tree::default());
        for (start, many, insert) in runs {
            for key in start..start + many {
                if insert {
                    prop_assert_eq!(set(&mut tree, key, start), model.insert(key, start));
                } else {
                    let removed = tree.remove(&Key(key)).map(|pair| pair.1);
                    prop_assert_eq!(removed, model.remove(&key));
                }
            }
            let frozen = tree.clone();
            let before: Vec<_> = model.iter().map(|(key, value)| Pair(*key, *value)).collect();
            for (kind, key, value) in &steps {
                match kind {
                    0..3 => {
                        let old = set(&mut tree, *key, *value);
                        prop_assert_eq!(old, model.insert(*key, *value));
                    }
                    _ => {
                        let removed = tree.remove(&Key(*key)).map(|pair| pair.1);
                        prop_assert_eq!(removed, model.remove(key));
                    }
                }
            }
            prop_assert!(frozen.iter().eq(before.iter()), "a clone keeps what it saw");
        }
        check(&tree.root, tree.len());
        prop_assert_eq!(tree.len(), model.len());
        let flat: Vec<_> = model.iter().map(|(key, value)| Pair(*key, *value)).collect();
        prop_assert!(tree.iter().eq(flat.iter()));
        prop_assert!(tree.iter().rev().eq(flat.iter().rev()));
        for key in [0, 1, 1_500, 2_999, 5_000] {
            prop_assert_eq!(tree.rank(&Key(key)), model.range(..key).count());
            prop_assert!(tree.from(&Key(key)).eq(flat.iter().filter(|pair| pair.0 >= key)));
            prop_assert_eq!(tree.get(&Key(key)).map(|pair| pair.1), model.get(&key).copied());
        }
    }

    #[test]
    fn a_tree_of_places_behaves_like_a_vector(
        steps in prop::collection::vec((0u8..6, 0usize..500, 1u32..150), 1..40)
    ) {
        let (mut model, mut tree) = (Vec::new(), Tree::default());
        for (kind, at, many) in steps {
            for number in 0..many {
                let pair = Pair(number, number);
                match kind {
                    0 => { model.push(pair.clone()); tree.push(pair); }
                    1 => { model.insert(0, pair.clone()); tree.insert_at(0, pair); }
                    2 => {
                        model.insert(at.min(model.len()), pair.clone());
                        tree.insert_at(at, pair);
                    }
                    _ => {
                        let at = match kind { 3 => 0, 4 => model.len().saturating_sub(1), _ => at };
                        let expected = (at < model.len()).then(|| model.remove(at));
                        prop_assert_eq!(tree.remove_at(at), expected);
                    }
                }
            }
            prop_assert_eq!(tree.nth(at), model.get(at));
            let (start, end) = (at.min(model.len()), (at + 60).min(model.len()));
            prop_assert!(tree.range(start, end).eq(model[start..end].iter()));
            prop_assert!(tree.range(start, end).rev().eq(model[start..end].iter().rev()));
        }
        prop_assert!(tree.iter().eq(model.iter()));
        let (start, end) = (model.len() / 5, model.len() / 2);
        tree.keep(start, end);
        prop_assert!(tree.iter().eq(model[start..end].iter()));
    }
}

#[test]
fn a_change_of_a_large_clone_copies_one_path() {
    let tree: Tree<Pair> = (0..100_000).map(|number| Pair(number, 0)).collect();
    let mut changed = tree.clone();
    changed.insert_at(0, Pair(0, 1));
    let (Node::Branch(old), Node::Branch(new)) = (&*tree.root, &*changed.root) else {
        panic!("not a branch")
    };
    let shared = old.iter().filter(|child| {
        new.iter()
            .any(|other| Arc::ptr_eq(&child.node, &other.node))
    });
    assert!(shared.count() >= old.len() - 1);
}
