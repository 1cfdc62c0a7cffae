//! How the answer of the log becomes the reply of a command.

use bytes::Bytes;

use super::pubsub::PubSub;
use crate::reply::Reply;

/// What is done with an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Shape {
    /// Nothing.
    #[default]
    Same,
    /// `PUBLISH`: how many clients of this node heard it (the log does not know).
    Heard(Bytes),
    /// `EXEC` of several commands: the parts in order.
    Transaction(Vec<Part>),
    /// `EXEC` of one command, which the log answers as such.
    Single(Vec<Part>),
}

/// One command of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Answered by the log.
    Logged(Shape),
    /// Answered here.
    Known(Reply),
}

impl Shape {
    /// Turns an answer into the reply.
    pub fn finish(self, reply: Reply, pubsub: &PubSub) -> Reply {
        match (self, reply) {
            (Shape::Heard(channel), Reply::Int(_)) => {
                Reply::Int(i64::try_from(pubsub.hearers(&channel)).unwrap_or(i64::MAX))
            }
            (Shape::Transaction(parts), Reply::Array(answers)) => assemble(parts, answers, pubsub),
            // A watched key has changed.
            (Shape::Transaction(_), Reply::Nil) => Reply::NilArray,
            (Shape::Single(parts), answer) => assemble(parts, vec![answer], pubsub),
            (_, reply) => reply,
        }
    }
}

fn assemble(parts: Vec<Part>, answers: Vec<Reply>, pubsub: &PubSub) -> Reply {
    let mut answers = answers.into_iter();
    let reply_of = |part| match part {
        Part::Known(reply) => reply,
        Part::Logged(shape) => match answers.next() {
            Some(answer) => shape.finish(answer, pubsub),
            None => Reply::error("ERR the log answered too little"),
        },
    };
    Reply::Array(parts.into_iter().map(reply_of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_has_its_parts_in_order() {
        let pubsub = PubSub::default();
        let parts = vec![
            Part::Logged(Shape::Same),
            Part::Known(Reply::text("here")),
            Part::Logged(Shape::Heard(Bytes::from_static(b"news"))),
        ];
        let answer = Reply::Array(vec![Reply::Int(7), Reply::Int(99)]);
        let expected = Reply::Array(vec![Reply::Int(7), Reply::text("here"), Reply::Int(0)]);
        let shape = Shape::Transaction(parts.clone());
        assert_eq!(shape.finish(answer, &pubsub), expected);
        let gone = Shape::Transaction(parts).finish(Reply::Nil, &pubsub);
        assert_eq!(gone, Reply::NilArray);
        let single = Shape::Single(vec![Part::Logged(Shape::Same)]);
        let value = Reply::Array(vec![Reply::Int(1)]);
        assert_eq!(
            single.finish(value.clone(), &pubsub),
            Reply::Array(vec![value])
        );
    }
}
