//! A machine with a screen and a keyboard, and no port for its console. The screen says all that somebody in front of it
//! needs to reach it from elsewhere; the keys do nothing.

use anyhow::{Context, Result, ensure};
use tests::{
    apictl::Apictl,
    artifacts,
    chaos::Chaos,
    runner::Story,
    vm::{BOOT, Serial, Spec, Vm},
    wait,
};

/// What somebody at the keyboard might try: words, control keys, the one that stops a terminal, other consoles, the kernel's
/// own keys (show everything, end everything, reboot).
const KEYS: &[&[&str]] = &[
    &["z", "z", "z", "ret"],
    &["ctrl-c", "ctrl-d", "ctrl-s", "ctrl-z", "ctrl-backslash"],
    &["esc", "alt-f2", "ctrl-alt-f3", "alt-right"],
    &["scroll_lock"],
    &["alt-sysrq-t", "alt-sysrq-e", "alt-sysrq-b"],
];

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_screen_shows_who_the_machine_is_and_its_keyboard_does_nothing", story)]
}

fn story() -> Result<()> {
    let mut spec = Spec { serial: Serial::Wire, tpm: false, ..Spec::disk(&artifacts::test_image())? };
    spec.extra = ["-device", "VGA"].map(Into::into).to_vec();
    let vm = Vm::start(&spec)?;
    // Whoever has no console waits for the API; nothing it says is believed yet.
    let mut apictl = Apictl::insecure(&vm);
    apictl.wait_maintenance()?;
    let mut chaos = Chaos::of(&vm)?;
    let page = wait_page(&vm, &mut chaos, "the page to be whole", &["maintenance", "eth0 10.0.2.15/24"])?;

    // The operator reads the fingerprint here; from then on everything can be compared with what the API says.
    let fingerprint =
        page.split_whitespace().find(|word| word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit()));
    apictl.pin(fingerprint.with_context(|| format!("no fingerprint on the screen: {page}"))?);
    let machine = &apictl.get("machine", "machine")?["value"];
    for field in ["version", "machineId", "hostname", "phase"] {
        let value = machine[field].as_str().unwrap_or_default();
        ensure!(!value.is_empty() && page.contains(value), "the {field} '{value}' is not on the screen: {page}");
    }

    for keys in KEYS {
        press(&vm, &mut chaos, keys)?;
    }
    // The page still goes on, with nothing of what was typed.
    chaos.call("tell never-ready")?;
    let page = wait_page(&vm, &mut chaos, "the page to go on", &["never-ready"])?;
    ensure!(!page.contains("zz"), "what was typed is shown:\n{page}");
    ensure!(apictl.get("machine", "machine")?["value"]["bootId"] == machine["bootId"], "a key rebooted it");
    Ok(())
}

/// Waits until the screen shows all of that.
fn wait_page(vm: &Vm, chaos: &mut Chaos, what: &str, wanted: &[&str]) -> Result<String> {
    let mut last = String::new();
    let found = wait::until(what, BOOT, || {
        last = text(vm, chaos).unwrap_or_else(|error| format!("{error:#}"));
        wanted.iter().all(|part| last.contains(part)).then_some(())
    });
    found.with_context(|| format!("the screen shows:\n{last}"))?;
    Ok(last)
}

/// Presses and releases keys, one after the other, and waits until the guest's kernel has taken them.
fn press(vm: &Vm, chaos: &mut Chaos, keys: &[&str]) -> Result<()> {
    for key in keys {
        let before = interrupts(chaos)?;
        vm.qmp.human(&format!("sendkey {key} 20"))?;
        // Each key of a combination is one interrupt or more down, and up.
        let wanted = before + 2 * u64::try_from(key.split('-').count())?;
        wait::until(&format!("the key {key}"), BOOT, || (interrupts(chaos).ok()? >= wanted).then_some(()))?;
    }
    Ok(())
}

/// How often the keyboard's controller asked for the kernel's attention.
fn interrupts(chaos: &mut Chaos) -> Result<u64> {
    let table = chaos.call("cat /proc/interrupts")?;
    let line = table
        .iter()
        .find(|line| line.trim_start().starts_with("1:"))
        .with_context(|| format!("no keyboard:\n{}", table.join("\n")))?;
    line.split_whitespace().nth(1).and_then(|count| count.parse().ok()).with_context(|| format!("no count: {line}"))
}

/// The rows on the screen. The kernel says which letters it shows, and the picture agrees.
fn text(vm: &Vm, chaos: &mut Chaos) -> Result<String> {
    let before = chaos.call("cat /dev/vcs")?.concat();
    let screen = vm.screen()?;
    ensure!(chaos.call("cat /dev/vcs")?.concat() == before, "redrawn in between");
    let different = screen.shows(&before)?;
    ensure!(different > 10, "only {different} letters: {before}");
    let letters: Vec<char> = before.chars().collect();
    Ok(letters.chunks(screen.columns()).map(|row| row.iter().collect::<String>()).collect::<Vec<_>>().join("\n"))
}
