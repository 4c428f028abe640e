//! A virtual machine: what it is made of ([`Spec`]), and one that runs ([`Vm`]), which ends when it is dropped.

mod accel;
mod console;
mod firmware;
mod folder;
mod hang;
mod qmp;
mod screen;
mod slots;
mod spec;
mod tpm;
mod variables;

pub use console::Console;
pub use hang::{EmulatorHang, count as emulator_hangs};
pub use qmp::Qmp;
pub use screen::Screen;
pub use slots::MOST as MACHINES;
pub use spec::{Boot, Bus, Disk, Nic, Random, Serial, Spec};

use std::{
    cell::RefCell,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{child, wait};
use folder::Folder;

/// How long the slowest boot may take on a machine that is busy with other things.
pub const BOOT: Duration = Duration::from_secs(240);

/// A running machine.
pub struct Vm {
    /// What its first serial port printed.
    pub console: Console,
    /// Its monitor.
    pub qmp: Qmp,
    /// Where the guest's API port is reached from here.
    pub api: SocketAddr,
    emulator: RefCell<Child>,
    // Dropped after the emulator, in this order.
    tpm: Option<tpm::Swtpm>,
    folder: Folder,
    left: bool,
    _slot: Option<slots::Slot>,
}

impl Vm {
    /// Starts a machine and returns as soon as the emulator runs.
    pub fn start(spec: &Spec) -> Result<Self> {
        Self::launch(spec, Folder::temporary()?)
    }

    /// The same with its logs and disks in a folder that stays, given as an absolute path.
    pub fn start_in(spec: &Spec, folder: &Path) -> Result<Self> {
        Self::launch(spec, Folder::given(folder)?)
    }

    fn launch(spec: &Spec, folder: Folder) -> Result<Self> {
        let slot = (!spec.beside).then(slots::take);
        let tpm = spec.tpm.then(|| tpm::Swtpm::start(folder.sockets(), spec.detached)).transpose()?;
        let port = if spec.port == 0 { free_port()? } else { spec.port };
        let emulator = child::spawn(spec.command(folder.path(), folder.sockets(), port)?)
            .context("starting the emulator; run `make setup`")?;
        let mut vm_child = Reaped(Some(emulator));
        let qmp = Qmp::connect(&folder.sockets().join(spec::MONITOR), || vm_child.ended())
            .with_context(|| format!("the emulator did not start: {}", stderr_of(folder.path())))?;
        let emulator = vm_child.0.take().context("the emulator is gone")?;
        let console = Console::new(folder.path().join("serial.log"));
        if spec.nic.as_ref().is_some_and(|nic| !nic.cable) {
            // Started halted (Spec::command): the cable is out before the guest's first instruction.
            qmp.set_link("net0", false)?;
            qmp.execute("cont", serde_json::json!({}))?;
        }
        Ok(Self {
            console,
            qmp,
            api: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            emulator: RefCell::new(emulator),
            tpm,
            folder,
            left: false,
            _slot: slot,
        })
    }

    /// Starts a machine and waits until its console shows `line`; a hang of the emulator itself is told apart.
    pub fn boot_to(spec: &Spec, line: &str) -> Result<Self> {
        let vm = Self::start(spec)?;
        vm.wait_line(line, BOOT)?;
        Ok(vm)
    }

    /// Waits for a line on the console that contains `text`, and returns it.
    pub fn wait_line(&self, text: &str, limit: Duration) -> Result<String> {
        self.wait_line_after(text, 0, limit)
    }

    /// The same for a line after the first `mark` bytes of the console.
    pub fn wait_line_after(&self, text: &str, mark: u64, limit: Duration) -> Result<String> {
        let found = wait::until(&format!("'{text}' on the console"), limit, || {
            self.console.line_after(text, mark).map(Some).or_else(|| self.is_off().then_some(None))
        });
        match found {
            Ok(Some(line)) => Ok(line),
            Ok(None) => bail!(
                "the machine switched itself off before it printed '{text}'; the console ends with:\n{}\n{}",
                self.console.tail(60),
                stderr_of(self.folder())
            ),
            Err(_) if self.is_hung() => Err(EmulatorHang { console: self.console.tail(40) }.into()),
            Err(timed_out) => bail!("{timed_out}; the console ends with:\n{}", self.console.tail(60)),
        }
    }

    /// Waits until the console shows that many lines that contain `text`: as many boots, for what each boot says once.
    pub fn wait_count(&self, text: &str, count: usize, limit: Duration) -> Result<()> {
        let what = format!("'{text}' on the console, {count} times");
        let found = wait::until(&what, limit, || (self.console.count(text) >= count).then_some(()));
        found.with_context(|| format!("the console ends with:\n{}", self.console.tail(60)))
    }

    /// Whether the machine is switched off.
    pub fn is_off(&self) -> bool {
        matches!(self.emulator.borrow_mut().try_wait(), Ok(Some(_)) | Err(_))
    }

    /// Whether the emulator itself has stopped working; takes some seconds, and counts it.
    pub fn is_hung(&self) -> bool {
        !self.is_off() && hang::is_emulator(&self.console, &self.qmp)
    }

    /// The folder that holds the machine's sockets and its TPM.
    pub fn sockets(&self) -> &Path {
        self.folder.sockets()
    }

    /// The folder that holds the machine's logs and disks.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The wire to the `chaos` service of the test image (the second serial port).
    pub fn chaos(&self) -> Result<UnixStream> {
        let path = self.folder.sockets().join(spec::CHAOS);
        UnixStream::connect(&path).with_context(|| format!("connecting to {}", path.display()))
    }

    /// A picture of the screen.
    pub fn screen(&self) -> Result<Screen> {
        Screen::shot(&self.qmp, self.folder())
    }

    /// The number of the emulator's process.
    pub fn pid(&self) -> u32 {
        self.emulator.borrow().id()
    }

    /// Waits until the machine has powered itself off.
    pub fn wait_off(&mut self, limit: Duration) -> Result<ExitStatus> {
        let emulator = self.emulator.get_mut();
        let status = wait::until("the machine to power off", limit, || emulator.try_wait().transpose());
        match status {
            Ok(status) => Ok(status.context("waiting for the emulator")?),
            Err(timed_out) => bail!("{timed_out}; the console ends with:\n{}", self.console.tail(60)),
        }
    }

    /// The numbers of its processes.
    pub fn pids(&self) -> Vec<u32> {
        let tpm = self.tpm.as_ref().map(tpm::Swtpm::pid);
        std::iter::once(self.emulator.borrow().id()).chain(tpm).collect()
    }

    /// Lets the machine run on after this program; whoever stops it removes its [`sockets`](Self::sockets).
    pub fn leave_running(mut self) {
        self.left = true;
        self.folder.leave();
        if let Some(tpm) = &mut self.tpm {
            tpm.leave_running();
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        // It may be gone already; then there is nothing to do.
        let emulator = self.emulator.get_mut();
        let _ = emulator.kill();
        let _ = emulator.wait();
    }
}

/// A child that is killed unless it is taken out: for the time in which starting can still fail.
struct Reaped(Option<Child>);

impl Reaped {
    fn ended(&mut self) -> bool {
        self.0.as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(Some(_)) | Err(_)))
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A loopback port nobody uses now. The emulator binds it a moment later; a lost race shows as its start-up error.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}

fn stderr_of(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("qemu.log")).unwrap_or_default()
}
