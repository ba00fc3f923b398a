use proptest::prelude::*;

use super::*;

/// Sun, 06 Nov 1994 08:49:37 GMT
const MODIFIED: u64 = 784_111_777;

/// `METHOD field: value; field: value -> status`. `V` is the current version and `O` another one.
/// The document was modified when RFC 9110 was dreamt of: Sun, 06 Nov 1994 08:49:37 GMT.
const ROWS: &str = r#"
GET -> 200
POST -> 200
GET none: "V" -> 304
POST none: "V" -> 412
GET none: "O" -> 200
POST none: "O" -> 200
GET none: W/"V" -> 304
POST none: W/"V" -> 412
GET none: "V.br" -> 304
GET none: "V.gzip" -> 304
GET none: W/"V.zstd" -> 304
GET none: "O.br" -> 200
GET none: "V." -> 200
GET none: "V.b r" -> 200
GET none: "V.br.br" -> 200
GET none: "Vbr" -> 200
GET none: "V-gzip" -> 200
GET none: ".V" -> 200
GET none: "" -> 200
GET none: * -> 304
GET none:  * -> 304
POST none: * -> 412
GET none: "*" -> 200
GET none: "O", * -> 200
GET none: *; none: "O" -> 200
GET none: *; none: "V" -> 304
GET none: "O", "V" -> 304
GET none: "V", "O" -> 304
GET none: "O","V" -> 304
GET none: "O" , W/"V.br" , "O" -> 304
GET none: ,, "V",, -> 304
GET none: , -> 200
GET none: "a,b", "V" -> 304
GET none: "a,V" -> 200
GET none: "a,"V"" -> 200
GET none: "O"; none: "V" -> 304
GET none: "O"; none: "O"; none: W/"V" -> 304
GET none: "O"; none: "O" -> 200
GET none: -> 200
GET none: V -> 200
GET none: 'V' -> 200
GET none: "V -> 200
GET none: V" -> 200
GET none: w/"V" -> 200
GET none: W/V -> 200
GET none: W/ "V" -> 200
GET none: nonsense, "V" -> 304
GET none: "open, "V" -> 304
GET none: "V" nonsense -> 200
GET none: "V" nonsense, "V" -> 304
GET none: "a b", "V" -> 304
GET none: "V ", "O" -> 200
GET match: "V" -> 200
GET match: "V.br" -> 200
GET match: "O" -> 412
POST match: "V" -> 200
POST match: "O" -> 412
GET match: W/"V" -> 412
GET match: W/"V", "V" -> 200
GET match: "O", "V" -> 200
GET match: "O"; match: "V" -> 200
GET match: * -> 200
POST match: * -> 200
GET match: "O", * -> 412
GET match: -> 412
GET match: nonsense -> 412
GET match: nonsense, "V" -> 200
GET since: Sun, 06 Nov 1994 08:49:37 GMT -> 304
GET since: Sun, 06 Nov 1994 08:49:38 GMT -> 304
GET since: Sun, 06 Nov 1994 08:49:36 GMT -> 200
POST since: Sun, 06 Nov 1994 08:49:37 GMT -> 200
GET since: Sunday, 06-Nov-94 08:49:37 GMT -> 304
GET since: Sun Nov  6 08:49:37 1994 -> 304
GET since:  Sun, 06 Nov 1994 08:49:37 GMT -> 304
GET since: Mon, 06 Nov 1994 08:49:37 GMT -> 200
GET since: Sun, 06 Nov 1994 08:49:37 CET -> 200
GET since: 784111777 -> 200
GET since: -> 200
GET since: Fri, 31 Dec 9999 23:59:59 GMT -> 304
GET since: Sun, 06 Nov 1994 08:49:37 GMT; since: Sun, 06 Nov 1994 08:49:37 GMT -> 200
GET unless: Sun, 06 Nov 1994 08:49:37 GMT -> 200
GET unless: Sun, 06 Nov 1994 08:49:38 GMT -> 200
GET unless: Sun, 06 Nov 1994 08:49:36 GMT -> 412
POST unless: Sun, 06 Nov 1994 08:49:36 GMT -> 412
GET unless: nonsense -> 200
GET none: "O"; since: Sun, 06 Nov 1994 08:49:37 GMT -> 200
GET none: "V"; since: Sun, 06 Nov 1994 08:49:36 GMT -> 304
GET none: nonsense; since: Sun, 06 Nov 1994 08:49:37 GMT -> 200
GET match: "V"; unless: Sun, 06 Nov 1994 08:49:36 GMT -> 200
GET match: "O"; unless: Sun, 06 Nov 1994 08:49:37 GMT -> 412
GET match: "V"; none: "V" -> 304
POST match: "V"; none: "V" -> 412
GET match: "O"; none: "V" -> 412
GET match: "V"; none: "O" -> 200
GET match: "V"; since: Sun, 06 Nov 1994 08:49:37 GMT -> 304
GET unless: Sun, 06 Nov 1994 08:49:37 GMT; since: Sun, 06 Nov 1994 08:49:37 GMT -> 304
GET unless: Sun, 06 Nov 1994 08:49:36 GMT; since: Sun, 06 Nov 1994 08:49:37 GMT -> 412
GET unless: Sun, 06 Nov 1994 08:49:36 GMT; none: "V" -> 412
GET unless: Sun, 06 Nov 1994 08:49:37 GMT; none: "V" -> 304
"#;

fn status(row: &str, last_modified: Option<u64>) -> &'static str {
    let version = Version::of(b"current");
    let (method, fields) = row.split_once(' ').unwrap_or((row, ""));
    let method = if method == "GET" { Method::GetOrHead } else { Method::Other };
    let fields: Vec<(&str, String)> = fields
        .split("; ")
        .filter_map(|field| field.split_once(':'))
        .map(|(name, value)| (name, value.strip_prefix(' ').unwrap_or(value)))
        .map(|(name, value)| match name {
            "since" | "unless" => (name, value.to_owned()),
            _ => {
                let other = Version::of(b"other").to_string();
                (name, value.replace('O', &other).replace('V', &version.to_string()))
            }
        })
        .collect();
    let lines = |wanted: &str| -> Lines<'_> {
        fields.iter().filter(|(name, _)| *name == wanted).map(|(_, value)| value.as_bytes()).collect()
    };
    let conditions = Conditions {
        method,
        if_match: lines("match"),
        if_none_match: lines("none"),
        if_modified_since: lines("since"),
        if_unmodified_since: lines("unless"),
    };
    match evaluate(&conditions, &version, last_modified) {
        Outcome::Send => "200",
        Outcome::NotModified => "304",
        Outcome::PreconditionFailed => "412",
    }
}

#[test]
fn every_condition_has_the_outcome_of_rfc_9110() {
    let rows = ROWS.lines().filter(|row| !row.is_empty());
    for row in rows {
        let (request, expected) = row.rsplit_once("-> ").expect("a row has an outcome");
        assert_eq!(status(request.trim_end(), Some(MODIFIED)), expected, "{row}");
    }
}

#[test]
fn without_a_modification_date_conditions_on_it_are_ignored() {
    for field in ["since", "unless"] {
        for date in ["Sun, 06 Nov 1994 08:49:36 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(status(&format!("GET {field}: {date}"), None), "200");
        }
    }
    assert_eq!(status("GET none: \"V\"", None), "304");
}

#[test]
fn a_request_without_conditions_is_answered_in_full() {
    let version = Version::of(b"current");
    assert_eq!(evaluate(&Conditions::none(Method::GetOrHead), &version, Some(0)), Outcome::Send);
}

proptest! {
    #[test]
    fn arbitrary_fields_never_panic(
        fields in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4),
        lists in proptest::collection::vec("[W/\",* a-f0-9.]{0,40}", 0..4),
        date in "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
        known in "(Sun|Mon), [0-9]{2} (Jan|Feb|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
    ) {
        let version = Version::of(b"current");
        let lines = || fields.iter().map(Vec::as_slice).collect::<Lines<'_>>();
        let tags = || lists.iter().map(String::as_bytes).collect::<Lines<'_>>();
        for method in [Method::GetOrHead, Method::Other] {
            let arbitrary = Conditions {
                method,
                if_match: lines(),
                if_none_match: lines(),
                if_modified_since: lines(),
                if_unmodified_since: lines(),
            };
            let _ = evaluate(&arbitrary, &version, Some(MODIFIED));
            let likely = Conditions {
                method,
                if_match: Lines::default(),
                if_none_match: tags(),
                if_modified_since: [date.as_bytes()].into_iter().collect(),
                if_unmodified_since: [known.as_bytes()].into_iter().collect(),
            };
            let _ = evaluate(&likely, &version, Some(MODIFIED));
        }
    }

    #[test]
    fn the_current_tag_is_found_among_any_well_formed_others(
        before in proptest::collection::vec("(W/)?\"[!#-~]{0,9}\"", 0..4),
        after in proptest::collection::vec("(W/)?\"[!#-~]{0,9}\"", 0..4),
    ) {
        let version = Version::of(b"current");
        let own = [format!("\"{version}\"")];
        let list: Vec<String> = before.into_iter().chain(own).chain(after).collect();
        let line = list.join(", ");
        let if_none_match = [line.as_bytes()].into_iter().collect();
        let conditions = Conditions { if_none_match, ..Conditions::none(Method::GetOrHead) };
        prop_assert_eq!(evaluate(&conditions, &version, None), Outcome::NotModified);
    }
}
