//! Clocks, read at the edge only.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Clocks that can be set, for a simulation.
pub trait TimeSource: Send + Sync {
    /// Wall clock, Unix milliseconds.
    fn wall_ms(&self) -> u64;
    /// Boot clock, nanoseconds.
    fn boot_ns(&self) -> u64;
}

/// The clocks of one node: the kernel's, or others.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<dyn TimeSource>>);

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = if self.0.is_some() { "given" } else { "kernel" };
        f.debug_tuple("Clock").field(&name).finish()
    }
}

impl Clock {
    /// Clocks of a simulation.
    pub fn from_source(source: Arc<dyn TimeSource>) -> Self {
        Self(Some(source))
    }

    /// Wall clock, Unix milliseconds.
    pub fn wall_ms(&self) -> u64 {
        self.0.as_ref().map_or_else(wall_ms, |own| own.wall_ms())
    }

    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub fn boot_ns(&self) -> u64 {
        self.0.as_ref().map_or_else(boot_ns, |own| own.boot_ns())
    }
}

/// Wall clock, Unix milliseconds.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `CLOCK_BOOTTIME` in nanoseconds: monotonic, and it goes on while the machine is suspended.
pub fn boot_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid place for one timespec, and the clock exists since Linux 2.6.39.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    if failed != 0 {
        return 0;
    }
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// How far back an observation of both clocks must be before it is used.
const SETTLED: Duration = Duration::from_millis(500);

/// Translates monotonic instants to `CLOCK_BOOTTIME`, never too late.
///
/// A suspension makes the boot clock jump ahead of the monotonic one. An instant from before it
/// must not be translated with the difference from after it, or a lease would be too long. So the
/// difference used is the one observed at least [`SETTLED`] ago: it can only be too small.
#[derive(Debug)]
pub struct BootClock {
    clock: Clock,
    origin: Instant,
    /// Boot time of `origin` as seen by the older and by the newer observation.
    settled_ns: u64,
    newest_ns: u64,
    observed: Instant,
}

impl BootClock {
    /// Observes both clocks for the first time.
    pub fn start(clock: Clock) -> Self {
        let origin = Instant::now();
        let origin_ns = clock.boot_ns();
        Self {
            clock,
            origin,
            settled_ns: origin_ns,
            newest_ns: origin_ns,
            observed: origin,
        }
    }

    /// The boot time of an instant, in nanoseconds.
    pub fn translate_ns(&mut self, at: Instant) -> u64 {
        if self.observed.elapsed() >= SETTLED {
            let now = Instant::now();
            self.settled_ns = self.newest_ns;
            self.newest_ns = self
                .clock
                .boot_ns()
                .saturating_sub(nanoseconds(now - self.origin));
            self.observed = now;
        }
        let base = self.settled_ns.min(self.newest_ns);
        match at.checked_duration_since(self.origin) {
            Some(after) => base + nanoseconds(after),
            None => base.saturating_sub(nanoseconds(self.origin - at)),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn translation_never_runs_ahead_of_the_boot_clock() {
        let mut clock = BootClock::start(Clock::default());
        for _ in 0..1_000 {
            let translated = clock.translate_ns(Instant::now());
            let now = boot_ns();
            assert!(translated <= now + 1_000, "{translated} {now}");
            assert!(now - translated.min(now) < 50_000_000);
        }
    }
}
