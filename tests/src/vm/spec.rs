//! What a machine is made of, and the emulator's command line for it.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{accel, firmware};
use crate::{artifacts::Image, child};

/// The sockets' names in their folder: the monitor, the wire to the `chaos` service, the TPM.
pub(super) const MONITOR: &str = "qmp.sock";
pub(super) const CHAOS: &str = "chaos.sock";
pub(super) const TPM: &str = "tpm.sock";

/// The image's partitions, STATE, and some more; the file is sparse.
const ROOMY: u64 = 4 << 30;

/// How the machine starts.
#[derive(Clone, Debug)]
pub enum Boot {
    /// Firmware from the first disk.
    Firmware,
    /// The emulator loads kernel and initramfs of an image by itself, with this added to the command line.
    Kernel(Image, String),
}

/// How a disk is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// virtio-blk.
    Virtio,
    /// NVMe.
    Nvme,
    /// virtio-scsi.
    Scsi,
    /// SATA (AHCI).
    Sata,
    /// USB stick.
    Usb,
    /// A disc in an optical drive (SATA), as hypervisors attach a NoCloud disk.
    Optical,
}

/// One disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The image. It is not written to: changes go to an overlay in the machine's folder, unless `writable`.
    pub image: PathBuf,
    /// How it is attached.
    pub bus: Bus,
    /// Size of a logical sector, 512 or 4096.
    pub sector: u32,
    /// Changes go to the image itself.
    pub writable: bool,
    /// Bytes the machine sees, when that is more than the image has.
    pub size: Option<u64>,
    /// Every write and flush of the machine is recorded in this file, for [`crate::cuts`]; anew with each start of the emulator.
    pub log: Option<PathBuf>,
}

impl Disk {
    /// A virtio disk with 512-byte sectors over an image that stays as it is.
    pub fn of(image: impl Into<PathBuf>) -> Self {
        Self { image: image.into(), bus: Bus::Virtio, sector: 512, writable: false, size: None, log: None }
    }
}

/// A network card.
#[derive(Clone, Debug)]
pub struct Nic {
    /// The emulator's model: `virtio-net-pci`, `e1000e`.
    pub model: String,
    /// Whether the cable is in at the start.
    pub cable: bool,
}

/// The serial ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serial {
    /// The console, and the wire to the `chaos` service.
    Console,
    /// The wire alone: for who looks at the machine otherwise. The kernel's console has no port.
    Wire,
    /// None at all.
    None,
}

/// Where the guest's kernel may take random numbers from, beside what it finds in the jitter of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Random {
    /// The processor's instructions.
    Processor,
    /// A device (virtio-rng) alone.
    Device,
    /// Nowhere.
    None,
}

/// A machine to be.
#[derive(Clone, Debug)]
pub struct Spec {
    /// How it starts.
    pub boot: Boot,
    /// Its disks, in order.
    pub disks: Vec<Disk>,
    /// Its network card, named `net0` for the monitor.
    pub nic: Option<Nic>,
    /// Memory in MiB.
    pub memory: u32,
    /// Processors.
    pub cpus: u32,
    /// Whether it has a TPM 2.0.
    pub tpm: bool,
    /// Secure Boot is on, and the firmware trusts this certificate (PEM) alone.
    pub trusted: Option<PathBuf>,
    /// Its serial ports.
    pub serial: Serial,
    /// Where random numbers come from.
    pub random: Random,
    /// The clock it starts with, as `-rtc base=`; `utc` is now.
    pub rtc: String,
    /// Time is counted in instructions (1 ns each): slow, but the same on a busy machine. Its clock starts in 2026.
    pub counted: bool,
    /// Whether it stays when whoever started it is interrupted at the terminal.
    pub detached: bool,
    /// The port of loopback at which the guest's API is reached; 0: one that is free.
    pub port: u16,
    /// Whether it is the second machine of a story, and runs beside the first without waiting for others to end: they could
    /// wait for each other for ever.
    pub beside: bool,
    /// What the guest may reach beside us: an address and port of its network (10.0.2.0/24), and the program, started for each
    /// connection to it, whose standard input and output it is then connected to.
    pub reaches: Vec<(std::net::SocketAddrV4, PathBuf)>,
    /// More arguments of the emulator.
    pub extra: Vec<String>,
}

impl Spec {
    /// A machine that starts an image from disk by firmware: 1 GiB, one processor, virtio, TPM.
    pub fn disk(image: &Image) -> Result<Self> {
        Ok(Self { boot: Boot::Firmware, disks: vec![Disk::of(image.raw()?)], tpm: true, ..Self::bare() })
    }

    /// As [`Spec::disk`], with room on the disk for a configuration: STATE and EPHEMERAL.
    pub fn roomy(image: &Image) -> Result<Self> {
        let mut spec = Self::disk(image)?;
        spec.disks[0].size = Some(ROOMY);
        Ok(spec)
    }

    /// The same with kernel and initramfs by the emulator, which is quicker; the disk is found by its META.
    pub fn roomy_kernel(image: &Image) -> Result<Self> {
        Ok(Self { boot: Boot::Kernel(image.clone(), String::new()), tpm: false, ..Self::roomy(image)? })
    }

    /// A machine whose emulator loads kernel and initramfs by itself: quicker, without firmware, disk and TPM.
    pub fn kernel(image: &Image) -> Self {
        Self { boot: Boot::Kernel(image.clone(), String::new()), ..Self::bare() }
    }

    fn bare() -> Self {
        Self {
            boot: Boot::Firmware,
            disks: Vec::new(),
            nic: Some(Nic { model: "virtio-net-pci".into(), cable: true }),
            memory: 1024,
            cpus: 1,
            tpm: false,
            trusted: None,
            serial: Serial::Console,
            random: Random::Processor,
            rtc: "utc".into(),
            counted: false,
            detached: false,
            port: 0,
            beside: false,
            reaches: Vec::new(),
            extra: Vec::new(),
        }
    }

    /// The emulator's command, with its files in `folder`, its sockets in `sockets` and the guest's API at `port` of
    /// loopback.
    pub(super) fn command(&self, folder: &Path, sockets: &Path, port: u16) -> Result<Command> {
        const EMULATOR: &str = "qemu-system-x86_64";
        let mut command = if self.detached { child::free(EMULATOR) } else { child::bound(EMULATOR) };
        let accel = if self.counted { "tcg,thread=single".to_owned() } else { accel::choose() };
        let rtc = if self.counted { "2026-01-01T00:00:00,clock=vm".to_owned() } else { self.rtc.clone() };
        // Without cmpxchg16b: a suspicion, not a proof. Guests panicked in the slab allocator right behind it (QEMU 7.2, busy
        // host), and no more since it is left out.
        let mut cpu = if accel.starts_with("kvm") { "host" } else { "max,-cx16" }.to_owned();
        if self.random != Random::Processor {
            cpu.push_str(",-rdrand,-rdseed");
        }
        command
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-accel", &accel])
            .args(["-cpu", &cpu, "-m", &self.memory.to_string(), "-smp", &self.cpus.to_string()])
            .args(["-rtc", &format!("base={rtc}"), "-qmp"])
            .arg(format!("unix:{},server=on,wait=off", sockets.join(MONITOR).display()));
        self.boot_args(&mut command, folder)?;
        self.disk_args(&mut command, folder)?;
        self.serial_args(&mut command, folder, sockets);
        if self.random == Random::Device {
            command.args(["-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng0"]);
        }
        if let Some(nic) = &self.nic {
            // ipv4=on: asking for IPv6 alone takes IPv4 away. restrict=on: the guest reaches nothing but what is forwarded to it.
            let mut user = format!("user,id=user0,restrict=on,ipv4=on,ipv6=on,hostfwd=tcp:127.0.0.1:{port}-:50000");
            for (address, program) in &self.reaches {
                user += &format!(",guestfwd=tcp:{address}-cmd:{}", program.display());
            }
            command.args(["-netdev", &user]).args(["-device", &format!("{},netdev=user0,id=net0,romfile=", nic.model)]);
            if !nic.cable {
                // The monitor pulls the cable before the guest's first instruction.
                command.arg("-S");
            }
        }
        if self.tpm {
            command.arg("-chardev").arg(format!("socket,id=tpm0,path={}", sockets.join(TPM).display())).args([
                "-tpmdev",
                "emulator,id=tpm0,chardev=tpm0",
                "-device",
                "tpm-tis,tpmdev=tpm0",
            ]);
        }
        if self.counted {
            command.args(["-icount", "shift=0,sleep=off", "-seed", "1"]);
        }
        command.args(&self.extra);
        if self.detached {
            command.process_group(0);
        }
        let log = std::fs::File::create(folder.join("qemu.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    fn boot_args(&self, command: &mut Command, folder: &Path) -> Result<()> {
        match &self.boot {
            Boot::Firmware => firmware::args(command, folder, self.trusted.as_ref())?,
            Boot::Kernel(image, more) => {
                command.args(["-machine", "q35,smm=off", "-kernel"]).arg(image.kernel()?);
                command.arg("-initrd").arg(image.initrd()?);
                command.arg("-append").arg(format!("{} {more}", image.cmdline()?));
            }
        }
        Ok(())
    }

    fn serial_args(&self, command: &mut Command, folder: &Path, sockets: &Path) {
        let console = format!("file,id=serial0,path={}", folder.join("serial.log").display());
        match self.serial {
            Serial::Console => command.args(["-chardev", &console, "-serial", "chardev:serial0"]),
            // Keeps the place of the first port free.
            Serial::Wire => command.args(["-serial", "none"]),
            Serial::None => return,
        };
        let wire = format!("socket,id=chaos0,path={},server=on,wait=off", sockets.join(CHAOS).display());
        command.args(["-chardev", &wire, "-serial", "chardev:chaos0"]);
    }

    fn disk_args(&self, command: &mut Command, folder: &Path) -> Result<()> {
        if self.disks.iter().any(|disk| disk.bus == Bus::Scsi) {
            command.args(["-device", "virtio-scsi-pci,id=scsi0"]);
        }
        if self.disks.iter().any(|disk| disk.bus == Bus::Usb) {
            command.args(["-device", "qemu-xhci,id=usb0"]);
        }
        for (number, disk) in self.disks.iter().enumerate() {
            ensure!(disk.image.exists(), "{} is not there", disk.image.display());
            let file = if disk.writable { disk.image.clone() } else { overlay(folder, number, disk)? };
            let format = if disk.writable { "raw" } else { "qcow2" };
            let id = format!("disk{number}");
            if disk.bus == Bus::Optical {
                let file = disk.image.display();
                command.args(["-drive", &format!("if=none,id={id},format=raw,readonly=on,file={file}")]);
                command.args(["-device", &device(disk, number, &id)]);
                continue;
            }
            match &disk.log {
                Some(log) => recorded(command, &id, format, &file, log)?,
                None => {
                    let file = file.display();
                    command.args(["-drive", &format!("if=none,id={id},format={format},file={file},discard=unmap")]);
                }
            }
            command.args(["-device", &device(disk, number, &id)]);
        }
        Ok(())
    }
}

/// The emulator's device for a disk. The serial number differs per disk, so that stable names do.
fn device(disk: &Disk, number: usize, id: &str) -> String {
    let sizes = format!("logical_block_size={0},physical_block_size={0}", disk.sector);
    let boot = format!("bootindex={}", number + 1);
    match disk.bus {
        Bus::Virtio => format!("virtio-blk-pci,drive={id},serial=STELE{number},{sizes},{boot}"),
        Bus::Nvme => format!("nvme,drive={id},serial=STELE{number},{sizes},{boot}"),
        Bus::Scsi => format!("scsi-hd,bus=scsi0.0,drive={id},serial=STELE{number},{sizes},{boot}"),
        Bus::Sata => format!("ide-hd,bus=ide.{number},drive={id},serial=STELE{number},{boot}"),
        Bus::Optical => format!("ide-cd,bus=ide.{number},drive={id},{boot}"),
        Bus::Usb => format!("usb-storage,bus=usb0.0,drive={id},serial=STELE{number},{boot}"),
    }
}

/// A disk whose writes and flushes are recorded. The emulator need not wait for the host's disk: the host stays.
fn recorded(command: &mut Command, id: &str, format: &str, file: &Path, log: &Path) -> Result<()> {
    std::fs::File::create(log).with_context(|| format!("making {}", log.display()))?;
    let to = |path: &Path| format!("driver=file,cache.no-flush=on,filename={}", path.display());
    command.args(["-blockdev", &format!("{},discard=unmap,node-name={id}-file", to(file))]);
    command.args(["-blockdev", &format!("driver={format},discard=unmap,node-name={id}-data,file={id}-file")]);
    command.args(["-blockdev", &format!("{},node-name={id}-log", to(log))]);
    let node = format!("driver=blklogwrites,node-name={id},file={id}-data,log={id}-log,log-sector-size=512");
    command.args(["-blockdev", &node]);
    Ok(())
}

/// A copy-on-write file over an image; kept over restarts of the same machine.
fn overlay(folder: &Path, number: usize, disk: &Disk) -> Result<PathBuf> {
    let file = folder.join(format!("disk{number}.qcow2"));
    if !file.exists() {
        let image = disk.image.canonicalize().with_context(|| format!("resolving {}", disk.image.display()))?;
        let output = child::free("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
            .args([&image, &file])
            .args(disk.size.map(|size| size.to_string()))
            .output()
            .context("running qemu-img; run `make setup`")?;
        ensure!(output.status.success(), "qemu-img: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(file)
}
