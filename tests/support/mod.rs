//! What the tests share: sites in temporary folders, the command, running servers, a client, and a way
//! to see what a bucket holds. Refuses to judge any of it.

mod bucket;
mod http;
mod running;
mod site;
mod stop;

use std::io::ErrorKind;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use edgepress_publisher::Options;

pub(crate) use bucket::{Files, Live, files, live, mirror};
pub(crate) use http::Client;
pub(crate) use running::{Running, read_all};
pub(crate) use site::{SITE, Site};
pub(crate) use stop::{Stop, StoppedBucket, StoppedDatabase, Writes};

/// The command under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_edgepress");

/// Nothing that a test waits for takes so long, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A plain publish, whatever it removes: few tests are about the guard.
pub(crate) const YES: Options = Options {
    full: false,
    dry_run: false,
    yes: true,
    resume: false,
    keep_going: false,
    patient: false,
    list: 0,
    wait: None,
};

/// What a command said when it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit code; a killed command has none.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Everything it printed.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// A child that does not outlive the test.
pub(crate) struct Guarded(pub(crate) Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // One that has ended already needs no killing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Guarded {
    /// Starts `command`; if its program is missing, the test fails with the remedy.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let program = command.get_program().to_owned();
        Self(command.spawn().unwrap_or_else(|error| match error.kind() {
            ErrorKind::NotFound => panic!("{program:?} is missing: `./test` installs what tests need"),
            _ => panic!("cannot start {program:?}: {error}"),
        }))
    }

    /// Waits until it ends.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("a child of ours can be waited for") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "a command does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ran {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Guarded::spawn(command);
    let out = child.0.stdout.take().map(read_all);
    let err = child.0.stderr.take().map(read_all);
    let status = child.wait();
    let text = |reader: Option<std::thread::JoinHandle<Vec<u8>>>| {
        let bytes = reader.expect("it was piped").join().expect("readers do not panic");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ran { code: status.code(), stdout: text(out), stderr: text(err) }
}

/// Runs a program that the tests need beside the command itself.
pub(crate) fn tool(command: &mut Command) -> Output {
    let program = command.get_program().to_owned();
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| match error.kind() {
        ErrorKind::NotFound => panic!("{program:?} is missing: `./test` installs what tests need"),
        _ => panic!("cannot run {program:?}: {error}"),
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Waits until `is_so`, which is asked again and again.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "in vain waited until {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Sends SIGTERM to a process that a test started.
pub(crate) fn terminate(child: &Child) {
    tool(Command::new("kill").args(["-TERM", &child.id().to_string()]));
}

/// Whether the tests run as root, who may read and write everything.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").expect("Linux has /proc").uid() == 0
}

/// A temporary folder in memory, where there is such a place: for tests that ask nothing of a disk.
pub(crate) fn memory_folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("edgepress-test-");
    let folder = if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() };
    folder.expect("there is room")
}

/// Numbers that look random and are the same for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
