//! Processes, read from /proc when somebody asks: they change all the time, and most of the time nobody looks.

use procfs::process::{Process as Entry, all_processes};
use procfs::{ProcResult, WithCurrentSystemInfo};

use crate::resources::process::Process;

/// Below this cgroup each service has its own.
const SERVICES: &str = "/services/";

/// All processes. One that ends while it is read is left out.
pub fn read() -> Vec<(String, Process)> {
    let Ok(entries) = all_processes() else { return Vec::new() };
    let found = entries.filter_map(|entry| look(&entry.ok()?).ok());
    found.map(|process| (process.pid.to_string(), process)).collect()
}

fn look(entry: &Entry) -> ProcResult<Process> {
    let stat = entry.stat()?;
    // The first hierarchy that has no number is cgroup v2's.
    let cgroups = entry.cgroups()?;
    let cgroup = cgroups.0.iter().find(|group| group.hierarchy == 0).map(|group| group.pathname.clone());
    let cgroup = cgroup.unwrap_or_default();
    let ms = 1000 / procfs::ticks_per_second().max(1);
    Ok(Process {
        pid: stat.pid,
        ppid: stat.ppid,
        name: stat.comm.clone(),
        // Kernel threads have none.
        executable: entry.exe().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
        service: service(&cgroup).to_owned(),
        cgroup,
        state: stat.state.to_string(),
        uid: entry.uid()?,
        threads: u64::try_from(stat.num_threads).unwrap_or(0),
        rss_bytes: stat.rss_bytes().get(),
        pss_bytes: pss(entry),
        cpu_ms: (stat.utime + stat.stime) * ms,
        started_uptime_ms: stat.starttime * ms,
    })
}

/// From smaps_rollup; kernel threads have none.
fn pss(entry: &Entry) -> u64 {
    let rollup = entry.smaps_rollup().ok();
    let maps = rollup.iter().flat_map(|rollup| &rollup.memory_map_rollup);
    maps.filter_map(|map| map.extension.map.get("Pss")).sum()
}

fn service(cgroup: &str) -> &str {
    cgroup.strip_prefix(SERVICES).and_then(|rest| rest.split('/').next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_among_them() {
        let pid = std::process::id();
        let found = read();
        let (_, me) = found.iter().find(|(id, _)| *id == pid.to_string()).unwrap();
        assert_eq!(me.executable, std::env::current_exe().unwrap().to_string_lossy());
        assert!(me.rss_bytes > 0 && me.pss_bytes > 0 && me.threads > 0 && !me.name.is_empty());
    }

    #[test]
    fn services_are_known_by_their_cgroup() {
        assert_eq!(service("/services/gateway"), "gateway");
        assert_eq!(service("/services/containerd/pod1"), "containerd");
        assert_eq!(service("/machined"), "");
    }
}
