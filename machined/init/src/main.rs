//! PID 1 of a node, and /init of its initramfs. Started by the kernel; this function never returns as PID 1.

use init::{Config, Console, Pid1, first, ruin};
use std::path::Path;

fn main() -> std::process::ExitCode {
    let (tsc, uptime_ns) = (sys::tsc(), sys::tsc::uptime_ns());
    if !rustix::process::getpid().is_init() {
        eprintln!("init is started by the kernel as process 1, not by hand");
        return std::process::ExitCode::FAILURE;
    }
    ruin::prepare();
    let image = Path::new("/rootfs.erofs");
    if image.exists()
        && let Err(e) = first::stage(image)
    {
        ruin::restart(format_args!("{e}"));
    }
    let console = Console::open();
    let mut pid1 = match Pid1::new(Config::node(tsc, uptime_ns), console) {
        Ok(pid1) => pid1,
        Err(e) => ruin::restart(format_args!("init cannot set itself up: {e}")),
    };
    let action = pid1.run();
    init::finish(pid1, action)
}
