//! What every bucket must do, as plain functions over the trait: each adapter's tests run them all.
//!
//! Each function keeps to keys of its own, so they may share a bucket. They panic where the bucket
//! fails.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::join_all;

use super::{Bucket, Headers, Kind, Put, Swap, Tag};

/// Runs every function of this suite on `bucket`.
pub async fn all(bucket: &dyn Bucket) {
    objects_come_back_as_they_were_put(bucket).await;
    a_missing_object_is_none(bucket).await;
    a_range_is_exact_or_an_error(bucket).await;
    a_batch_answers_for_each_object_in_order(bucket).await;
    large_objects_survive(bucket).await;
    odd_keys_are_keys(bucket).await;
    unsafe_keys_are_refused(bucket).await;
    a_swap_needs_the_content_it_expects(bucket).await;
    one_of_many_swaps_wins(bucket).await;
    deleting_is_idempotent_and_complete(bucket).await;
    listings_are_in_byte_order_and_paged(bucket).await;
    a_lock_has_one_holder(bucket).await;
}

/// A put without headers.
#[must_use]
pub fn put(key: &str, body: impl Into<Bytes>) -> Put {
    Put { key: key.to_owned(), body: body.into(), headers: Headers::default() }
}

async fn body(bucket: &dyn Bucket, key: &str) -> Option<Bytes> {
    bucket.get(key).await.expect("reading works").map(|object| object.body)
}

async fn write(bucket: &dyn Bucket, key: &str, content: &str) {
    bucket.put(put(key, content.to_owned())).await.expect("writing works");
}

/// Content, even empty content, comes back; the last put wins; equal content has an equal tag.
pub async fn objects_come_back_as_they_were_put(bucket: &dyn Bucket) {
    for (key, content) in
        [("put/one", "one"), ("put/deep/er/two", "two"), ("put/empty", ""), ("put/one", "new")]
    {
        write(bucket, key, content).await;
        assert_eq!(body(bucket, key).await.as_deref(), Some(content.as_bytes()), "{key}");
    }
    let first = bucket.get("put/one").await.expect("reading works").expect("it was put").tag;
    write(bucket, "put/one", "other").await;
    let second = bucket.get("put/one").await.expect("reading works").expect("it was put").tag;
    assert_ne!(first, second, "other content has another tag");
}

/// Absence is an answer, not a failure, also under a key that is an object and at one that is a folder.
pub async fn a_missing_object_is_none(bucket: &dyn Bucket) {
    write(bucket, "missing/here", "here").await;
    for key in ["missing/there", "missing/no/folder/either", "missing/here/below", "missing"] {
        assert_eq!(body(bucket, key).await, None, "{key}");
        let error = bucket.get_range(key, 0..1).await.expect_err("nothing to read");
        assert_eq!(error.kind, Kind::NotFound, "{key}: {error}");
    }
}

/// All of the bytes asked for, or an error.
pub async fn a_range_is_exact_or_an_error(bucket: &dyn Bucket) {
    write(bucket, "range/digits", "0123456789").await;
    for (range, content) in [(0..10, "0123456789"), (3..7, "3456"), (9..10, "9"), (5..5, "")] {
        let read = bucket.get_range("range/digits", range.clone()).await.expect("within the object");
        assert_eq!(read, content.as_bytes(), "{range:?}");
    }
    #[expect(clippy::reversed_empty_ranges, reason = "a caller's mistake must not panic")]
    for range in [0..11, 10..12, 100..200, 7..3, 0..u64::MAX] {
        let error = bucket.get_range("range/digits", range.clone()).await.expect_err("beyond the object");
        assert_eq!(error.kind, Kind::Other, "{range:?}: {error}");
    }
}

/// A failed object of a batch does not take the others with it.
pub async fn a_batch_answers_for_each_object_in_order(bucket: &dyn Bucket) {
    let mut puts: Vec<Put> = (0..300).map(|n| put(&format!("batch/{}/{n}", n % 7), n.to_string())).collect();
    puts.insert(150, put("../outside", "never"));
    let answers = bucket.put_many(puts).await;
    bucket.sync().await.expect("syncing works");
    assert_eq!(answers.len(), 301);
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.is_err(), n == 150, "{n}: {answer:?}");
    }
    for n in 0..300 {
        let key = format!("batch/{}/{n}", n % 7);
        assert_eq!(body(bucket, &key).await, Some(Bytes::from(n.to_string())), "{key}");
    }
}

/// Sixteen MiB and a bit.
pub async fn large_objects_survive(bucket: &dyn Bucket) {
    let content: Bytes =
        (0..(16 << 20) + 7_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    bucket.put(put("large/object", content.clone())).await.expect("writing works");
    assert!(body(bucket, "large/object").await == Some(content.clone()), "read back whole");
    let end = content.len() as u64;
    let tail = bucket.get_range("large/object", end - 1000..end).await.expect("within the object");
    assert_eq!(tail, content[content.len() - 1000..]);
}

/// Spaces, Unicode, plus and percent signs mean themselves.
pub async fn odd_keys_are_keys(bucket: &dyn Bucket) {
    let longest = format!("odd/{}", "x".repeat(200));
    let keys = [
        "odd/a b",
        "odd/a+b",
        "odd/a%20b",
        "odd/a%2Fb",
        "odd/gr\u{fc}\u{df}e",
        "odd/\u{65e5}\u{672c}/\u{8a9e}.json",
        "odd/\u{1f600}",
        "odd/a?b#c&d=e",
        "odd/'\"<>|*:;",
        "odd/...",
        "odd/.hidden",
        "odd/~",
        &longest,
    ];
    for key in keys {
        write(bucket, key, key).await;
    }
    for key in keys {
        assert_eq!(body(bucket, key).await.as_deref(), Some(key.as_bytes()), "{key}");
    }
    let mut sorted = keys.map(str::to_owned);
    sorted.sort_unstable();
    let listed = bucket.list("odd/", None, 100).await.expect("listing works");
    assert_eq!(listed.into_iter().map(|listed| listed.key).collect::<Vec<_>>(), sorted);
}

/// Keys that [`super::is_safe_key`] refuses never reach the storage.
pub async fn unsafe_keys_are_refused(bucket: &dyn Bucket) {
    let long = "x".repeat(256);
    for key in ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", "a\\b", "a\0b", "a\nb", &long] {
        assert!(bucket.get(key).await.is_err(), "get {key:?}");
        assert!(bucket.get_range(key, 0..1).await.is_err(), "get_range {key:?}");
        assert!(bucket.put(put(key, "x")).await.is_err(), "put {key:?}");
        assert!(bucket.compare_and_set(None, put(key, "x")).await.is_err(), "compare_and_set {key:?}");
        assert!(bucket.delete_many(vec![key.to_owned()]).await[0].is_err(), "delete {key:?}");
        assert!(bucket.try_lock(key).await.is_err(), "try_lock {key:?}");
    }
}

/// A swap with the right tag is done, one with another lost; a lost one changes nothing.
pub async fn a_swap_needs_the_content_it_expects(bucket: &dyn Bucket) {
    let key = "swap/one";
    let swap = async |expected: Option<&Tag>, content: &'static str| {
        bucket.compare_and_set(expected, put(key, content)).await.expect("swapping works")
    };
    let wrong = Tag("0".repeat(64));
    assert_eq!(swap(Some(&wrong), "early").await, Swap::Lost, "nothing there to replace");
    assert_eq!(body(bucket, key).await, None);
    let Swap::Done(first) = swap(None, "first").await else { panic!("nobody else writes here") };
    assert_eq!(swap(None, "again").await, Swap::Lost, "it is there by now");
    assert_eq!(swap(Some(&wrong), "wrong").await, Swap::Lost);
    assert_eq!(body(bucket, key).await.as_deref(), Some(&b"first"[..]));
    let read = bucket.get(key).await.expect("reading works").expect("it was put").tag;
    assert_eq!(read, first, "reading gives the same tag");
    let Swap::Done(second) = swap(Some(&first), "second").await else { panic!("the tag is right") };
    assert_eq!(swap(Some(&first), "late").await, Swap::Lost, "the tag is old");
    assert_eq!(body(bucket, key).await.as_deref(), Some(&b"second"[..]));
    assert!(matches!(swap(Some(&second), "third").await, Swap::Done(_)));
}

/// Eight writers race for fifty rounds: each round has one winner, and what is read back is its content.
pub async fn one_of_many_swaps_wins(bucket: &dyn Bucket) {
    let key = "race/current";
    let mut current: Option<Tag> = None;
    for round in 0..50 {
        let tries = (0..8).map(|writer| {
            let expected = current.clone();
            async move {
                let content = format!("round {round} writer {writer}");
                let swap = bucket.compare_and_set(expected.as_ref(), put(key, content.clone())).await;
                (content, swap.expect("swapping works"))
            }
        });
        let mut winners = Vec::new();
        for (content, swap) in join_all(tries).await {
            if let Swap::Done(tag) = swap {
                winners.push((content, tag));
            }
        }
        let [(content, tag)] = &winners[..] else { panic!("round {round}: winners {winners:?}") };
        let object = bucket.get(key).await.expect("reading works").expect("it was put");
        assert_eq!((object.body.as_ref(), &object.tag), (content.as_bytes(), tag), "round {round}");
        current = Some(object.tag);
    }
}

/// What is deleted is gone, what was absent counts as deleted, the rest stays.
pub async fn deleting_is_idempotent_and_complete(bucket: &dyn Bucket) {
    for key in ["delete/a/1", "delete/a/2", "delete/b/c/3", "delete/keep"] {
        write(bucket, key, key).await;
    }
    let keys =
        ["delete/a/1", "delete/a/2", "delete/b/c/3", "delete/never", "delete/keep/below", "delete/a/1"];
    let answers = bucket.delete_many(keys.map(str::to_owned).to_vec()).await;
    assert!(answers.len() == keys.len() && answers.iter().all(Result::is_ok), "{answers:?}");
    bucket.sync().await.expect("syncing works");
    let left = bucket.list("delete/", None, 10).await.expect("listing works");
    assert_eq!(left.iter().map(|listed| listed.key.as_str()).collect::<Vec<_>>(), ["delete/keep"]);
    // What was a folder may become an object, and the reverse.
    write(bucket, "delete/a", "object").await;
    assert!(bucket.delete_many(vec!["delete/a".to_owned()]).await[0].is_ok());
    write(bucket, "delete/a/1", "again").await;
    assert_eq!(body(bucket, "delete/a/1").await.as_deref(), Some(&b"again"[..]));
}

/// Byte order of whole keys, not of path components; pages of any size join without gap or repeat.
pub async fn listings_are_in_byte_order_and_paged(bucket: &dyn Bucket) {
    let keys = [
        "list/a",
        "list/a-b",
        "list/a.json",
        "list/b/1",
        "list/b/10",
        "list/b/2",
        "list/b-/x",
        "list/b.c/y",
        "list/b0",
        "list/c/d/e/f",
        "list/c/d/g",
        "list/z",
        "list/Z",
        "list/\u{e4}",
    ];
    let mut expected = BTreeMap::new();
    for key in keys {
        write(bucket, key, &key[..key.len() / 3]).await;
        expected.insert(key.to_owned(), (key.len() / 3) as u64);
    }
    for limit in [1, 2, 3, 5, 100] {
        let mut found = Vec::new();
        loop {
            let after = found.last().map(|(key, _): &(String, u64)| key.clone());
            let page = bucket.list("list/", after.as_deref(), limit).await.expect("listing works");
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page.into_iter().map(|listed| (listed.key, listed.size)));
        }
        assert_eq!(found, expected.clone().into_iter().collect::<Vec<_>>(), "pages of {limit}");
    }
    let inner = bucket.list("list/b/", Some("list/b/1"), 10).await.expect("listing works");
    assert_eq!(inner.iter().map(|listed| listed.key.as_str()).collect::<Vec<_>>(), ["list/b/10", "list/b/2"]);
    assert!(bucket.list("list/none/", None, 10).await.expect("listing works").is_empty());
    let between = bucket.list("list/", Some("list/b/15"), 1).await.expect("listing works");
    assert_eq!(between[0].key, "list/b/2", "`after` need not exist");
    let all = bucket.list("", None, 10_000).await.expect("listing works");
    assert!(all.is_sorted_by(|one, next| one.key < next.key) && all.len() > keys.len());
}

/// While one holds the lock nobody else gets it; once let go it is free.
pub async fn a_lock_has_one_holder(bucket: &dyn Bucket) {
    let take = async || bucket.try_lock("_edgepress/lock").await.expect("locking works");
    let held = take().await.expect("it is free");
    assert!(take().await.is_none(), "it is held");
    let other = bucket.try_lock("_edgepress/other").await.expect("locking works");
    assert!(other.is_some(), "another lock is free");
    drop(held);
    let again = join_all((0..8).map(|_| take())).await;
    assert_eq!(again.iter().flatten().count(), 1, "one of many gets it");
}

/// For buckets where one key cannot be the folder of another: both ways are refused and change nothing.
pub async fn a_key_below_an_object_is_blocked(bucket: &dyn Bucket) {
    write(bucket, "blocked/object", "object").await;
    write(bucket, "blocked/folder/object", "deep").await;
    for key in ["blocked/object/below", "blocked/object/far/below", "blocked/folder"] {
        let error = bucket.put(put(key, "x")).await.expect_err("something lies in the way");
        assert_eq!(error.kind, Kind::Blocked, "{error}");
        assert!(error.to_string().contains("another object lies at blocked/"), "{error}");
        let error =
            bucket.put_many(vec![put(key, "x")]).await.remove(0).expect_err("something lies in the way");
        assert_eq!(error.kind, Kind::Blocked, "{error}");
        let error = bucket.compare_and_set(None, put(key, "x")).await.expect_err("something lies in the way");
        assert_eq!(error.kind, Kind::Blocked, "{error}");
    }
    assert_eq!(body(bucket, "blocked/object").await.as_deref(), Some(&b"object"[..]));
    assert_eq!(body(bucket, "blocked/folder/object").await.as_deref(), Some(&b"deep"[..]));
}
