//! Media types by file extension.
//!
//! Owns the one table. The type of a document is part of the hashed content, so the table is ours and
//! changes only on purpose. Refuses to look into bodies and to guess: an unknown extension is the
//! caller's to decide.

/// Extensions and their types, in the order of the extensions.
const TYPES: [(&str, &str); 53] = [
    ("aac", "audio/aac"),
    ("apng", "image/apng"),
    ("atom", "application/atom+xml"),
    ("avif", "image/avif"),
    ("bin", "application/octet-stream"),
    ("bmp", "image/bmp"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("eot", "application/vnd.ms-fontobject"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("geojson", "application/geo+json"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/vnd.microsoft.icon"),
    ("ics", "text/calendar; charset=utf-8"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("jsonl", "application/jsonl"),
    ("jsonld", "application/ld+json"),
    ("jxl", "image/jxl"),
    ("m4a", "audio/mp4"),
    ("map", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("ndjson", "application/x-ndjson"),
    ("ogg", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("rss", "application/rss+xml"),
    ("svg", "image/svg+xml"),
    ("tsv", "text/tab-separated-values; charset=utf-8"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=utf-8"),
    ("vcf", "text/vcard; charset=utf-8"),
    ("vtt", "text/vtt; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

/// What a static file of an unknown extension is served as.
pub const UNKNOWN: &str = "application/octet-stream";

/// The media type of a file by the extension of its path, in either case, with a charset on text.
#[must_use]
pub fn media_type(path: &str) -> Option<&'static str> {
    let name = path.rsplit('/').next()?;
    let (stem, extension) = name.rsplit_once('.')?;
    if stem.is_empty() {
        return None;
    }
    let found = TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(extension));
    found.map(|(_, media_type)| *media_type)
}

/// `media_type` as a document is served with it: a text type without parameters gets its charset.
#[must_use]
pub fn with_charset(media_type: &str) -> String {
    let text = media_type.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/"));
    let charset = if text && !media_type.contains(';') { "; charset=utf-8" } else { "" };
    format!("{media_type}{charset}")
}

/// Whether `text` is a media type as RFC 9110, 8.3.1 writes it: `type/subtype`, then perhaps parameters.
#[must_use]
pub fn is_media_type(text: &str) -> bool {
    let token = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let parameter = |text: &str| {
        let Some((name, value)) = text.trim_matches(' ').split_once('=') else { return false };
        let quoted = value.len() >= 2 && value.starts_with('"') && value.ends_with('"');
        let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        token(name) && (token(value) || quoted && value[1..value.len() - 1].bytes().all(plain))
    };
    let mut parts = text.split(';');
    let kind = parts.next().unwrap_or_default().trim_end_matches(' ').split_once('/');
    kind.is_some_and(|(kind, subtype)| token(kind) && token(subtype)) && parts.all(parameter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_of_the_last_segment_decides() {
        for (path, expected) in [
            ("/index.html", Some("text/html; charset=utf-8")),
            ("/a.b/photo.JPG", Some("image/jpeg")),
            ("/app.min.js", Some("text/javascript; charset=utf-8")),
            ("/products/{slug}.json", Some("application/json")),
            ("/a.json/x", None),
            ("/.html", None),
            ("/x", None),
            ("/x.", None),
            ("/x.{kind}", None),
        ] {
            assert_eq!(media_type(path), expected, "{path}");
        }
    }

    #[test]
    fn the_table_is_in_order_and_names_only_media_types() {
        assert!(TYPES.is_sorted_by(|one, other| one.0 < other.0));
        for (extension, media_type) in TYPES {
            assert!(is_media_type(media_type), "{media_type}");
            assert_eq!(with_charset(media_type), media_type, "text has a charset");
            assert_eq!(extension, extension.to_ascii_lowercase());
        }
    }

    #[test]
    fn media_types_are_told_from_other_text() {
        for text in ["text/html", "text/html; charset=utf-8", "a/b;c=\"d e\"", "application/vnd.x+json"] {
            assert!(is_media_type(text), "{text}");
        }
        for text in
            ["", "text", "text/", "/html", "text/html;", "text/html; charset", "te xt/html", "a/b\r\nX: y"]
        {
            assert!(!is_media_type(text), "{text}");
        }
        assert_eq!(with_charset("text/html"), "text/html; charset=utf-8");
        assert_eq!(with_charset("text/html; charset=latin1"), "text/html; charset=latin1");
    }
}
