//! Disks that are full, folders without permission, databases that fail on the way.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::history::assert_whole;
use crate::support::{
    BINARY, Guarded, Ran, Random, Running, SITE, Site, files, is_root, live, mirror, run, tool,
};

/// Makes every document large and incompressible.
const GROW: &str = "UPDATE item SET name = hex(randomblob(6000))";

/// The size of a small disk, in MiB.
const DISK: u32 = 64;

/// What fills it.
const BALLAST: &str = "ballast";

/// A disk of [`DISK`] MiB under the site's bucket, in a namespace of its own: gone with its holder.
struct SmallDisk<'s> {
    site: &'s Site,
    holder: Guarded,
}

impl<'s> SmallDisk<'s> {
    /// `None` where this machine does not let us mount.
    fn mount(site: &'s Site) -> Option<Self> {
        std::fs::create_dir(site.bucket()).expect("it is not there yet");
        let script = "mount -t tmpfs -o size=$0m tmpfs bucket && echo mounted > mounted && exec cat";
        let mut command = Command::new("unshare");
        command.args(if is_root() { &["-m"][..] } else { &["-r", "-m"] });
        command.args(["sh", "-c", script, &DISK.to_string()]).current_dir(site.folder());
        let mut holder = Guarded::spawn(
            // It ends with its input, so with the test, however that ends.
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()),
        );
        while !site.path("mounted").exists() {
            if holder.0.try_wait().expect("a child of ours can be waited for").is_some() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(Self { site, holder })
    }

    /// A command in the namespace.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.0.id().to_string(), "-m"]);
        command.args(if is_root() { &[][..] } else { &["-U", "--preserve-credentials"] });
        // Entering leads to the root, from where the disk is seen.
        command.args(["sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(self.site.folder()).args(arguments);
        command
    }

    /// Leaves so many MiB free.
    fn fill(&self, mebibytes: u32) {
        let bytes = u64::from(DISK - mebibytes) << 20;
        std::fs::write(self.bucket().join(BALLAST), vec![1; bytes as usize]).expect("there is room");
    }

    /// Makes room again.
    fn clear(&self) {
        std::fs::remove_file(self.bucket().join(BALLAST)).expect("it is there");
    }

    /// The bucket, seen from outside.
    fn bucket(&self) -> PathBuf {
        let root = format!("/proc/{}/root{}", self.holder.0.id(), self.site.bucket().display());
        PathBuf::from(root)
    }
}

/// Publishes where `write` allows too little, then where it allows enough.
fn check_full(publish: &dyn Fn() -> Command, bucket: &std::path::Path, named: &[&str], is_released: bool) {
    let before = live(bucket);
    let ran = run(&mut publish());
    assert_eq!(ran.code, Some(1), "{}", ran.text());
    for named in named {
        assert!(ran.stderr.contains(named), "{named}: {}", ran.stderr);
    }
    let after = live(bucket);
    assert_eq!(after.number, before.number + u64::from(is_released), "{}", ran.stderr);
    assert!(is_released || after.documents == before.documents);
    assert_eq!(ran.stderr.contains("is live, but"), is_released, "{}", ran.stderr);
    assert!(files(&bucket.join("_edgepress/tmp")).is_empty(), "nothing half written takes space");
}

/// The same twice: with room for the packs only, and without.
fn check_small_disk(mebibytes: u32, is_released: bool) {
    let site = Site::small(200);
    let Some(disk) = SmallDisk::mount(&site) else {
        // Limits on the size of a file strike elsewhere, but leave the same to do.
        eprintln!("this machine lets nobody mount: files are limited instead");
        return check_limited_files();
    };
    disk.fill(mebibytes);
    let publish = || disk.command(&[BINARY, "publish"]);
    assert_eq!(run(&mut publish()).code, Some(0));
    site.sql(GROW);
    check_full(
        &publish,
        &disk.bucket(),
        &["No space left", "free some space or move the bucket to a larger disk"],
        is_released,
    );
    disk.clear();
    let ran = run(&mut publish());
    assert_eq!(ran.code, Some(0), "{}", ran.text());
    assert_eq!(mirror(&disk.bucket()), live(&disk.bucket()).documents);
    let ran = run(&mut disk.command(&[BINARY, "verify"]));
    assert_eq!(ran.code, Some(0), "{}", ran.text());
}

#[test]
fn a_disk_too_full_for_the_packs_leaves_the_live_release_alone() {
    check_small_disk(4, false);
}

#[test]
fn a_disk_too_full_for_the_mirror_releases_and_says_what_lags() {
    check_small_disk(9, true);
}

/// A small site that grew since it was published; without its list, for which the database sorts in files.
fn without_list() -> Site {
    let site = Site::small(200);
    let (items, _) = SITE.split_once("[[collection]]\nname = \"list\"").expect("the list comes last");
    site.write("site.toml", items);
    site.json("publish");
    site.sql(GROW);
    site
}

/// Publishes in full, so that the database need not sort rows by their keys in files of its own. Files may
/// have `blocks` of 512 bytes.
fn limited(site: &Site, blocks: u32) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit -f {blocks}; exec \"$0\" publish --full"), BINARY])
        .current_dir(site.folder());
    command
}

/// A publisher whose packs, and nothing else that it writes, are larger than allowed. The signal that tells of
/// it kills nobody.
fn check_limited_files() {
    let site = without_list();
    let publish = || limited(&site, 1_000);
    check_full(&publish, &site.bucket(), &["File too large", "ulimit -f"], false);
    site.json("publish");
    assert_whole(&site);
}

#[test]
fn files_that_may_not_grow_leave_the_live_release_alone() {
    check_limited_files();
}

/// Runs the command as somebody who may write only what everybody may.
fn as_nobody(site: &Site, arguments: &str) -> Ran {
    // The folders around our own command may be closed to others.
    let beside = site.path("edgepress");
    if !beside.exists() {
        std::fs::copy(BINARY, &beside).expect("there is room");
    }
    let mut command = Command::new(beside);
    command.current_dir(site.folder()).args(arguments.split_whitespace());
    if is_root() {
        command.uid(65_534).gid(65_534);
    }
    run(&mut command)
}

/// Changes who may do what with a folder and all that is in it.
fn chmod(site: &Site, mode: &str, name: &str) {
    tool(Command::new("chmod").args(["-R", mode]).arg(site.path(name)));
}

#[test]
fn a_bucket_that_may_not_be_written_is_named_with_the_remedy() {
    let site = Site::small(3);
    site.json("publish");
    site.sql("UPDATE item SET name = 'New'");
    chmod(&site, "a+rwX", ".");
    chmod(&site, "a-w", "bucket");
    let before = files(&site.bucket());
    for arguments in ["publish", "rollback 1"] {
        let ran = as_nobody(&site, arguments);
        assert_eq!(ran.code, Some(1), "{}", ran.text());
        for named in [
            "cannot lock _edgepress/lock in file:bucket: ",
            "Permission denied",
            "give the user that runs this command the right to write there",
        ] {
            assert_eq!(ran.stderr.matches(named).count(), 1, "{named}: {}", ran.stderr);
        }
    }
    assert!(files(&site.bucket()) == before);
    // Whoever may only read can still look.
    for arguments in ["check", "releases", "verify", "diff 1 1", "publish --dry-run"] {
        let ran = as_nobody(&site, arguments);
        assert_eq!(ran.code, Some(0), "{arguments}: {}", ran.text());
    }
    assert!(files(&site.bucket()) == before);
    let origin = Running::start_loaded(&site);
    assert_eq!(origin.body("/items/item-1.html"), "<h1>Item 1</h1>\n");
    // A database in WAL mode is written beside by its readers, too; what others left there would do.
    site.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    for suffix in ["wal", "shm"] {
        let _ = std::fs::remove_file(site.path(&format!("site.db-{suffix}")));
    }
    chmod(&site, "a-w", ".");
    let ran = as_nobody(&site, "check");
    assert_eq!(ran.code, Some(2), "{}", ran.text());
    for named in ["sqlite:site.db", "the right to write site.db and its folder"] {
        assert!(ran.stdout.contains(named), "{named}: {}", ran.text());
    }
    chmod(&site, "u+w", ".");
}

#[test]
fn a_folder_in_which_no_bucket_may_be_made_is_named() {
    let site = Site::small(3);
    site.json("check");
    std::fs::copy(BINARY, site.path("edgepress")).expect("there is room");
    chmod(&site, "a+rX", ".");
    chmod(&site, "a-w", ".");
    let ran = as_nobody(&site, "publish");
    assert_eq!(ran.code, Some(1), "{}", ran.text());
    assert!(ran.stderr.contains("the folder bucket in file:bucket: Permission denied"), "{}", ran.stderr);
    chmod(&site, "u+w", ".");
}

/// Puts another database in the place of the site's. What was written ahead belongs to the old one.
fn replace(site: &Site, database: &[u8]) {
    for suffix in ["wal", "shm"] {
        let _ = std::fs::remove_file(site.path(&format!("site.db-{suffix}")));
    }
    std::fs::write(site.path("site.db"), database).expect("there is room");
}

#[test]
fn a_database_that_breaks_on_the_way_leaves_the_live_release_alone() {
    let site = Site::small(1_200);
    site.json("publish");
    let right = std::fs::read(site.path("site.db")).expect("it is there");
    site.sql("UPDATE item SET name = 'New ' || id");
    let edited = std::fs::read(site.path("site.db")).expect("it is there");
    let before = live(&site.bucket()).root;
    // Pages near the end, overwritten.
    let mut broken = edited.clone();
    let from = broken.len() * 9 / 10;
    broken[from..].fill(0x5a);
    replace(&site, &broken);
    let message = site.refuses(1, "publish");
    assert!(message.contains("malformed"), "{message}");
    assert!(message.contains("collection `item`") || message.contains("the site's database"), "{message}");
    assert_eq!(live(&site.bucket()).root, before);
    // A file cut off while it is read.
    let mut random = Random(3);
    for _ in 0..5 {
        replace(&site, &edited);
        let mut publish =
            Guarded::spawn(site.command("publish --yes").stdout(Stdio::null()).stderr(Stdio::null()));
        std::thread::sleep(Duration::from_millis(random.below(400)));
        let file = std::fs::OpenOptions::new().write(true).open(site.path("site.db")).expect("it is there");
        file.set_len(edited.len() as u64 / 3).expect("it is ours");
        let code = publish.wait().code();
        let now = live(&site.bucket());
        match code {
            Some(0) => assert_eq!(
                now.documents["/items/item-1200.json"],
                br#"{"id":1200,"slug":"item-1200","name":"New 1200"}"#
            ),
            code => assert!(code == Some(1) && now.root == before, "{code:?}"),
        }
        replace(&site, &right);
        site.json("publish");
    }
    assert_whole(&site);
}
