//! Which requests are taken.
//!
//! Owns the checks that hyper leaves to us: the method, the Host, the form of the target, the framing.
//! Refuses to know what is served.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, StatusCode, Version};

use crate::problem::Refusal;

/// What a request wants, as far as its method says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// GET or HEAD.
    Read,
    /// OPTIONS.
    Options,
}

/// Checks a request's head.
///
/// # Errors
/// The request is not taken.
pub(crate) fn check(parts: &Parts) -> Result<Verb, Refusal> {
    framing(parts)?;
    let verb = verb(&parts.method)?;
    host(parts)?;
    Ok(verb)
}

/// hyper takes a Content-Length beside a Transfer-Encoding out before we see it. No request needs a
/// chunked body here, so all are refused: the framing of what follows is then nobody's guess.
fn framing(parts: &Parts) -> Result<(), Refusal> {
    if !parts.headers.contains_key(TRANSFER_ENCODING)
        && parts.headers.get_all(CONTENT_LENGTH).iter().nth(1).is_none()
    {
        return Ok(());
    }
    let detail = "Send the body with one Content-Length and without Transfer-Encoding.";
    Err(Refusal { close: true, ..Refusal::new(StatusCode::BAD_REQUEST, detail) })
}

fn verb(method: &Method) -> Result<Verb, Refusal> {
    match method.as_str() {
        "GET" | "HEAD" => Ok(Verb::Read),
        "OPTIONS" => Ok(Verb::Options),
        "POST" | "PUT" | "DELETE" | "PATCH" | "CONNECT" | "TRACE" | "QUERY" => {
            let detail = format!("{method} is not possible here: documents are read with GET or HEAD.");
            Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, detail))
        }
        _ => Err(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "This method is not known: documents are read with GET or HEAD.",
        )),
    }
}

/// One Host, well-formed, and the target's own if that has one (RFC 9112, 3.2).
fn host(parts: &Parts) -> Result<(), Refusal> {
    let bad = |detail: &str| Refusal { close: true, ..Refusal::new(StatusCode::BAD_REQUEST, detail) };
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(bad("The request has two Host headers."));
    }
    let host = match host {
        Some(host) => host
            .to_str()
            .ok()
            .filter(|host| is_host(host))
            .ok_or_else(|| bad("The Host header is malformed."))?,
        None if parts.version < Version::HTTP_11 => "",
        None => return Err(bad("The request has no Host header.")),
    };
    let Some(authority) = parts.uri.authority() else { return Ok(()) };
    if !matches!(parts.uri.scheme_str(), Some("http" | "https")) {
        return Err(bad("The request's target must be a path."));
    }
    if authority.as_str().eq_ignore_ascii_case(host) {
        Ok(())
    } else {
        Err(bad("The request's target is on another host than its Host header says."))
    }
}

/// `uri-host [":" port]`, roughly: the characters such can have. An empty one is allowed.
fn is_host(host: &str) -> bool {
    host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn only_requests_that_can_be_understood_in_one_way_are_taken() {
        let bad = StatusCode::BAD_REQUEST;
        type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Result<Verb, StatusCode>);
        let rows: [Row<'_>; 21] = [
            ("GET", "/a", &[("host", "a")], Ok(Verb::Read)),
            ("HEAD", "/a", &[("host", "a:80")], Ok(Verb::Read)),
            ("OPTIONS", "/a", &[("host", "a")], Ok(Verb::Options)),
            ("OPTIONS", "*", &[("host", "a")], Ok(Verb::Options)),
            ("GET", "/a", &[("host", "")], Ok(Verb::Read)),
            ("GET", "/a", &[("host", "[::1]:80")], Ok(Verb::Read)),
            ("GET", "http://A/b", &[("host", "a")], Ok(Verb::Read)),
            ("GET", "http://a/b", &[("host", "b")], Err(bad)),
            ("GET", "http://a@b/b", &[("host", "b")], Err(bad)),
            ("GET", "ftp://a/b", &[("host", "a")], Err(bad)),
            ("GET", "/a", &[], Err(bad)),
            ("GET", "/a", &[("host", "a"), ("host", "a")], Err(bad)),
            ("GET", "/a", &[("host", "a b")], Err(bad)),
            ("GET", "/a", &[("host", "a/b")], Err(bad)),
            ("GET", "/a", &[("host", "x@a")], Err(bad)),
            ("GET", "/a", &[("host", "a"), ("transfer-encoding", "chunked")], Err(bad)),
            ("GET", "/a", &[("host", "a"), ("content-length", "1"), ("content-length", "1")], Err(bad)),
            ("POST", "/a", &[("host", "a")], Err(StatusCode::METHOD_NOT_ALLOWED)),
            ("TRACE", "/a", &[("host", "a")], Err(StatusCode::METHOD_NOT_ALLOWED)),
            ("CONNECT", "a:80", &[("host", "a")], Err(StatusCode::METHOD_NOT_ALLOWED)),
            ("get", "/a", &[("host", "a")], Err(StatusCode::NOT_IMPLEMENTED)),
        ];
        for (method, target, headers, expected) in rows {
            let mut request = Request::builder().method(method).uri(target);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let checked = check(&parts).map_err(|refusal| refusal.status);
            assert_eq!(checked, expected, "{method} {target} {headers:?}");
        }
        let (parts, ()) = Request::get("/a").version(Version::HTTP_10).body(()).unwrap().into_parts();
        assert_eq!(check(&parts), Ok(Verb::Read), "HTTP/1.0 has no Host");
    }
}
