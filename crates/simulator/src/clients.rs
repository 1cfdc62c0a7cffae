//! Clients of the simulated cluster and the record of what they saw.

use std::sync::Arc;

use parking_lot::Mutex;
use raftpbx_store::{Reply, StoreError};

use crate::dice::Dice;
use crate::history::{Action, Object, Operation, Shape, Told};
use crate::node::Node;
use crate::trace::SharedTrace;

/// Longest pause of a client between two requests, milliseconds.
const PAUSE_MS: u64 = 120;

/// A client gives up waiting after this long; the outcome is unknown then, milliseconds.
const PATIENCE_MS: u64 = 5_000;

struct Client {
    busy: Option<usize>,
    next_ms: u64,
}

type Answer = (usize, Result<Reply, StoreError>);

/// All clients of a run.
pub struct Clients {
    /// The objects they work on.
    pub objects: Vec<Object>,
    /// Everything they did.
    pub operations: Vec<Operation>,
    /// Replies that no correct store gives.
    pub absurd: Vec<String>,
    /// A defect: some requests reach the store twice.
    pub repeats: bool,
    clients: Vec<Client>,
    answers: Arc<Mutex<Vec<Answer>>>,
    dice: Dice,
    trace: SharedTrace,
    values: u64,
    sql_rows: u64,
}

fn objects() -> Vec<Object> {
    let shapes = [
        (Shape::Text, "text", 2),
        (Shape::Field, "field", 2),
        (Shape::Counter, "counter", 1),
        (Shape::FieldCounter, "sum", 1),
        (Shape::Queue, "queue", 1),
        (Shape::Expiring, "lease", 1),
    ];
    let named = shapes.into_iter().flat_map(|(shape, name, count)| {
        (1..=count).map(move |number| Object {
            key: format!("{name}{number}"),
            shape,
        })
    });
    named.collect()
}

impl Clients {
    /// Clients that have done nothing yet.
    pub fn new(count: usize, dice: Dice, trace: SharedTrace) -> Self {
        let client = |_| Client {
            busy: None,
            next_ms: 0,
        };
        Self {
            objects: objects(),
            operations: Vec::new(),
            absurd: Vec::new(),
            repeats: false,
            clients: (0..count).map(client).collect(),
            answers: Arc::default(),
            dice,
            trace,
            values: 0,
            sql_rows: 0,
        }
    }

    /// Takes answers, then lets idle clients ask. Between two steps of the world: what was
    /// answered by now has ended before what is asked now begins.
    pub fn act(&mut self, now_ms: u64, nodes: &[Node], asking: bool) {
        self.take_answers(now_ms);
        for client in 0..self.clients.len() {
            self.give_up(client, now_ms);
            let idle = self.clients[client].busy.is_none();
            if asking && idle && self.clients[client].next_ms <= now_ms {
                self.ask(client, now_ms, nodes);
            }
        }
    }

    /// Whether no client waits for an answer.
    pub fn are_idle(&self) -> bool {
        self.clients.iter().all(|client| client.busy.is_none())
    }

    /// The clients of a node that ended will never hear its answers.
    pub fn forget(&mut self, node: u64) {
        for client in &mut self.clients {
            let lost = client
                .busy
                .is_some_and(|number| self.operations[number].node == node);
            if lost {
                client.busy = None;
            }
        }
    }

    fn give_up(&mut self, client: usize, now_ms: u64) {
        let client = &mut self.clients[client];
        let waits = client.busy.map(|number| &self.operations[number]);
        if waits.is_some_and(|operation| operation.began + PATIENCE_MS <= now_ms) {
            client.busy = None;
        }
    }

    fn take_answers(&mut self, now_ms: u64) {
        let answers = std::mem::take(&mut *self.answers.lock());
        for (number, answer) in answers {
            for client in &mut self.clients {
                if client.busy == Some(number) {
                    client.busy = None;
                    client.next_ms = now_ms + self.dice.range(0, PAUSE_MS);
                }
            }
            self.record(number, &answer, now_ms);
        }
    }

    fn record(&mut self, number: usize, answer: &Result<Reply, StoreError>, now_ms: u64) {
        let operation = &mut self.operations[number];
        self.trace.lock().tell(
            &format!("client {}", operation.node),
            &format!("#{number} {answer:?}"),
        );
        let object = &self.objects[operation.object];
        match answer {
            Ok(reply) => match object.told(operation.action, reply) {
                Some(told) => {
                    operation.ended = Some(now_ms);
                    operation.told = Some(told);
                }
                None => {
                    let asked = format!("{:?} of {}", operation.action, object.key);
                    self.absurd.push(format!("#{number} {asked}: {reply:?}"));
                }
            },
            Err(StoreError::OutcomeUnknown | StoreError::Closed) => {}
            Err(_) => operation.refused = true,
        }
    }

    fn action(&mut self, shape: Shape) -> Action {
        self.values += 1;
        let value = self.values;
        let kind = self.dice.range(0, 99);
        match shape {
            Shape::Text => match kind {
                0..30 => Action::Read,
                30..55 => Action::Write(value),
                55..75 => Action::Swap(value),
                75..90 => Action::Claim(value),
                _ => Action::Remove,
            },
            Shape::Field => match kind {
                0..40 => Action::Read,
                40..75 => Action::Write(value),
                75..90 => Action::Claim(value),
                _ => Action::Remove,
            },
            Shape::Counter | Shape::FieldCounter if kind < 40 => Action::Read,
            Shape::Counter | Shape::FieldCounter => Action::Add(1),
            Shape::Queue if kind < 50 => Action::Push(value),
            Shape::Queue if kind < 90 => Action::Pop,
            Shape::Queue => Action::Read,
            Shape::Expiring if kind < 50 => Action::Read,
            Shape::Expiring if kind < 85 => Action::WriteFor(value, self.dice.range(20, 2_000)),
            Shape::Expiring => Action::Swap(value),
        }
    }

    fn ask(&mut self, client: usize, now_ms: u64, nodes: &[Node]) {
        let serving: Vec<_> = (0..nodes.len())
            .filter(|at| nodes[*at].is_serving())
            .collect();
        let Some(node) = self.dice.pick(&serving).map(|at| &nodes[at]) else {
            return;
        };
        if self.dice.chance(4) {
            self.write_row(node);
        }
        let object = usize::try_from(self.dice.bits() % self.objects.len() as u64).unwrap_or(0);
        let action = self.action(self.objects[object].shape);
        let number = self.operations.len();
        self.operations.push(Operation {
            object,
            action,
            node: node.id,
            began: now_ms,
            ended: None,
            told: None,
            refused: false,
        });
        self.clients[client].busy = Some(number);
        let key = &self.objects[object].key;
        self.trace.lock().tell(
            &format!("client {}", node.id),
            &format!("#{number} asks {action:?} of {key}"),
        );
        let command = self.objects[object].command(action);
        let answers = self.answers.clone();
        // A read may go through the log as well.
        if action == Action::Read && self.dice.chance(80) {
            let Some(store) = node.store().cloned() else {
                return;
            };
            node.spawn(async move {
                let reply = store.read_linearizable(command).await;
                answers.lock().push((number, reply));
            });
        } else {
            let repeated = self.repeats && self.dice.chance(10);
            node.enter(|store| {
                if repeated {
                    store.submit(vec![command.clone()], Box::new(|_| {}));
                }
                let done = move |reply| answers.lock().push((number, reply));
                store.submit(vec![command], Box::new(done));
            });
        }
    }

    /// A key and a row in one request: both or none.
    fn write_row(&mut self, node: &Node) {
        self.sql_rows += 1;
        let row = self.sql_rows.to_string();
        let words = |words: &[&str]| {
            let bytes = |word: &&str| bytes::Bytes::copy_from_slice(word.as_bytes());
            words.iter().map(bytes).collect::<Vec<_>>()
        };
        let insert = format!("INSERT INTO rows (number) VALUES ({row})");
        let create = "CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY)";
        let request = vec![
            words(&["SQL.MIGRATE", "1", create]),
            words(&["SQL.EXEC", &insert]),
            words(&["HSET", "rows", &row, "1"]),
        ];
        node.enter(|store| store.submit(request, Box::new(|_| {})));
    }

    /// What an object's last answers were, for the report of a violation.
    pub fn story_of(&self, object: usize) -> String {
        let mut story = String::new();
        for (number, operation) in self.operations.iter().enumerate() {
            if operation.object == object && !operation.refused {
                let ended = operation.ended.map_or("?".into(), |at| at.to_string());
                let told = operation.told.unwrap_or(Told::Done);
                let told = operation.ended.map_or("?".into(), |_| format!("{told:?}"));
                story.push_str(&format!(
                    "\n  #{number} node {} {}..{ended} {:?} -> {told}",
                    operation.node, operation.began, operation.action
                ));
            }
        }
        story
    }
}
