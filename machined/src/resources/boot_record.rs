//! How this boot went and how the one before it ended. Written by `controllers::boot`.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One object, id "boot".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BootRecord {
    /// UUID of this boot.
    pub boot_id: String,
    /// firmware, kernel, init, machined, api: in order, as far as the boot has come.
    pub phases: Vec<Phase>,
    /// What was booted.
    pub image: Image,
    /// How it was started.
    pub source: Source,
    /// What of the machine's disk runs, and why that.
    #[serde(default)]
    pub started: Started,
    /// The version that this one came back from; absent once something newer was proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
    /// Whether the firmware checked signatures; absent: the firmware has no such thing, or could not be asked, or not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<bool>,
    /// The machine has a TPM.
    pub tpm: bool,
    /// How the boot before this one ended.
    pub last: Last,
    /// The last reset of this disk, or one that is not done yet; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Reset>,
}

/// What was wiped, as somebody had asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Reset {
    /// `STATE`, `EPHEMERAL`, or both.
    pub what: String,
    /// Who asked, and why.
    pub cause: String,
    /// All of it is wiped.
    pub done: bool,
    /// UUID of the boot that did it; of one that is not done: in which it was asked for.
    pub boot_id: String,
    /// Seconds since 1970 when it was done, or else asked for, by the machine's clock.
    pub time_unix: u64,
}

/// One phase of the boot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// When it began, in milliseconds since the kernel started; negative before that; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<f64>,
    /// How long it took; absent when unknown or not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<f64>,
    /// The processor's time stamp counter when it began; absent when unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tsc: Option<u64>,
    /// Where the time comes from, or why it is unknown.
    pub note: String,
}

/// What was booted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Version of Stele.
    pub version: String,
    /// Commit it was built from.
    pub commit: String,
    /// When it was built, as the image says.
    pub built: String,
    /// Release of the running kernel.
    pub kernel: String,
}

/// How it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// `uki`, `efi` (kernel started by a firmware, but by no stub of ours) or `kernel` (kernel and initrd, no firmware
    /// variables); `unknown` until the firmware was asked, which it is once the API answers.
    pub via: String,
    /// What the stub calls itself; empty without one.
    pub stub: String,
    /// What the loader calls itself; empty without one.
    pub loader: String,
    /// Path of the UKI on its partition; empty when unknown.
    pub path: String,
    /// GUID of the partition the UKI was read from; empty when unknown.
    pub partition: String,
    /// The kernel's command line.
    pub command_line: String,
}

/// What of the machine's disk runs, and why the loader chose it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Started {
    /// `generation 3`, `recovery`, `other` (nothing that the loader of the system disk started); `unknown` until that is known.
    pub what: String,
    /// Its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// It is on trial: started with a count until it is proven.
    pub trial: bool,
    /// It is not simply what was next: it was asked for, or started in the place of something else.
    pub detour: bool,
    /// Why the loader chose it; of `other`: why it is known that it did not.
    pub why: String,
    /// What the loader could not start before that, and why: `generation 2: the file is damaged`.
    pub rejected: Vec<String>,
}

/// A version that was tried and not proven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Failed {
    /// Its generation's number.
    pub generation: u32,
    /// Of Stele; empty when unknown.
    pub version: String,
    /// Why it was given up.
    pub reason: String,
    /// How far it came: `loader` (nothing after it left a word), `machined`, `gates`.
    pub reached: String,
    /// Starts it had.
    pub starts: u32,
    /// Seconds since 1970 when that was noted, by the machine's clock.
    pub time_unix: u64,
}

/// How a boot ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Nobody noted it, or it was not read yet.
    #[default]
    Unknown,
    /// There was none: the first boot of this disk.
    None,
    /// In order, to start again.
    Reboot,
    /// In order, switched off.
    PowerOff,
    /// In order, stopped with the power on.
    Halt,
    /// The kernel gave up.
    Panic,
    /// A power cut, a reset or a hang, maybe while it was stopping.
    Unclean,
}

/// How the boot before this one ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Last {
    /// How.
    pub ended: Ended,
    /// Who asked for it, or what is known.
    pub reason: String,
    /// UUID of that boot; empty when unknown.
    pub boot_id: String,
    /// Seconds since 1970 when the stop was begun, by the machine's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_unix: Option<u64>,
    /// Bytes of its log that META kept: read them with `apictl logs last-boot`.
    pub log_bytes: u64,
    /// Crash records found in pstore: read them with `apictl logs pstore`.
    pub crash_records: Vec<String>,
}

impl BootRecord {
    /// The one id of this type.
    pub const ID: &'static str = "boot";
}

impl Resource for BootRecord {
    const TYPE: &'static str = "boot-record";
    const PLURAL: &'static str = "boot-records";
    const ALIASES: &'static [&'static str] = &["boot"];
    const DOC: &'static str = "How this boot went, what was booted, and how the last boot ended.";
    const COLUMNS: &'static [Column] = &[
        Column::new("VIA", "/source/via"),
        Column::new("RUNS", "/started/what"),
        Column::new("VERSION", "/image/version"),
        Column::new("KERNEL", "/image/kernel"),
        Column::new("LAST-ENDED", "/last/ended"),
        Column::new("LAST-REASON", "/last/reason"),
        Column::new("FAILED", "/failed/reason"),
        Column::wide("CHOSEN", "/started/why"),
        Column::wide("REJECTED", "/started/rejected"),
        Column::wide("SECURE-BOOT", "/secureBoot"),
        Column::wide("RESET", "/reset/cause"),
        Column::wide("TPM", "/tpm"),
        Column::wide("PARTITION", "/source/partition"),
    ];
}
