//! Nodes of a [`super::Tree`]: how they grow, split, shrink and merge.

use std::sync::Arc;

use super::{Item, Steer};

/// Items of one leaf and children of one branch: copying a shared one takes about a microsecond.
const WIDTH_MAX: usize = 64;

/// Room a leaf grows by: doubling would leave a third of a large keyspace's memory empty.
const WIDTH_STEP: usize = 8;

/// A node narrower than this looks for a neighbour it can join.
const WIDTH_SMALL: usize = WIDTH_MAX / 4;

/// Joined nodes are at most this wide, so that the next insertion does not split them again.
const WIDTH_JOINED: usize = WIDTH_MAX * 3 / 4;

/// See the module head of [`super`].
#[derive(Debug, Clone)]
pub enum Node<T: Item> {
    /// Items in order.
    Leaf(Vec<T>),
    /// Nodes in order.
    Branch(Vec<Child<T>>),
}

/// A node below a branch.
#[derive(Debug, Clone)]
pub struct Child<T: Item> {
    /// No item of this child is below it, unless this is the first child.
    pub bound: T::Bound,
    /// Items below this child.
    pub len: usize,
    /// The child.
    pub node: Arc<Node<T>>,
}

/// What an insertion did to a node.
pub enum Growth<T: Item> {
    /// It replaced an item.
    None,
    /// It has one item more.
    One,
    /// It has one item more and this is its right part.
    Split(Child<T>),
}

impl<T: Item> Node<T> {
    fn width(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Branch(children) => children.len(),
        }
    }
}

/// The child that holds the place `at` (the last one when it is behind the end), and the place
/// within it.
pub fn within<T: Item>(children: &[Child<T>], mut at: usize) -> (usize, usize) {
    let last = children.len() - 1;
    for (index, child) in children[..last].iter().enumerate() {
        if at < child.len {
            return (index, at);
        }
        at -= child.len;
    }
    (last, at)
}

/// Changes an item or inserts one below a node; see [`super::Tree::upsert`].
pub fn place<T: Item, R>(
    node: &mut Arc<Node<T>>,
    steer: &mut impl Steer<T>,
    visit: impl FnOnce(Option<&mut T>) -> (Option<T>, R),
) -> (R, Growth<T>) {
    match Arc::make_mut(node) {
        Node::Leaf(items) => match steer.land(items) {
            Ok(at) => (visit(Some(&mut items[at])).1, Growth::None),
            Err(at) => match visit(None) {
                (Some(item), answer) => (answer, add_item(items, at, item)),
                (None, answer) => (answer, Growth::None),
            },
        },
        Node::Branch(children) => {
            let at = steer.down(children);
            let (answer, growth) = place(&mut children[at].node, steer, visit);
            let growth = match growth {
                Growth::None => Growth::None,
                Growth::One => {
                    children[at].len += 1;
                    Growth::One
                }
                Growth::Split(right) => {
                    children[at].len = children[at].len + 1 - right.len;
                    add_child(children, at + 1, right)
                }
            };
            (answer, growth)
        }
    }
}

/// Splits a full row so that `item` fits at `at`; answers the right part. Rows that grow at one
/// end are cut there: what lies behind stays full.
fn split<E>(row: &mut Vec<E>, at: usize, item: E) -> Vec<E> {
    if at == row.len() {
        return vec![item];
    }
    if at == 0 {
        return std::mem::replace(row, vec![item]);
    }
    let half = row.len() / 2;
    let mut right = row.split_off(half);
    if at <= half {
        row.insert(at, item);
    } else {
        right.insert(at - half, item);
    }
    right
}

fn add_item<T: Item>(items: &mut Vec<T>, at: usize, item: T) -> Growth<T> {
    if items.len() < WIDTH_MAX {
        if items.len() == items.capacity() {
            items.reserve_exact(WIDTH_STEP);
        }
        items.insert(at, item);
        return Growth::One;
    }
    let right = split(items, at, item);
    items.shrink_to(items.len() + WIDTH_STEP);
    Growth::Split(Child {
        bound: right[0].bound(),
        len: right.len(),
        node: Arc::new(Node::Leaf(right)),
    })
}

fn add_child<T: Item>(children: &mut Vec<Child<T>>, at: usize, child: Child<T>) -> Growth<T> {
    if children.len() < WIDTH_MAX {
        children.insert(at, child);
        return Growth::One;
    }
    let right = split(children, at, child);
    Growth::Split(Child {
        bound: right[0].bound.clone(),
        len: right.iter().map(|child| child.len).sum(),
        node: Arc::new(Node::Branch(right)),
    })
}

/// Puts a branch above a root that was split; `total` items are in both parts.
pub fn raise<T: Item>(root: &mut Arc<Node<T>>, total: usize, right: Child<T>) {
    let left = Child {
        // Never relied upon: it is the first child.
        bound: right.bound.clone(),
        len: total - right.len,
        node: root.clone(),
    };
    *root = Arc::new(Node::Branch(vec![left, right]));
}

/// Removes an item below a node.
pub fn take<T: Item>(node: &mut Arc<Node<T>>, steer: &mut impl Steer<T>) -> Option<T> {
    match Arc::make_mut(node) {
        Node::Leaf(items) => {
            let at = steer.land(items).ok()?;
            Some(items.remove(at))
        }
        Node::Branch(children) => {
            let at = steer.down(children);
            let item = take(&mut children[at].node, steer)?;
            children[at].len -= 1;
            if children[at].len == 0 && children.len() > 1 {
                children.remove(at);
            } else if children[at].node.width() < WIDTH_SMALL {
                join_neighbour(children, at);
            }
            Some(item)
        }
    }
}

fn join_neighbour<T: Item>(children: &mut Vec<Child<T>>, at: usize) {
    let fits = |left: usize| {
        let (left, right) = (children.get(left), children.get(left + 1));
        left.zip(right)
            .is_some_and(|(left, right)| left.node.width() + right.node.width() <= WIDTH_JOINED)
    };
    let left = if fits(at) {
        at
    } else if at > 0 && fits(at - 1) {
        at - 1
    } else {
        return;
    };
    let right = children.remove(left + 1);
    let left = &mut children[left];
    left.len += right.len;
    match (
        Arc::make_mut(&mut left.node),
        Arc::unwrap_or_clone(right.node),
    ) {
        (Node::Leaf(items), Node::Leaf(more)) => items.extend(more),
        (Node::Branch(nodes), Node::Branch(mut more)) => {
            // From now on it is not a first child: its bound must hold.
            more[0].bound = right.bound;
            nodes.extend(more);
        }
        _ => unreachable!("all leaves are equally deep"),
    }
}
