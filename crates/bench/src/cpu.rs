//! Processor time of a process.

use crate::BenchError;

/// User and system time of a process with all its threads, seconds.
///
/// # Errors
/// The process does not exist.
pub fn seconds(pid: u32) -> Result<f64, BenchError> {
    let path = format!("/proc/{pid}/stat");
    let text =
        std::fs::read_to_string(&path).map_err(BenchError::system(format!("read {path}")))?;
    // The command name may hold spaces and parentheses; fields are counted after it.
    let rest = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let field = |n: usize| {
        rest.split(' ')
            .nth(n - 3)
            .and_then(|f| f.parse::<f64>().ok())
    };
    // SAFETY: plain system call.
    let hertz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    match (field(14), field(15)) {
        (Some(user), Some(system)) => Ok((user + system) / hertz),
        _ => Err(BenchError::Usage(format!("{path} is not as expected"))),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn our_own_time_grows_with_work() {
        let pid = std::process::id();
        let before = super::seconds(pid).expect("our own");
        let mut sum = 0_u64;
        while super::seconds(pid).expect("our own") < before + 0.02 {
            sum = (0..100_000_u64).fold(sum, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
        }
        assert_ne!(sum, 1);
        assert!(super::seconds(u32::MAX).is_err());
    }
}
