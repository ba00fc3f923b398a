//! The words of a template.
//!
//! Owns cutting a template's text into Tera's tokens, exactly as Tera's own lexer cuts it: a token that
//! Tera saw and we did not would be an expression that nobody checks. Refuses to judge: what is not
//! a token ends the list with `None`, and Tera says what is wrong.

/// What a token is. `bool`: whether its tag trims the white space on that side (`{%-`, `-%}`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text outside of tags, raw blocks included.
    Text,
    Comment,
    /// `{{`
    OutputOpen(bool),
    /// `}}`
    OutputClose(bool),
    /// `{%`
    TagOpen(bool),
    /// `%}`
    TagClose(bool),
    Name,
    /// A string or a number.
    Literal,
    /// Punctuation, one to three bytes.
    Sign,
}

/// A token: what it is, and where it stands in the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Cuts `source` into tokens; `None` if Tera would refuse it too.
pub(super) fn tokens(source: &str) -> Option<Vec<Token>> {
    let mut lexer = Lexer { source, bytes: source.as_bytes(), at: 0, tokens: Vec::new() };
    while lexer.at < lexer.bytes.len() {
        lexer.text_or_tag()?;
    }
    Some(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    bytes: &'s [u8],
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn push(&mut self, kind: Kind, length: usize) {
        self.tokens.push(Token { kind, start: self.at, end: self.at + length });
        self.at += length;
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn text_or_tag(&mut self) -> Option<()> {
        let dash = self.rest().get(2) == Some(&b'-');
        let length = 2 + usize::from(dash);
        match self.rest().get(..2) {
            Some(b"{{") => {
                self.push(Kind::OutputOpen(dash), length);
                self.inside(b"}}", Kind::OutputClose)
            }
            Some(b"{#") => {
                let end = find(&self.bytes[self.at + length..], b"#}")?;
                self.push(Kind::Comment, length + end + 2);
                Some(())
            }
            Some(b"{%") => match self.raw_block(self.at + length) {
                Raw::No => {
                    self.push(Kind::TagOpen(dash), length);
                    self.inside(b"%}", Kind::TagClose)
                }
                Raw::Until(end) => {
                    self.push(Kind::Text, end - self.at);
                    Some(())
                }
                Raw::Unclosed => None,
            },
            _ => {
                let is_marker = |pair: &[u8]| matches!(pair, b"{{" | b"{%" | b"{#");
                let length = self.rest().windows(2).position(is_marker).unwrap_or(self.rest().len());
                self.push(Kind::Text, length);
                Some(())
            }
        }
    }

    /// Whether a `raw` tag begins before `body` (just after its `{%`), and where its `endraw` tag ends.
    fn raw_block(&self, body: usize) -> Raw {
        let Some(mut at) = self.skip_tag(body, b"raw") else {
            return Raw::No;
        };
        while let Some(open) = find(&self.bytes[at..], b"{%") {
            at += open + 2;
            if let Some(end) = self.skip_tag(at, b"endraw") {
                return Raw::Until(end);
            }
        }
        Raw::Unclosed
    }

    /// Goes over `-? name -?%}`; where it ends.
    fn skip_tag(&self, mut at: usize, name: &[u8]) -> Option<usize> {
        at += usize::from(self.bytes.get(at) == Some(&b'-'));
        at = self.skip_space(at);
        at = self.bytes[at..].starts_with(name).then_some(at + name.len())?;
        at = self.skip_space(at);
        at += usize::from(self.bytes.get(at) == Some(&b'-'));
        self.bytes[at..].starts_with(b"%}").then_some(at + 2)
    }

    fn skip_space(&self, at: usize) -> usize {
        at + self.bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
    }

    /// The tokens of an output or a tag, through its closing marker. A template that ends inside is
    /// cut as far as it goes: whoever reads the tokens misses the end.
    fn inside(&mut self, close: &[u8], kind: fn(bool) -> Kind) -> Option<()> {
        loop {
            self.at = self.skip_space(self.at);
            if self.rest().is_empty() {
                return Some(());
            }
            if self.rest().starts_with(close) {
                self.push(kind(false), 2);
                return Some(());
            }
            if self.rest()[0] == b'-' && self.rest()[1..].starts_with(close) {
                self.push(kind(true), 3);
                return Some(());
            }
            self.word()?;
        }
    }

    fn word(&mut self) -> Option<()> {
        let rest = self.rest();
        let pair = rest.get(..2);
        match rest[0] {
            _ if rest.starts_with(b"...") => self.push(Kind::Sign, 3),
            _ if matches!(
                pair,
                Some(b"//" | b"**" | b"==" | b"!=" | b">=" | b"<=" | b"</" | b"?." | b"?[")
            ) =>
            {
                self.push(Kind::Sign, 2);
            }
            b'+' | b'-' | b'*' | b'/' | b'%' | b'!' | b'.' | b',' | b':' | b'~' | b'|' | b'=' | b'>'
            | b'<' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'@' => self.push(Kind::Sign, 1),
            quote @ (b'\'' | b'"' | b'`') => {
                let length = string_length(rest, quote)?;
                self.push(Kind::Literal, length);
            }
            b'0'..=b'9' => {
                let mut point = false;
                let in_number = |byte: &&u8| {
                    byte.is_ascii_digit() || **byte == b'.' && !std::mem::replace(&mut point, true)
                };
                let length = rest.iter().take_while(in_number).count();
                self.push(Kind::Literal, length);
            }
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                let length =
                    rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
                self.push(Kind::Name, length);
            }
            _ => return None,
        }
        debug_assert!(self.source.is_char_boundary(self.at), "tokens end between characters");
        Some(())
    }
}

enum Raw {
    No,
    Until(usize),
    Unclosed,
}

/// The length of the string that `text` begins with, quotes included.
fn string_length(text: &[u8], quote: u8) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in text.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            byte if *byte == quote => return Some(index + 1),
            _ => {}
        }
    }
    None
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
