//! The rooms of a worker: their clock, and the way between them and the flows of their parties.
//!
//! All parties of a room have their flows at its worker, so that no lock is shared. A room runs
//! while somebody is in it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use parking_lot::MutexGuard;

use super::{FlowKey, Table, Worker, legs, pass_by, relay, send_from};
use crate::audio::seat::Seat;
use crate::epoll::monotonic_ns;
use crate::flow::{Flow, Verdict};
use crate::limits::ROOM_BEHIND_MS_MAX;
use crate::mix::FRAME_MS;
use crate::mix::party::{Place, Who, Wishes};
use crate::mix::room::{Floor, Heard, Room};
use crate::mix::writer::Form;
use crate::packet_io::{Exchange, Sent};
use crate::ports::Door;
use crate::{MediaEvent, RoomStats};

const FRAME_NS: u64 = FRAME_MS as u64 * 1_000_000;

/// A room and its clock.
struct Running {
    room: Box<Room>,
    /// When its next frame is due, `CLOCK_MONOTONIC` ns; none while nobody is in it.
    due_ns: Option<u64>,
}

/// The rooms of a worker.
#[derive(Default)]
pub struct Rooms {
    list: Vec<Running>,
    /// Frames left out because the thread was too slow.
    late: u64,
    /// Frames encoded by rooms that are gone.
    encoded: u64,
    /// A test wants the next frame to panic.
    pub(super) doomed: bool,
}

impl Rooms {
    /// The room with this number.
    pub fn get(&self, id: u64) -> Option<&Room> {
        let running = self.list.iter().find(|running| running.room.id == id)?;
        Some(&running.room)
    }

    /// The room with this number, to be changed.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Room> {
        let running = self.list.iter_mut().find(|running| running.room.id == id)?;
        Some(&mut running.room)
    }

    /// Ends all rooms; who was in which.
    pub fn clear(&mut self) -> Vec<(Arc<str>, Who)> {
        let rooms = std::mem::take(&mut self.list);
        let parties = rooms.into_iter().flat_map(|running| {
            let Room { name, parties, .. } = *running.room;
            parties
                .into_iter()
                .map(move |party| (Arc::clone(&name), party.who))
        });
        parties.collect()
    }

    /// Begins a room.
    pub fn open(&mut self, room: Room) {
        let (room, due_ns) = (Box::new(room), None);
        self.list.push(Running { room, due_ns });
    }

    /// Adds what is here to the figures of all rooms.
    pub fn count(&self, stats: &mut RoomStats) {
        stats.rooms += self.list.len() as u64;
        stats.parties += self.parties() as u64;
        (stats.late, stats.encoded) = (stats.late + self.late, stats.encoded + self.encoded);
        for running in &self.list {
            let (shared, encoded) = running.room.shared();
            stats.shared += shared as u64;
            stats.encoded += encoded;
        }
    }

    /// Parties of all rooms.
    pub fn parties(&self) -> usize {
        self.list
            .iter()
            .map(|running| running.room.parties.len())
            .sum()
    }

    /// When the next room wants a frame, `CLOCK_MONOTONIC` ns.
    pub fn due_ns(&self) -> Option<u64> {
        self.list.iter().filter_map(|running| running.due_ns).min()
    }
}

impl Table {
    /// A party takes a place in a room; false when there is no such room or flow.
    pub fn enter(&mut self, id: u64, who: Who, place: Place, wishes: Wishes, since_s: u64) -> bool {
        let list = &mut self.rooms.list;
        let Some(at) = list.iter().position(|running| running.room.id == id) else {
            return false;
        };
        let rate_hz = list[at].room.settings.rate_hz;
        let Some(flow) = self.get_mut(place.key) else {
            return false;
        };
        flow.sit(place.side, Seat::new(id, rate_hz, wishes.speaks()));
        let running = &mut self.rooms.list[at];
        running.room.enter(who, place, wishes, since_s);
        running.due_ns.get_or_insert_with(monotonic_ns);
        true
    }

    /// What is asked for a party has changed; false when there is no such party.
    pub fn wish(&mut self, id: u64, who: &Who, wishes: Wishes) -> bool {
        let Some(room) = self.rooms.get_mut(id) else {
            return false;
        };
        let Some(at) = room.find(who) else {
            return false;
        };
        let (rate_hz, party) = (room.settings.rate_hz, &mut room.parties[at]);
        let (place, speaks) = (party.place, wishes.speaks());
        if party.wishes.speaks() != speaks {
            party.meter.forget();
        }
        party.wishes = wishes;
        if let Some(seat) = self
            .get_mut(place.key)
            .and_then(|flow| flow.seat(place.side))
        {
            seat.listen(rate_hz, speaks);
        }
        true
    }

    /// A party leaves a room; false when it is not there.
    pub fn leave(&mut self, id: u64, who: &Who) -> bool {
        let place = self.rooms.get_mut(id).and_then(|room| room.leave(who));
        if let Some(flow) = place.and_then(|place| self.get_mut(place.key)) {
            flow.stand_up(place.map_or(0, |place| place.side));
        }
        place.is_some()
    }

    /// Ends a room; who was in it.
    pub fn close(&mut self, id: u64) -> Vec<Who> {
        let list = &mut self.rooms.list;
        let Some(at) = list.iter().position(|running| running.room.id == id) else {
            return Vec::new();
        };
        let room = list.swap_remove(at).room;
        self.rooms.encoded += room.shared().1;
        for party in &room.parties {
            if let Some(flow) = self.get_mut(party.place.key) {
                flow.stand_up(party.place.side);
            }
        }
        room.parties.into_iter().map(|party| party.who).collect()
    }

    /// Runs what is due in all rooms; lets others at the table between two of them.
    pub(super) fn run_rooms(
        table: &mut MutexGuard<'_, Table>,
        io: &mut Exchange,
        buffer: &mut [u8],
        happened: &mut Vec<MediaEvent>,
    ) {
        let mut at = 0;
        while at < table.rooms.list.len() {
            let now_ns = monotonic_ns();
            let due = |running: &Running| running.due_ns.is_some_and(|due_ns| due_ns <= now_ns);
            if due(&table.rooms.list[at]) {
                let mut running = table.rooms.list.swap_remove(at);
                let run = || running.run(table, io, buffer, now_ns, happened);
                let ran = catch_unwind(AssertUnwindSafe(run));
                // A room that panics is there again, so that its parties are told of its end.
                table.rooms.list.push(running);
                let last = table.rooms.list.len() - 1;
                table.rooms.list.swap(at, last);
                if let Err(panic) = ran {
                    resume_unwind(panic);
                }
                pass_by(table, io);
            }
            at += 1;
        }
    }
}

impl Running {
    /// One frame; afterwards it is due again.
    fn run(
        &mut self,
        table: &mut Table,
        io: &mut Exchange,
        buffer: &mut [u8],
        now_ns: u64,
        happened: &mut Vec<MediaEvent>,
    ) {
        let Some(due_ns) = self.due_ns else { return };
        let doomed = std::mem::take(&mut table.rooms.doomed);
        assert!(!doomed, "a test wants this room to panic");
        let behind_ns = now_ns.saturating_sub(due_ns);
        if behind_ns > ROOM_BEHIND_MS_MAX * 1_000_000 {
            table.rooms.late += behind_ns / FRAME_NS;
            self.due_ns = Some(now_ns + FRAME_NS);
            for party in &self.room.parties {
                if let Some(flow) = table.flow_mut(party.place.key) {
                    flow.interrupt(party.place.side);
                }
            }
        } else {
            self.due_ns = Some(due_ns + FRAME_NS);
        }
        let room = self.room.id;
        self.room.run(
            &mut Benches {
                table,
                io,
                room,
                buffer,
                now_ns,
            },
            now_ns,
            happened,
        );
        if self.room.parties.is_empty() {
            self.due_ns = None;
        }
    }
}

/// The flows of a worker, as a room sees them.
struct Benches<'a> {
    table: &'a mut Table,
    io: &'a mut Exchange,
    room: u64,
    buffer: &'a mut [u8],
    now_ns: u64,
}

impl Benches<'_> {
    fn flow(&mut self, place: Place) -> Option<&mut Flow> {
        self.table.flow_mut(place.key)
    }
}

impl Floor for Benches<'_> {
    fn hear(&mut self, place: Place, frame: &mut [i16]) -> Heard {
        let room = self.room;
        let seat = self.flow(place).and_then(|flow| flow.seat(place.side));
        let Some(seat) = seat.filter(|seat| seat.room == room) else {
            return Heard::Gone;
        };
        if seat.hear(frame) {
            Heard::Sound
        } else {
            Heard::Silence
        }
    }

    fn form(&mut self, place: Place) -> Option<Form> {
        let flow = self.flow(place)?;
        let form = flow.form(place.side);
        if form.is_none() {
            flow.interrupt(place.side);
        }
        form
    }

    fn say(&mut self, place: Place, payload: &[u8], packet_ms: u32) {
        let Table { slots, totals, .. } = &mut *self.table;
        let slot = slots.get_mut(place.key.slot());
        let Some(flow) = slot.and_then(|slot| slot.flow.as_mut()) else {
            return;
        };
        match flow.say(place.side, payload, packet_ms, self.buffer, self.now_ns) {
            Some(Verdict::Send { from, length, .. })
                if send_from(self.io, flow, from, &self.buffer[..length], Sent::Mixed) =>
            {
                totals.mixed += 1;
            }
            Some(_) => totals.unsent += 1,
            None => {}
        }
    }
}

impl Worker {
    /// Begins a room here.
    pub fn open_room(&self, room: Room) {
        self.shared.table.lock().rooms.open(room);
    }

    /// Something has changed in a room: the thread looks at its clock again.
    pub fn wake(&self) {
        self.shared.bell.ring();
    }

    /// Gives a flow to another worker, which relays it from now on; its new key, and
    /// whether it is there. When the other one cannot watch its sockets it stays; none when there
    /// is no such flow.
    pub fn hand_over(&self, key: FlowKey, to: &Worker) -> Option<(FlowKey, bool)> {
        let sockets = relay::doors(self.shared.table.lock().get(key)?).map(Door::socket);
        // Control, which calls this, is the only one that removes flows.
        self.shared
            .watch
            .part(key.base(), sockets, &self.shared.bell);
        let mut flow = self.shared.table.lock().remove(key)?;
        // The clocks of the old worker do not know it any more.
        flow.was_roused();
        flow.forget_leg_due();
        let flow = match to.take_over(flow) {
            Ok(key) => return Some((key, true)),
            Err(flow) => flow,
        };
        self.take_over(*flow).ok().map(|key| (key, false))
    }

    /// Relays a flow from now on, or gives it back.
    fn take_over(&self, flow: Flow) -> Result<FlowKey, Box<Flow>> {
        let mut table = self.shared.table.lock();
        if table.has_ended {
            return Err(Box::new(flow));
        }
        let key = table.insert(flow);
        if let Err(error) = self.watch(&table, key) {
            tracing::error!(%error, "a worker cannot watch the sockets of a call");
            let flow = table.remove(key).expect("it was inserted under this lock");
            return Err(Box::new(flow));
        }
        table.note_due(key);
        if table.get(key).is_some_and(Flow::has_legs) {
            legs::serve(&mut table, key, monotonic_ns());
        }
        drop(table);
        self.shared.bell.ring();
        Ok(key)
    }
}
