use super::*;
use crate::definition::{Document, Pages};
use crate::policy::Policy;

fn document(path: &str, pages: Option<Option<&str>>) -> Document {
    let pattern = |source: &str| Pattern::parse(source).expect("a valid pattern");
    Document {
        path: pattern(path),
        template: None,
        media_type: "text/html".to_owned(),
        cache: Policy::default(),
        pages: pages.map(|first| Pages { of: "rows".to_owned(), size: 2, first: first.map(pattern) }),
        line: 0,
    }
}

fn collection(documents: Vec<Document>) -> Collection {
    Collection {
        name: "some".to_owned(),
        query: None,
        includes: Vec::new(),
        documents,
        refresh: None,
        fallback: true,
        line: 0,
    }
}

fn router() -> Router {
    let file = |text| DocPath::new(text).expect("a valid path");
    Router::new(
        [file("/style.css"), file("/a/fixed.html")],
        &[
            collection(vec![document("/a/{slug}.html", None), document("/{kind}-{id}.html", None)]),
            collection(vec![
                document("/b/{slug}-{page}.html", Some(Some("/b/{slug}.html"))),
                document("/c/{page}.html", Some(None)),
            ]),
            collection(vec![document("/a/about.html", None), document("/a/fixed.html", None)]),
        ],
    )
}

#[test]
fn static_files_come_first_then_literal_paths_then_patterns_in_order() {
    let router = router();
    for (path, expected) in [
        ("/style.css", "static"),
        ("/a/fixed.html", "static"),
        ("/a/about.html", "2 0 false"),
        ("/a/x.html", "0 0 false slug=x"),
        ("/x-1.html", "0 1 false kind=x id=1"),
        ("/b/x.html", "1 0 true slug=x"),
        ("/b/x-2.html", "1 0 false slug=x page=2"),
        ("/b/x-1.html", "1 0 true slug=x-1"),
        ("/b/x-02.html", "1 0 true slug=x-02"),
        ("/c/1.html", "1 1 false page=1"),
        ("/c/10.html", "1 1 false page=10"),
        ("/c/0.html", "nobody"),
        ("/c/01.html", "nobody"),
        ("/c/+1.html", "nobody"),
        ("/c/99999999999.html", "nobody"),
        ("/c/x.html", "nobody"),
        ("/a/x/y.html", "nobody"),
    ] {
        let owner = match router.owner(path) {
            None => "nobody".to_owned(),
            Some(Owner::Static) => "static".to_owned(),
            Some(Owner::Document(Route { collection, document, first_page, captures })) => {
                let texts: String =
                    captures.iter().map(|(column, text)| format!(" {column}={text}")).collect();
                format!("{collection} {document} {first_page}{texts}")
            }
        };
        assert_eq!(owner, expected, "{path}");
    }
}

#[test]
fn a_path_is_owned_only_by_the_row_whose_texts_it_gives_back() {
    let router = router();
    let own = |source: (usize, usize, bool), path: &str, texts: &[(&str, &str)]| {
        let path = DocPath::new(path).expect("a valid path");
        let text = |column: &str| {
            texts.iter().find(|(own, _)| *own == column).map(|(_, text)| Cow::Owned((*text).to_owned()))
        };
        router.owns(&path, source, text).map_err(|error| error.to_string())
    };
    assert_eq!(own((0, 0, false), "/a/x.html", &[("slug", "x")]), Ok(()));
    assert_eq!(own((1, 0, true), "/b/x.html", &[("slug", "x")]), Ok(()));
    assert_eq!(own((1, 0, false), "/b/x-2.html", &[("slug", "x"), ("page", "2")]), Ok(()));
    for (source, path, texts, message) in [
        ((0, 0, false), "/a/fixed.html", vec![("slug", "fixed")], "belongs to a static file"),
        ((0, 0, false), "/a/about.html", vec![("slug", "about")], "belongs to the document `/a/about.html`"),
        (
            (1, 0, true),
            "/b/x-2.html",
            vec![("slug", "x-2")],
            "belongs to the document `/b/{slug}-{page}.html`",
        ),
        ((1, 1, false), "/c/0.html", vec![("page", "0")], "belongs to no document"),
        (
            (0, 1, false),
            "/x-y-z.html",
            vec![("kind", "x"), ("id", "y-z")],
            "reads as kind `x-y`, but was made from `x`",
        ),
    ] {
        let error = own(source, path, &texts).expect_err(path);
        assert!(error.contains(message), "{error}");
    }
}
