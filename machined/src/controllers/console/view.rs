//! What a person at the machine is told: one value, drawn as a page on a screen (`page`) and as lines on a serial port
//! (`lines`). Both are pure.

/// Something waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What for, and why it is not there: "an IPv4 address for eth0: no DHCP answer on eth0 yet".
    pub text: String,
    /// Milliseconds since the kernel started.
    pub since_ms: u64,
}

/// All that is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Version of Stele.
    pub version: String,
    /// 32 hexadecimal digits.
    pub machine_id: String,
    /// The host name.
    pub hostname: String,
    /// When the machine started, by its own clock, and whether anybody knows that clock to be right. It changes with the
    /// clock alone.
    pub clock: String,
    /// The phase's name.
    pub phase: String,
    /// What of the disk runs: `generation 2`, `recovery`; empty when nothing of it does.
    pub runs: String,
    /// It is on trial.
    pub trial: bool,
    /// Why that, when it is not simply the next one.
    pub chosen: String,
    /// What a trial still waits for: the gate's name, what it asks and why it is shut.
    pub gates: Vec<(String, String, String)>,
    /// The generation that this one came back from, and why.
    pub failed: Option<(u32, String)>,
    /// A reset that is being done: how far it is.
    pub reset: String,
    /// While stopping: why.
    pub cause: String,
    /// While stopping: the step.
    pub step: String,
    /// Conditions that are not met.
    pub unmet: Vec<String>,
    /// What is waited for.
    pub waits: Vec<Waiting>,
    /// Link and address with prefix length, the best to reach the machine first.
    pub addresses: Vec<(String, String)>,
    /// 64 hexadecimal digits; empty while there is none.
    pub fingerprint: String,
    /// Sources of the configuration that have been looked at, in their order: `nocloud`, and what came of it.
    pub sources: Vec<(String, String)>,
    /// The last error: number and sentence.
    pub error: Option<(String, String)>,
    /// Milliseconds since the kernel started; 0 while nothing is waited for, so that a calm page does not change.
    pub now_ms: u64,
}

impl View {
    /// What runs, in one line.
    pub fn told(&self) -> String {
        let trial = if self.trial { ", on trial" } else { "" };
        let why = if self.chosen.is_empty() { String::new() } else { format!(" ({})", self.chosen) };
        format!("{}{trial}{why}", self.runs)
    }

    /// How another machine reaches this one; none without an address. `fingerprint` stands for ours.
    pub fn hint(&self, fingerprint: &str) -> Option<String> {
        let (_, address) = self.addresses.first()?;
        let address = address.split('/').next()?;
        let endpoint = match (address.contains(':'), address.starts_with("fe80:")) {
            // The link's name is that of the other machine, which this one cannot know.
            (true, true) => format!("[{address}%LINK]:50000"),
            (true, false) => format!("[{address}]:50000"),
            (false, _) => format!("{address}:50000"),
        };
        (!self.fingerprint.is_empty()).then(|| format!("apictl -e '{endpoint}' --fingerprint {fingerprint} version"))
    }
}

/// Letters a console can show and nothing it would obey: what comes from outside may hold escape sequences.
pub fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter == ' ' || letter.is_ascii_graphic() { letter } else { '?' }).collect()
}

/// "12 s", "3 min", "2 h".
pub fn duration(ms: u64) -> String {
    match ms / 1000 {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}
