//! Figures of the process itself, as Prometheus names them.

use std::fmt::Write as _;

/// How the kernel counts processor time, whatever its own clock: per second.
const TICKS: f64 = 100.0;

/// Adds what the system says of this process; nothing where it does not say.
pub(super) fn add_process(text: &mut String) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(seconds) = cpu_seconds(&stat) {
        text.push_str("# TYPE process_cpu_seconds_total counter\n");
        writeln!(text, "process_cpu_seconds_total {seconds}").ok();
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(bytes) = resident_bytes(&status) {
        text.push_str("# TYPE process_resident_memory_bytes gauge\n");
        writeln!(text, "process_resident_memory_bytes {bytes}").ok();
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        text.push_str("# TYPE process_open_fds gauge\n");
        writeln!(text, "process_open_fds {}", files.count()).ok();
    }
}

/// User and system time of `/proc/self/stat`. The name, which may hold
/// anything, ends at the last parenthesis.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_read() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 900 0 0 0 250 50 0 0 20 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7"), None);
        let status = "VmPeak:\t 9000 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!(resident_bytes(status), Some(2_097_152));
        assert_eq!(resident_bytes(""), None);
    }

    #[test]
    fn this_process_has_figures() {
        let mut text = String::new();
        add_process(&mut text);
        assert_eq!(text.matches("# TYPE process_").count(), 3, "{text}");
    }
}
