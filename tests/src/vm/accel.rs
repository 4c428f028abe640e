//! Which accelerator the emulator uses.

/// Software emulation unless the processor really has virtualisation: `/dev/kvm` may exist, open, and still hang every
/// guest. `STELE_ACCEL` overrides.
pub(super) fn choose() -> String {
    if let Ok(accel) = std::env::var("STELE_ACCEL") {
        return accel;
    }
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let hardware = flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    let writable = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
    if hardware && writable { "kvm".into() } else { "tcg,thread=multi".into() }
}
