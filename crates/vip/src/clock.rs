//! The clock of leases and the wake-ups of the holder thread.
//!
//! `CLOCK_BOOTTIME` goes on while the machine is suspended, so a lease cannot outlive a
//! suspend; that is why the timer is a timerfd and not a condition variable.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{null, null_mut};

/// Nanoseconds of `CLOCK_BOOTTIME`.
pub fn now_ns() -> u64 {
    // SAFETY: all-zero is a valid `timespec` and the pointer is valid for the call.
    unsafe {
        let mut time: libc::timespec = zeroed();
        libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}

/// Wakes the holder thread: by a call from elsewhere or at a deadline.
pub(crate) struct Alarm {
    bell: OwnedFd,
    timer: OwnedFd,
}

fn owned(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the caller just opened `fd` and gives it away.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl Alarm {
    pub fn new() -> io::Result<Alarm> {
        // SAFETY: plain system calls; the results are checked.
        let (bell, timer) = unsafe {
            (
                libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK),
                libc::timerfd_create(libc::CLOCK_BOOTTIME, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK),
            )
        };
        let (bell, timer) = (owned(bell), owned(timer));
        Ok(Alarm {
            bell: bell?,
            timer: timer?,
        })
    }

    /// Wakes the waiting thread now.
    pub fn ring(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the pointer and length describe `one`. A full counter (EAGAIN) means that
        // the bell rings already.
        unsafe { libc::write(self.bell.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Waits for the bell or for `deadline_ns`; without a deadline only for the bell.
    pub fn wait(&self, deadline_ns: Option<u64>) -> io::Result<()> {
        // An all-zero time would disarm the timer, so a deadline is at least 1 ns.
        let at = deadline_ns.map_or(0, |at| at.max(1));
        let time = libc::itimerspec {
            it_interval: libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: libc::timespec {
                tv_sec: (at / 1_000_000_000) as libc::time_t,
                tv_nsec: (at % 1_000_000_000) as libc::c_long,
            },
        };
        let watch = |fd: &OwnedFd| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let mut watched = [watch(&self.bell), watch(&self.timer)];
        // SAFETY: all pointers are valid for the calls, the count is that of `watched`, and
        // the eight bytes read fit `drain`.
        unsafe {
            let timer = self.timer.as_raw_fd();
            if libc::timerfd_settime(timer, libc::TFD_TIMER_ABSTIME, &raw const time, null_mut())
                != 0
            {
                return Err(io::Error::last_os_error());
            }
            if libc::ppoll(watched.as_mut_ptr(), watched.len() as _, null(), null()) < 0 {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            let mut drain = [0_u8; 8];
            libc::read(
                self.bell.as_raw_fd(),
                drain.as_mut_ptr().cast(),
                drain.len(),
            );
        }
        Ok(())
    }
}
