//! What a process costs, as Linux tells it in `/proc`: CPU time and resident memory.

use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::io;
use std::time::{Duration, Instant};

/// A process on this machine, by its id.
#[derive(Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    /// CPU time used so far by all threads, user and system.
    pub fn cpu(self) -> io::Result<Duration> {
        let path = format!("/proc/{}/stat", self.0);
        let text =
            fs::read_to_string(&path).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
        // The command's name, in brackets, may hold anything; utime and stime are fields 14 and 15 of the line.
        let after_name = text.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        let mut fields = after_name.split(' ').skip(11).map(|field| field.parse::<u64>().unwrap_or(0));
        let ticks = fields.next().unwrap_or(0) + fields.next().unwrap_or(0);
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// Most memory resident since [`Process::forget_peak`], in bytes.
    pub fn peak_bytes(self) -> io::Result<u64> {
        self.status_bytes("VmHWM:")
    }

    /// Memory resident now, in bytes.
    pub fn resident_bytes(self) -> io::Result<u64> {
        self.status_bytes("VmRSS:")
    }

    fn status_bytes(self, name: &str) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024)
    }

    /// Begins the count of the peak anew, where the kernel lets us.
    pub fn forget_peak(self) {
        let _ = fs::write(format!("/proc/{}/clear_refs", self.0), "5");
    }

    /// Waits until the process has used less than a twentieth of a core for a second: what it put off is then done.
    /// Gives up after `limit`, and says whether it came to rest.
    pub fn settle(self, limit: Duration) -> io::Result<bool> {
        let give_up = Instant::now() + limit;
        let mut before = self.cpu()?;
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let now = self.cpu()?;
            if now - before < Duration::from_millis(50) {
                return Ok(true);
            }
            if Instant::now() > give_up {
                return Ok(false);
            }
            before = now;
        }
    }
}

/// CPU time of this process.
pub fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
