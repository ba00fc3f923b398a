//! What is wrong with a server's URL, where its driver says too little.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// MariaDB and MySQL speak first, and at once.
const GREETING: Duration = Duration::from_millis(500);

/// What PostgreSQL answers with one letter: the length, and the number that asks whether it speaks TLS.
const ASKS_FOR_TLS: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Names the parameter for TLS if it has none of these values.
pub(super) fn wrong_tls_mode(url: &str, modes: &[&str]) -> Option<String> {
    let (_, parameters) = url.rsplit_once('?')?;
    let mut parameters = parameters.split('&').filter_map(|parameter| parameter.split_once('='));
    // Anything but a word may belong to a password with a question mark in it.
    let is_word =
        |value: &str| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let is_wrong = |(name, value): &(&str, &str)| {
        matches!(*name, "sslmode" | "ssl-mode")
            && is_word(value)
            && !modes.iter().any(|mode| mode.eq_ignore_ascii_case(value))
    };
    let (name, value) = parameters.find(is_wrong)?;
    Some(format!("its parameter `{name}` is `{value}`: write one of {}", modes.join(", ")))
}

/// Names a parameter that is none of the `known` ones, without its value: it may be a password, and what nobody
/// knows would be ignored.
pub(super) fn unknown_parameter(url: &str, known: &[&str]) -> Option<String> {
    // Behind an `@` they would be part of a password.
    let (_, parameters) = url.rsplit_once('?').filter(|(_, parameters)| !parameters.contains('@'))?;
    let names = parameters.split('&').filter_map(|parameter| parameter.split('=').next());
    let mut names = names.filter(|name| !name.is_empty());
    let name = names.find(|name| !known.contains(name) && !name.starts_with("options["))?;
    Some(format!("its parameter `{name}` is not known: there are {}", known.join(", ")))
}

/// What is said of a server that does not speak as `wanted` does, but perhaps as `other`.
pub(super) fn wrong_protocol(wanted: &str, (other, scheme): (&str, &str)) -> String {
    format!(
        "what answers there does not speak as {wanted} does: if it is {other}, write {scheme}, else mend host and port"
    )
}

/// Whether what listens there is PostgreSQL, which waits to be spoken to.
pub(super) async fn is_postgres(host: &str, port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect((host, port)).await?;
        let mut answer = [0];
        if tokio::time::timeout(GREETING, stream.read(&mut answer)).await.is_ok() {
            return Ok(false);
        }
        stream.write_all(&ASKS_FOR_TLS).await?;
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(matches!(&answer, b"S" | b"N"))
    };
    // What cannot be asked is none.
    tokio::time::timeout(4 * GREETING, ask).await.is_ok_and(|answer| answer.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_parameter_is_named_and_its_value_is_not() {
        let known = ["sslmode", "password"];
        for (url, said) in [
            ("postgres://a@h/d?sslmode=x&password=y", None),
            ("postgres://a:p?secret=x@h/d", None),
            ("postgres://a@h/d", None),
            (
                "postgres://a@h/d?sslmode=x&passwrod=secret",
                Some("its parameter `passwrod` is not known: there are sslmode, password"),
            ),
        ] {
            assert_eq!(unknown_parameter(url, &known).as_deref(), said, "{url}");
        }
    }

    #[test]
    fn a_mode_that_is_none_is_named() {
        let modes = ["disable", "require"];
        for (url, said) in [
            ("postgres://a@h/d", None),
            ("postgres://a@h/d?sslmode=Require&x=1", None),
            ("postgres://a:p?sslmode=x@h/d", None),
            (
                "postgres://a:p?sslmode=x@h/d?x=1&sslmode=on",
                Some("its parameter `sslmode` is `on`: write one of disable, require"),
            ),
        ] {
            assert_eq!(wrong_tls_mode(url, &modes).as_deref(), said, "{url}");
        }
    }
}
