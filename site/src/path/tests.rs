use proptest::prelude::*;

use super::*;

fn document_path(text: &str) -> RequestPath {
    RequestPath::Document(DocPath::new(text).expect("a valid path"))
}

#[test]
fn a_document_path_is_refused_for_what_is_wrong_with_it() {
    let long_segment = format!("/{}", "x".repeat(201));
    let long = "/0123456789".repeat(90);
    for (text, error) in [
        ("", PathError::NotAbsolute),
        ("x", PathError::NotAbsolute),
        ("/", PathError::Folder),
        ("/x/", PathError::Folder),
        ("//x", PathError::EmptySegment),
        ("/x//y", PathError::EmptySegment),
        ("/./x", PathError::DotSegment),
        ("/x/..", PathError::DotSegment),
        (&long_segment, PathError::LongSegment(201)),
        (&long, PathError::Long(990)),
        ("/a\0", PathError::Control('\0')),
        ("/a\u{7f}", PathError::Control('\u{7f}')),
        ("/a\u{85}b", PathError::Control('\u{85}')),
        ("/a\\b", PathError::Backslash),
        ("/e\u{301}", PathError::NotNfc),
        ("/_edgepress", PathError::Reserved),
        ("/_edgepress/current", PathError::Reserved),
        ("/_v", PathError::Reserved),
        ("/_v/x", PathError::Reserved),
    ] {
        assert_eq!(DocPath::new(text), Err(error), "{text:?}");
    }
}

#[test]
fn what_merely_resembles_the_forbidden_is_allowed() {
    let most = format!("/{}", "x".repeat(200));
    for text in ["/x", "/...", "/.x", "/_version", "/_edgepress2/x", "/x/_v/y", "/a b", "/100%", "/?#", &most]
    {
        assert_eq!(DocPath::new(text).map(|path| path.to_string()), Ok(text.to_owned()));
    }
}

#[test]
fn a_path_is_encoded_once_and_its_key_is_the_decoded_path_without_the_slash() {
    let path = DocPath::new("/a b/\u{e9}'+?#%41&{}.json").expect("a valid path");
    assert_eq!(path.encode(), "/a%20b/%C3%A9%27%2B%3F%23%2541&%7B%7D.json");
    assert_eq!(path.key(), "a b/\u{e9}'+?#%41&{}.json");
}

#[test]
fn a_folder_is_told_from_a_common_prefix() {
    let path = |text| DocPath::new(text).expect("a valid path");
    assert!(path("/a").is_folder_of(&path("/a/b")));
    assert!(!path("/a").is_folder_of(&path("/ab")));
    assert!(!path("/a").is_folder_of(&path("/a")));
}

#[test]
fn a_request_is_decoded_once_and_brought_to_the_stored_spelling() {
    for (raw, path) in [
        ("/", "/index.html"),
        ("/x/", "/x/index.html"),
        ("/a%20b", "/a b"),
        ("/%2541", "/%41"),
        ("/e%CC%81", "/\u{e9}"),
        ("/e\u{301}", "/\u{e9}"),
        ("/\u{e9}", "/\u{e9}"),
        ("/%c3%A9", "/\u{e9}"),
        ("/a+b", "/a+b"),
    ] {
        assert_eq!(request_path(raw), Ok(document_path(path)), "{raw:?}");
    }
}

#[test]
fn reserved_requests_are_recognised_in_any_spelling() {
    let version = Version::of(b"abc");
    let document = DocPath::new("/a b.html").expect("a valid path");
    assert_eq!(
        request_path(&format!("/_v/{version}/a%20b.html")),
        Ok(RequestPath::Versioned(version, document))
    );
    for (raw, rest) in [
        ("/_edgepress", ""),
        ("/_edgepress/", ""),
        ("/_edgepress/release", "release"),
        ("/%5Fedgepress/check", "check"),
        ("/_edgepress/release/", "release/"),
    ] {
        assert_eq!(request_path(raw), Ok(RequestPath::Reserved(rest.to_owned())), "{raw:?}");
    }
    let nested = format!("/_v/{version}/_v/x");
    for (raw, error) in [
        ("/_v", PathError::NoVersion),
        ("/_v/", PathError::NoVersion),
        ("/_v/x/y", PathError::NoVersion),
        (&nested, PathError::Reserved),
        ("/_edgepress//x", PathError::EmptySegment),
        ("/_edgepress/../x", PathError::DotSegment),
    ] {
        assert_eq!(request_path(raw), Err(error), "{raw:?}");
    }
}

#[test]
fn a_request_that_hides_something_is_refused() {
    let long = format!("/{}", "x".repeat(4096));
    for (raw, error) in [
        ("", PathError::NotAbsolute),
        ("*", PathError::NotAbsolute),
        ("%2Fx", PathError::EncodedSlash),
        ("/a%2fb", PathError::EncodedSlash),
        ("/a%5Cb", PathError::EncodedSlash),
        ("/a\\b", PathError::Backslash),
        ("/a%00", PathError::Control('\0')),
        ("/a%0A", PathError::Control('\n')),
        ("/%2e%2E/x", PathError::DotSegment),
        ("/a/../x", PathError::DotSegment),
        ("//x", PathError::EmptySegment),
        ("//", PathError::EmptySegment),
        ("/%", PathError::BadEscape),
        ("/%4", PathError::BadEscape),
        ("/%4g", PathError::BadEscape),
        ("/%+4", PathError::BadEscape),
        ("/%\u{e9}", PathError::BadEscape),
        ("/%ff", PathError::NotUtf8),
        ("/%C0%AF", PathError::NotUtf8),
        ("/%ED%A0%80", PathError::NotUtf8),
        (&long, PathError::LongRequest(4097)),
    ] {
        assert_eq!(request_path(raw), Err(error), "{raw:?}");
    }
}

#[test]
fn a_path_read_from_json_is_checked() {
    let path: DocPath = serde_json::from_str(r#""/a\u00e9""#).expect("a valid path");
    assert_eq!(serde_json::to_string(&path).expect("paths print"), "\"/a\u{e9}\"");
    let error = serde_json::from_str::<DocPath>("\"x\"").expect_err("not absolute");
    assert!(error.to_string().starts_with("the path `x`: it must start with `/`"), "{error}");
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_to_itself(text in "/[ -~\u{a0}-\u{17f}\u{4e00}-\u{4e20}\u{1f600}-\u{1f610}]{1,40}") {
        let Ok(path) = DocPath::new(&text) else { return Ok(()) };
        prop_assert_eq!(request_path(&path.encode()), Ok(RequestPath::Document(path)));
    }

    #[test]
    fn arbitrary_requests_never_panic_and_give_only_valid_paths(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let escaped: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
        for raw in [format!("/{escaped}"), String::from_utf8_lossy(&bytes).into_owned()] {
            if let Ok(RequestPath::Document(path)) = request_path(&raw) {
                prop_assert_eq!(DocPath::new(path.as_str()), Ok(path));
            }
        }
    }
}
