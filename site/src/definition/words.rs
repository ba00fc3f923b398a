//! Small texts inside `site.toml`: variables, durations, sizes, names, addresses.
//!
//! Owns how each is written. Refuses to know where it stands: errors come back as what is wrong and
//! what to write instead.

use std::time::Duration;

/// What is wrong, and what to write instead.
pub(super) type Wrong = (String, String);

pub(super) fn wrong<T>(message: impl Into<String>, remedy: impl Into<String>) -> Result<T, Wrong> {
    Err((message.into(), remedy.into()))
}

/// Puts in variables: `${NAME}`, `${NAME:-default}` (also when empty); `$${` stands for `${`.
pub(super) fn expand(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Vec<Wrong>> {
    let (mut expanded, mut problems) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(escaped) = before.strip_suffix('$') {
            expanded.push_str(escaped);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let Some((inside, after)) = after.split_once('}') else {
            let remedy = "write `${NAME}` or `${NAME:-default}`; write `$${` where `${` itself is meant";
            problems.push(("`${` has no `}` after it".to_owned(), remedy.to_owned()));
            return Err(problems);
        };
        match variable(inside, env) {
            Ok(value) => expanded.push_str(&value),
            Err(problem) => problems.push(problem),
        }
        rest = after;
    }
    expanded.push_str(rest);
    if problems.is_empty() { Ok(expanded) } else { Err(problems) }
}

fn variable(inside: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Wrong> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !plain || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || inside.contains("${") {
        return wrong(
            format!("`${{{inside}}}` is not a variable"),
            "write `${NAME}` or `${NAME:-default}`; write `$${` where `${` itself is meant",
        );
    }
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => wrong(
            format!("the variable `{name}` is not set"),
            format!("set it, or write a default: `${{{name}:-default}}`"),
        ),
    }
}

/// `50ms`, `1s`, `5m`, `1h`, `1d`.
pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    let (number, unit) = split_number(text);
    let milliseconds = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let duration = number.zip(milliseconds).and_then(|(number, unit)| number.checked_mul(unit));
    match duration.map(Duration::from_millis) {
        Some(duration) if duration.as_secs() <= u64::from(u32::MAX) => Ok(duration),
        Some(_) => wrong(format!("`{text}` is too long"), "write at most 49710d"),
        None => wrong(
            format!("`{text}` is not a duration"),
            "write a whole number and one of ms, s, m, h, d, such as \"50ms\" or \"1h\"",
        ),
    }
}

/// `256MiB`, `1GiB`, or plain bytes.
pub(super) fn size(text: &str) -> Result<u64, Wrong> {
    let (number, unit) = split_number(text);
    let bytes = match unit {
        "" | "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        "TiB" => Some(1 << 40),
        _ => None,
    };
    match number.zip(bytes).and_then(|(number, unit): (u64, u64)| number.checked_mul(unit)) {
        Some(size) => Ok(size),
        None => wrong(
            format!("`{text}` is not a size"),
            "write a whole number and one of KiB, MiB, GiB, such as \"256MiB\"",
        ),
    }
}

fn split_number(text: &str) -> (Option<u64>, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].parse().ok(), &text[end..])
}

/// Names of collections and includes.
pub(super) fn check_name(name: &str) -> Result<(), Wrong> {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(plain) && name.len() <= 64 {
        return Ok(());
    }
    wrong(
        format!("`{name}` is not a name"),
        "a name starts with a-z, goes on with a-z, 0-9, `_` or `-`, and has at most 64 characters",
    )
}

/// The site's address, without its trailing slash.
pub(super) fn site_url(text: &str) -> Result<String, Wrong> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let visible = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'@' | b'\\' | b'"');
    match host.map(|host| host.trim_end_matches('/')) {
        Some(host) if !host.is_empty() && !host.starts_with(['/', ':']) && host.bytes().all(visible) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => wrong(
            format!("`{text}` is not a site's address"),
            "write http:// or https:// and the host, such as \"https://shop.example\"",
        ),
    }
}

/// A path of a file or folder beside `site.toml`, never outside its folder.
pub(super) fn relative(text: &str) -> Result<String, Wrong> {
    let path = text.strip_prefix("./").unwrap_or(text);
    let path = path.strip_suffix('/').unwrap_or(path);
    let segment = |segment: &str| !matches!(segment, "" | "." | "..");
    if path.split('/').all(segment) && !path.contains(|c: char| c == '\\' || c.is_control()) {
        return Ok(path.to_owned());
    }
    wrong(
        format!("`{text}` is not a path beside the site definition"),
        "write a relative path without `.` and `..`, such as \"pages\" or \"shop/pages\"",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_everywhere_and_only_where_meant() {
        let env = |name: &str| match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, expected) in [
            ("", Ok("")),
            ("$1 $$ $A {A}", Ok("$1 $$ $A {A}")),
            ("<${A}${A}>", Ok("<oneone>")),
            ("${A:-two}${B:-two}${EMPTY:-}", Ok("onetwo")),
            ("${EMPTY}|${EMPTY:-x}", Ok("|x")),
            ("$${A} $$${A}", Ok("${A} $${A}")),
            ("${B:-a:-b}", Ok("a:-b")),
            ("${B}", Err("the variable `B` is not set")),
            ("${A", Err("`${` has no `}` after it")),
            ("${}", Err("`${}` is not a variable")),
            ("${1}", Err("`${1}` is not a variable")),
            ("${a b}", Err("`${a b}` is not a variable")),
            ("${B:-${A}}", Err("`${B:-${A}` is not a variable")),
        ] {
            let expanded = expand(text, &env).map_err(|problems| problems[0].0.clone());
            assert_eq!(expanded, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
        assert_eq!(expand("${B} ${C}", &env).map_err(|problems| problems.len()), Err(2));
    }

    #[test]
    fn durations_and_sizes_are_whole_numbers_with_a_unit() {
        for (text, milliseconds) in
            [("0s", 0), ("50ms", 50), ("1s", 1_000), ("5m", 300_000), ("1h", 3_600_000), ("1d", 86_400_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)));
        }
        for text in
            ["", "1", "s", "1 s", "-1s", "1.5s", "1h30m", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("49711d").expect_err("beyond 32 bits").0.contains("too long"));
        for (text, bytes) in [("0", 0), ("12", 12), ("1KiB", 1024), ("256MiB", 256 << 20), ("1GiB", 1 << 30)]
        {
            assert_eq!(size(text), Ok(bytes));
        }
        for text in ["", "MiB", "1MB", "1 MiB", "-1", "1.5GiB", "99999999TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_addresses_and_paths_are_checked() {
        let long = "a".repeat(65);
        for (name, good) in [
            ("a", true),
            ("a_b-9", true),
            ("", false),
            ("9a", false),
            ("A", false),
            ("a.b", false),
            (&long, false),
        ] {
            assert_eq!(check_name(name).is_ok(), good, "{name}");
        }
        assert_eq!(site_url("https://shop.example/"), Ok("https://shop.example".to_owned()));
        assert_eq!(site_url("http://[::1]:80/shop"), Ok("http://[::1]:80/shop".to_owned()));
        for url in [
            "",
            "shop.example",
            "ftp://x",
            "https://",
            "https:///x",
            "https://a b",
            "https://x?y",
            "http://u@h",
        ] {
            assert!(site_url(url).is_err(), "{url}");
        }
        assert_eq!(relative("./a/b/"), Ok("a/b".to_owned()));
        for path in ["", "/", "/a", ".", "..", "../a", "a/../b", "a//b", "a\\b"] {
            assert!(relative(path).is_err(), "{path}");
        }
    }
}
