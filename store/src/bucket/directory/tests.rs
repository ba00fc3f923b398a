use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

use std::os::fd::AsFd as _;

use super::writing::Temporary;
use super::*;
use crate::bucket::conformance::{self, put};
use crate::bucket::testing::Faulty;

async fn bucket() -> (tempfile::TempDir, Directory) {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Directory::open(folder.path().join("a/new/bucket"), "file:bucket").await.unwrap();
    (folder, bucket)
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_a_bucket() {
    let (_folder, bucket) = bucket().await;
    conformance::all(&bucket).await;
    conformance::a_key_below_an_object_is_blocked(&bucket).await;
    assert_eq!(files(&bucket.inner.path.join(TEMPORARY)), [""; 0], "no temporary file is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_bucket_without_faults_is_a_bucket() {
    let (_folder, bucket) = bucket().await;
    conformance::all(&Faulty::new(bucket)).await;
}

#[tokio::test]
async fn symbolic_links_are_never_followed() {
    let (folder, bucket) = bucket().await;
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    symlink(&outside, bucket.inner.path.join("link")).unwrap();
    symlink(outside.join("secret"), bucket.inner.path.join("file")).unwrap();
    for key in ["link/secret", "file"] {
        let error = bucket.get(key).await.unwrap_err();
        assert_eq!(error.kind, Kind::Denied, "{error}");
        assert!(error.to_string().contains("symbolic link"), "{error}");
        assert_eq!(bucket.get_range(key, 0..1).await.unwrap_err().kind, Kind::Denied);
    }
    assert_eq!(bucket.put(put("link/new", "x")).await.unwrap_err().kind, Kind::Denied);
    assert_eq!(
        bucket.delete_many(vec!["link/secret".to_owned()]).await[0].as_ref().unwrap_err().kind,
        Kind::Denied
    );
    assert_eq!(bucket.try_lock("link/lock").await.unwrap_err().kind, Kind::Denied);
    assert_eq!(bucket.list("", None, 10).await.unwrap(), []);
    // Writing at a link replaces the link, not what it points to.
    bucket.put(put("file", "ours")).await.unwrap();
    assert_eq!(files(&outside), ["secret"]);
    assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"secret");
}

#[tokio::test]
async fn deleting_prunes_empty_folders_but_never_our_own() {
    let (_folder, bucket) = bucket().await;
    bucket.put(put("a/b/2", "x")).await.unwrap();
    let keys = ["a/b/c/1", "x/y/z/3", "_edgepress/packs/4", "top"];
    assert!(bucket.put_many(keys.map(|key| put(key, "x")).to_vec()).await.iter().all(Result::is_ok));
    let gone = ["a/b/c/1", "x/y/z/3", "_edgepress/packs/4", "top"];
    assert!(bucket.delete_many(gone.map(str::to_owned).to_vec()).await.iter().all(Result::is_ok));
    assert_eq!(files(&bucket.inner.path), ["_edgepress", "a"]);
    assert_eq!(files(&bucket.inner.path.join("a/b")), ["2"]);
    assert_eq!(files(&bucket.inner.path.join(OWN)), ["tmp"]);
}

#[tokio::test]
async fn empty_folders_left_behind_do_not_block_an_object() {
    let (_folder, bucket) = bucket().await;
    std::fs::create_dir_all(bucket.inner.path.join("a/b/c")).unwrap();
    bucket.put(put("a", "object")).await.unwrap();
    assert_eq!(bucket.get("a").await.unwrap().unwrap().body, "object");
}

#[tokio::test]
async fn what_killed_writers_left_is_cleaned_and_living_ones_are_spared() {
    let (_folder, bucket) = bucket().await;
    bucket.put(put("a", "x")).await.unwrap();
    let temporary = bucket.inner.path.join(TEMPORARY);
    std::fs::write(temporary.join("1-1"), "left over").unwrap();
    let mut folders = Folders::open(&bucket.inner.path).unwrap();
    let folder = folders.temporary().unwrap();
    let living = Temporary::write(folder.as_fd(), b"being written", false).unwrap();
    Directory::open(&bucket.inner.path, "file:bucket").await.unwrap();
    assert_eq!(files(&temporary), [&*living.name]);
    drop(living);
    assert_eq!(files(&temporary), [""; 0]);
}

#[tokio::test]
async fn folders_pruned_by_others_during_a_batch_are_made_again() {
    let (_folder, bucket) = bucket().await;
    let mut folders = Folders::open(&bucket.inner.path).unwrap();
    place(&mut folders, &put("a/b/1", "x"), false).unwrap();
    std::fs::remove_dir_all(bucket.inner.path.join("a")).unwrap();
    place(&mut folders, &put("a/b/2", "y"), false).unwrap();
    assert_eq!(bucket.get("a/b/2").await.unwrap().unwrap().body, "y");
}

#[tokio::test]
async fn a_missing_or_forbidden_folder_is_a_clear_error() {
    let (folder, bucket) = bucket().await;
    std::fs::remove_dir_all(&bucket.inner.path).unwrap();
    let error = bucket.get("a").await.unwrap_err().to_string();
    assert!(error.contains("cannot read a in file:bucket: the bucket's folder is gone"), "{error}");
    std::fs::write(folder.path().join("file"), "x").unwrap();
    let error = Directory::open(folder.path().join("file/bucket"), "file:bucket").await.unwrap_err();
    assert_eq!(error.kind, Kind::Blocked, "{error}");
    // Root may write anywhere, so nothing is refused to it.
    if std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() != 0) {
        let locked = folder.path().join("locked");
        std::fs::create_dir(&locked).unwrap();
        std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o500)).unwrap();
        let error = Directory::open(locked.join("bucket"), "file:bucket").await.unwrap_err();
        assert_eq!(error.kind, Kind::Denied, "{error}");
    }
}

#[test]
fn errors_of_the_system_say_what_to_do() {
    for (errno, kind, remedy) in [
        (Errno::ACCESS, Kind::Denied, "the right to write"),
        (Errno::ROFS, Kind::Denied, "mount it writable"),
        (Errno::NOSPC, Kind::Full, "free some space"),
        (Errno::DQUOT, Kind::Full, "free some space"),
        (Errno::NOTDIR, Kind::Blocked, "remove one of them"),
        (Errno::NOENT, Kind::NotFound, ""),
        (Errno::IO, Kind::Other, ""),
    ] {
        let error = Failure::from(errno).of("write", "a", "file:bucket");
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.to_string().contains(remedy), "{error}");
    }
}

#[tokio::test]
async fn the_lock_of_a_killed_process_is_free() {
    let (_folder, bucket) = bucket().await;
    drop(bucket.try_lock("_edgepress/lock").await.unwrap().unwrap());
    let path = bucket.inner.path.join("_edgepress/lock");
    let script = "exec 9<>\"$1\" && flock -n 9 && echo held && exec sleep 60";
    let mut holder =
        Command::new("sh").args(["-c", script, "sh"]).arg(&path).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 5];
    holder.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert!(bucket.try_lock("_edgepress/lock").await.unwrap().is_none(), "the other process holds it");
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(bucket.try_lock("_edgepress/lock").await.unwrap().is_some());
}

#[tokio::test]
async fn a_dropped_caller_does_not_tear_a_batch() {
    let (_folder, bucket) = bucket().await;
    let puts: Vec<Put> = (0..500).map(|n| put(&format!("torn/{n}"), vec![7; 10_000])).collect();
    drop(tokio::time::timeout(Duration::from_millis(1), bucket.put_many(puts)).await);
    // The batch goes on by itself: wait until its last object is there.
    for _ in 0..5_000 {
        if bucket.get("torn/499").await.unwrap().is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let listed = bucket.list("torn/", None, 1000).await.unwrap();
    assert_eq!(listed.len(), 500);
    assert!(listed.iter().all(|listed| listed.size == 10_000));
}
