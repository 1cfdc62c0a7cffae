//! SIP over a byte stream, TCP or TLS: messages framed by Content-Length, CRLF keep-alives.
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::shell::{Outflow, Seat, Shared};
use crate::engine::Input;
use crate::limits::{FIRST_MESSAGE_TIMEOUT, IDLE_TIMEOUT, MESSAGE_TIMEOUT, WRITE_TIMEOUT};
use crate::message::{Frame, Framer};
use crate::transport::tls::Wire;

/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;

/// Until the peer, or the core, or a limit ends it.
pub(super) async fn serve(
    shared: &Shared,
    seat: &Seat,
    wire: Box<dyn Wire>,
    outflow: Outflow,
) -> io::Result<()> {
    let (read_half, write_half) = tokio::io::split(wire);
    let (pongs, pong_flow) = mpsc::channel(1);
    tokio::select! {
        result = read(shared, seat, read_half, pongs) => result,
        result = write(write_half, outflow, pong_flow) => result,
    }
}

/// How long the next bytes may take.
struct Patience {
    /// A message has come.
    greeted: bool,
    /// When the present message must be there.
    due: Option<Instant>,
    /// When the first one must be there.
    first: Instant,
}

impl Patience {
    fn deadline(&self) -> Instant {
        let due = self.due.unwrap_or_else(|| Instant::now() + IDLE_TIMEOUT);
        if self.greeted {
            due
        } else {
            due.min(self.first)
        }
    }

    /// A message that is not whole keeps the deadline it began with.
    fn note(&mut self, whole: bool, waiting: bool) {
        self.greeted |= whole;
        self.due = match self.due.filter(|_| !whole) {
            _ if !waiting => None,
            Some(due) => Some(due),
            None => Some(Instant::now() + MESSAGE_TIMEOUT),
        };
    }
}

async fn read(
    shared: &Shared,
    seat: &Seat,
    mut stream: ReadHalf<Box<dyn Wire>>,
    pongs: mpsc::Sender<()>,
) -> io::Result<()> {
    let mut framer = Framer::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut patience = Patience {
        greeted: !seat.accepted,
        due: None,
        first: Instant::now() + FIRST_MESSAGE_TIMEOUT,
    };
    loop {
        let count = timeout_at(patience.deadline(), stream.read(&mut buffer)).await??;
        if count == 0 {
            return Ok(());
        }
        framer.push(&buffer[..count]);
        let whole = take(shared, seat, &mut framer, &pongs)?;
        patience.note(whole, framer.is_waiting());
    }
}

/// Everything that is complete; whether there was a message.
fn take(
    shared: &Shared,
    seat: &Seat,
    framer: &mut Framer,
    pongs: &mpsc::Sender<()>,
) -> io::Result<bool> {
    let mut shell = shared.borrow_mut();
    let mut whole = false;
    let result = loop {
        match framer.next_frame() {
            Ok(Some(Frame::Message(bytes))) => {
                whole = true;
                shell.feed(Input::Received {
                    flow: seat.flow,
                    bytes: &bytes,
                });
            }
            Ok(Some(Frame::Ping)) => {
                // One pong answers any number of pings that came together.
                let _ = pongs.try_send(());
            }
            Ok(None) => break Ok(whole),
            Err(error) => break Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    };
    shell.finish();
    result
}

/// Ends when the outlet is gone and everything is written.
async fn write(
    mut stream: WriteHalf<Box<dyn Wire>>,
    mut outflow: Outflow,
    mut pongs: mpsc::Receiver<()>,
) -> io::Result<()> {
    loop {
        let bytes = tokio::select! {
            bytes = outflow.next() => bytes,
            Some(()) = pongs.recv() => Some(b"\r\n".to_vec()),
        };
        let Some(bytes) = bytes else {
            return timeout(WRITE_TIMEOUT, stream.shutdown()).await?;
        };
        let written = async {
            stream.write_all(&bytes).await?;
            // TLS may hold back the end of what was written.
            stream.flush().await
        };
        timeout(WRITE_TIMEOUT, written).await??;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_the_deadline_it_began_with() {
        let mut patience = Patience {
            greeted: true,
            due: None,
            first: Instant::now(),
        };
        patience.note(false, true);
        let due = patience.due.expect("a message has begun");
        patience.note(false, true);
        assert_eq!(patience.deadline(), due);
        patience.note(true, true);
        assert!(patience.deadline() >= due);
        patience.note(true, false);
        assert_eq!(patience.due, None);
    }

    #[test]
    fn nobody_keeps_a_connection_without_ever_sending_a_message() {
        let first = Instant::now();
        let mut patience = Patience {
            greeted: false,
            due: None,
            first,
        };
        patience.note(false, true);
        assert_eq!(patience.deadline(), first);
        patience.note(true, false);
        assert!(patience.deadline() > first);
    }
}
