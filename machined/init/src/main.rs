//! PID 1 of a node, and /init of its initramfs. Started by the kernel; as PID 1 it never returns.
#![no_main]

use init::{Config, Console, Pid1, first, ruin};
use std::path::Path;

sys::entry!(start);

fn start() {
    let (tsc, uptime_ns) = (sys::tsc(), sys::tsc::uptime_ns());
    if !rustix::process::getpid().is_init() {
        return eprintln!("init is started by the kernel as process 1, not by hand");
    }
    ruin::prepare();
    let image = Path::new("/rootfs.erofs");
    let config = Config::node(tsc, uptime_ns);
    // Where both are missing the first stage says so: it brings the console.
    if (image.exists() || !config.machined.exists())
        && let Err(e) = first::stage(image)
    {
        ruin::restart(format_args!("{e}"));
    }
    let mut pid1 = match Pid1::new(config, Console::open()) {
        Ok(pid1) => pid1,
        Err(e) => ruin::restart(format_args!("init cannot set itself up: {e}")),
    };
    let action = pid1.run();
    init::finish(pid1, action)
}
