//! A connection whose client waits for something to be there, and `WATCH`.

use std::io;
use std::time::Instant;

use bytes::Bytes;
use tokio::io::AsyncReadExt;

use super::blocking::{Wish, is_nothing};
use super::clients::Unblock;
use super::connection::{Connection, answer_of, closed};
use super::waiters::Waiter;
use crate::error::StoreError;
use crate::keyspace::VERSIONS;
use crate::limits::WAITER_RETRY_PAUSE;
use crate::reply::Reply;
use crate::store::Store;

/// What became of a try.
enum Tried {
    /// There was something, or the command is wrong.
    Answered(Reply),
    /// There was nothing.
    Nothing,
    /// It did not reach the log; nothing was changed.
    Later,
}

impl Connection {
    /// Waits until a wish is fulfilled, its time is over, the client leaves or somebody lets it
    /// go. The client's other commands stay unread meanwhile.
    pub(super) async fn block(&mut self, mut wish: Wish) -> io::Result<Reply> {
        let began = Instant::now();
        let deadline = wish.timeout.map(|timeout| began + timeout);
        let shared = self.session.shared.clone();
        // Registered before the first try: what comes in between is not missed.
        let Some(waiter) = shared.waiters.register(&wish.keys, !wish.reads) else {
            return Ok(Reply::error(
                "ERR too many clients are blocked on this node",
            ));
        };
        if let Some(refusal) = self.fix_ids(&mut wish).await? {
            return Ok(refusal);
        }
        let entry = self.session.entry.clone();
        // A client counts as blocked once its first try found nothing, as in Redis.
        let mut unblocked = None;
        let _let_go = LetGo(&entry);
        // Who stands behind others does not take what they wait for.
        let mut looks_first = waiter.stands_behind();
        let mut is_first = true;
        loop {
            let tried = if looks_first && !self.is_worth_trying(&wish)? {
                Tried::Nothing
            } else {
                self.attempt(&wish, is_first).await?
            };
            (looks_first, is_first) = (!wish.reads, false);
            let retry_at = match tried {
                Tried::Answered(reply) => return Ok(reply),
                // The entry that woke this client is applied here, at the leader not yet.
                Tried::Nothing if wish.reads && self.is_there_here(&wish)? => {
                    Some(Instant::now() + WAITER_RETRY_PAUSE)
                }
                Tried::Nothing => {
                    waiter.pass_on();
                    None
                }
                Tried::Later => Some(Instant::now() + WAITER_RETRY_PAUSE),
            };
            let unblocked = unblocked.get_or_insert_with(|| entry.begin_block());
            tokio::select! {
                biased;
                how = unblocked => return Ok(match how {
                    Ok(Unblock::Error) => {
                        Reply::error("UNBLOCKED client unblocked via CLIENT UNBLOCK")
                    }
                    _ => wish.nothing,
                }),
                () = at(deadline) => return Ok(wish.nothing),
                outcome = self.wait(&waiter) => outcome?,
                () = at(retry_at) => {}
            }
        }
    }

    /// Waits until a try is worth it; delivers messages meanwhile and notices a client that goes.
    async fn wait(&mut self, waiter: &Waiter) -> io::Result<()> {
        loop {
            tokio::select! {
                () = waiter.woken() => return Ok(()),
                read = self.stream.read_buf(&mut self.input) => {
                    if read? == 0 {
                        return Err(closed("the client left while it was blocked"));
                    }
                    self.check_input()?;
                }
                delivery = self.inbox.recv() => {
                    let delivery = delivery.ok_or_else(|| closed("the node is closing"))?;
                    self.deliver(delivery).await?;
                }
            }
        }
    }

    /// Only what this node's own state holds is worth an entry of the log.
    fn is_worth_trying(&self, wish: &Wish) -> io::Result<bool> {
        let store = self.store.upgrade();
        let store = store.ok_or_else(|| closed("the node is closing"))?;
        Ok(is_anything_there(&store, wish))
    }

    /// Whether this node's own state has what the leader's had not.
    fn is_there_here(&self, wish: &Wish) -> io::Result<bool> {
        let store = self.store.upgrade();
        let store = store.ok_or_else(|| closed("the node is closing"))?;
        let reply = store.read(&wish.command);
        Ok(!is_nothing(&reply) && !matches!(reply, Reply::Error(_)))
    }

    async fn attempt(&mut self, wish: &Wish, is_first: bool) -> io::Result<Tried> {
        let store = self
            .store
            .upgrade()
            .ok_or_else(|| closed("the node is closing"))?;
        let began = Instant::now();
        let outcome = if wish.reads {
            store.read_linearizable(wish.command.clone()).await
        } else {
            let mut outcomes = store.execute(vec![vec![wish.command.clone()]]).await;
            outcomes.pop().unwrap_or(Err(StoreError::Closed))
        };
        self.trace(&wish.command, began);
        Ok(match outcome {
            Ok(reply) if is_nothing(&reply) => Tried::Nothing,
            // A key of another kind may be one of the right kind later.
            Ok(reply) if !is_first && is_wrong_type(&reply) => Tried::Nothing,
            Ok(reply) => Tried::Answered(reply),
            Err(StoreError::Unavailable { .. } | StoreError::NotLeader { .. }) => Tried::Later,
            Err(StoreError::Overloaded { .. }) if !is_first => Tried::Later,
            Err(error) => Tried::Answered(answer_of(Err(error))?),
        })
    }

    /// Replaces "from now on" by the last id of each stream; the answer is an error.
    async fn fix_ids(&mut self, wish: &mut Wish) -> io::Result<Option<Reply>> {
        for (key, place) in wish.open_ids() {
            let store = self
                .store
                .upgrade()
                .ok_or_else(|| closed("the node is closing"))?;
            let question = vec![
                Bytes::from_static(b"XINFO"),
                Bytes::from_static(b"STREAM"),
                key,
            ];
            let told = match store.read_linearizable(question).await {
                Ok(told) => told,
                Err(error) => return answer_of(Err(error)).map(Some),
            };
            wish.command[place] = match told {
                Reply::Map(fields) => last_id(&fields),
                // No such key: everything that comes is new.
                Reply::Error(text) if text.contains("no such key") => Bytes::from_static(b"0-0"),
                other => return Ok(Some(other)),
            };
        }
        Ok(None)
    }

    /// Reads the versions of keys under the leader's lease.
    pub(super) async fn watch(&mut self, keys: Vec<Bytes>, store: &Store) -> io::Result<Reply> {
        let mut question = vec![Bytes::from_static(VERSIONS.as_bytes())];
        question.extend(keys.iter().cloned());
        let told = match store.read_linearizable(question).await {
            Ok(told) => told,
            Err(error) => return answer_of(Err(error)),
        };
        let Reply::Array(versions) = told else {
            return Ok(told);
        };
        let version = |reply| match reply {
            Reply::Int(version) => Bytes::from(version.to_string()),
            _ => Bytes::from_static(b"0"),
        };
        let pairs = keys.into_iter().zip(versions.into_iter().map(version));
        self.session.transaction.watch(pairs.collect());
        Ok(Reply::Ok)
    }
}

/// Ends the state of being blocked, however the waiting ends.
struct LetGo<'a>(&'a super::clients::ClientEntry);

impl Drop for LetGo<'_> {
    fn drop(&mut self) {
        self.0.end_block();
    }
}

fn is_wrong_type(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(text) if text.starts_with("WRONGTYPE"))
}

fn is_anything_there(store: &Store, wish: &Wish) -> bool {
    let mut question = vec![Bytes::from_static(b"EXISTS")];
    question.extend(wish.keys.iter().cloned());
    matches!(store.read(&question), Reply::Int(number) if number > 0)
}

fn last_id(fields: &[(Reply, Reply)]) -> Bytes {
    let name = Reply::text("last-generated-id");
    let found = fields.iter().find(|(field, _)| *field == name);
    match found {
        Some((_, Reply::Bulk(id))) => id.clone(),
        _ => Bytes::from_static(b"0-0"),
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
