use proptest::prelude::*;

use super::*;

fn pattern(source: &str) -> Pattern {
    Pattern::parse(source).expect("a valid pattern")
}

fn texts(source: &str, path: &str) -> Option<Vec<String>> {
    let pattern = pattern(source);
    let captures = pattern.matches(path)?;
    Some(captures.iter().map(|(_, text)| text.to_owned()).collect())
}

#[test]
fn a_malformed_pattern_is_refused_for_what_is_wrong_with_it() {
    for (source, message) in [
        ("", "it must start with `/`"),
        ("{a}", "it must start with `/`"),
        ("x/{a}", "it must start with `/`"),
        ("/{a", "`{` has no `}` after it; write captures as `{column}`"),
        ("/a}", "`}` has no `{` before it; write captures as `{column}`"),
        ("/{a}}", "`}` has no `{` before it; write captures as `{column}`"),
        ("/{}", "`{}` names no column; write `{column}`"),
        ("/{{a}}", "`{{a}` is not a column's name; write `{column}`"),
        ("/{a/b}", "`{a/b}` is not a column's name; write `{column}`"),
        ("/{ a }", "`{ a }` is not a column's name; write `{column}`"),
        ("/{a}/{a}", "`{a}` stands in it twice; once is enough"),
        ("/{a}{b}", "`{a}{b}` cannot be told apart; put a character between them"),
        ("/{a}/", "it ends with `/`, but must name a file, such as `/x/index.html`"),
        ("/{a}//b", "it has two `/` in a row"),
        ("/../{a}", "it has a segment `.` or `..`"),
        ("/_v/{a}", "`/_edgepress` and `/_v` are reserved; choose another first segment"),
        ("/e\u{301}{a}", "it is not in Unicode's normal form NFC; store the text normalised"),
        ("/a\\{a}", "it has a backslash; segments are separated by `/`"),
    ] {
        let error = Pattern::parse(source).expect_err(source);
        assert_eq!(error.to_string(), message, "{source}");
    }
}

#[test]
fn earlier_captures_take_as_much_as_they_can_and_never_a_slash() {
    for (source, path, expected) in [
        ("/x.json", "/x.json", Some(vec![])),
        ("/x.json", "/x.jso", None),
        ("/x.json", "/x.json/", None),
        ("/p/{a}.json", "/p/1.json", Some(vec!["1"])),
        ("/p/{a}.json", "/p/.json", None),
        ("/p/{a}.json", "/p/a/b.json", None),
        ("/p/{a}.json", "/p/a.json.json", Some(vec!["a.json"])),
        ("/p/{a}", "/p/", None),
        ("/{a}", "/\u{e9}", Some(vec!["\u{e9}"])),
        ("/{a}-{b}", "/red-shoe-7", Some(vec!["red-shoe", "7"])),
        ("/{a}-{b}", "/--7", Some(vec!["-", "7"])),
        ("/{a}-{b}", "/7--", Some(vec!["7", "-"])),
        ("/{a}-{b}", "/---", Some(vec!["-", "-"])),
        ("/{a}-{b}", "/-7", None),
        ("/{a}-{b}", "/7-", None),
        ("/{a}-{b}-{c}", "/1-2-3-4", Some(vec!["1-2", "3", "4"])),
        ("/{a}--{b}", "/a---b", Some(vec!["a-", "b"])),
        ("/{a}/x-{b}", "/q/x-x-1", Some(vec!["q", "x-1"])),
        ("/{a}/x-{b}", "/x-q/x-1", Some(vec!["x-q", "1"])),
        ("/{a}/{b}/c", "/1/2/c", Some(vec!["1", "2"])),
        ("/{a}/{b}/c", "/1/2/3/c", None),
        ("/aa{a}aa", "/aaa", None),
        ("/aa{a}aa", "/aaaaa", Some(vec!["a"])),
    ] {
        let expected = expected.map(|texts| texts.into_iter().map(str::to_owned).collect());
        assert_eq!(texts(source, path), expected, "{source} {path}");
    }
}

#[test]
fn a_text_that_cannot_stand_in_a_path_is_refused_by_the_columns_name() {
    for (text, message) in [
        (None, "column `a` has no text to put in the path: it must be an integer or text, and not NULL"),
        (Some(""), "column `a` is empty, and stands in the path"),
        (Some("x/y"), "column `a` contains `/`, and stands in one segment of the path"),
        (Some("x\\y"), "column `a` stands in the path: it has a backslash; segments are separated by `/`"),
        (Some("x\0"), "column `a` stands in the path: it has the control character U+0000"),
        (
            Some("e\u{301}"),
            "column `a` stands in the path: it is not in Unicode's normal form NFC; store the text normalised",
        ),
        (
            Some("_v"),
            "the path `/_v/e.html`: `/_edgepress` and `/_v` are reserved; choose another first segment",
        ),
        (Some(".."), "the path `/../e.html`: it has a segment `.` or `..`"),
    ] {
        let error = pattern("/{a}/e.html").expand(|_| text.map(Cow::Borrowed)).expect_err(message);
        assert_eq!(error.to_string(), message);
    }
    let error = pattern("/e{a}").expand(|_| Some("\u{301}".into())).expect_err("composes with the literal");
    assert!(matches!(error, ExpandError::Path { error: PathError::NotNfc, .. }), "{error}");
    let long = "é".repeat(1 << 20);
    let error = pattern("/{a}").expand(|_| Some(long.as_str().into())).expect_err("beyond all limits");
    assert!(error.to_string().len() < 400, "a message shows the beginning of a path only");
}

#[test]
fn a_pattern_is_its_source_in_json() {
    let own: Pattern = serde_json::from_str(r#""/{a}.json""#).expect("a valid pattern");
    assert_eq!(own, pattern("/{a}.json"));
    assert_eq!(serde_json::to_string(&own).expect("patterns print"), r#""/{a}.json""#);
    assert!(serde_json::from_str::<Pattern>(r#""/{a""#).is_err());
}

#[test]
fn matching_is_linear_in_the_path() {
    let source: String = (0..90).map(|index| format!("{{c{index}}}a")).collect();
    let own = pattern(&format!("/{source}"));
    let path = format!("/{}b", "a".repeat(200_000));
    assert!(own.matches(&path).is_none());
    assert!(own.matches(&path[..path.len() - 1]).is_some());
}

proptest! {
    #[test]
    fn a_path_matches_the_pattern_that_made_it(
        source in "/[ab.-]{0,2}(\\{one\\}[ab./-]{1,3}\\{two\\}|\\{one\\})[ab.-]{0,2}",
        one in "[ab.\u{e9}-]{1,4}",
        two in "[ab.\u{e9}-]{1,4}",
    ) {
        let Ok(own) = Pattern::parse(&source) else { return Ok(()) };
        let text = |column: &str| if column == "one" { one.clone() } else { two.clone() };
        let Ok(path) = own.expand(|column| Some(text(column).into())) else { return Ok(()) };
        let captures = own.matches(path.as_str());
        let captures = captures.as_ref().ok_or_else(|| TestCaseError::fail("it must match"))?;
        // Read otherwise or not, what was read makes the same path again.
        let again = own.expand(|column| captures.get(column).map(Cow::Borrowed));
        prop_assert_eq!(again.as_ref(), Ok(&path));
        if !source.contains("two") {
            prop_assert_eq!(captures.get("one"), Some(&*one));
        }
        prop_assert!(captures.get("one").map(str::len) >= Some(one.len()));
    }

    #[test]
    fn arbitrary_patterns_and_paths_never_panic(source in "/?[{}a/\u{301}]{0,9}", path in "/?[a/\u{301}]{0,9}") {
        if let Ok(own) = Pattern::parse(&source) {
            let _ = own.matches(&path);
        }
    }
}
