//! What a template says: its tags, read for the rewriting that makes it strict and bounded.
//!
//! Owns the walk over the tags of one template that Tera found well-formed, the places where something
//! has to be inserted (see [`super::emit`]) and what the template extends, includes and calls. Refuses
//! to judge syntax: what it does not understand ends the walk with `None`.

use super::lexer::{Kind, Token, tokens};

/// One template, read.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// What to insert, in order of discovery: for equal places, that is the order to insert in.
    pub(super) inserts: Vec<Insert>,
    /// Every variable path.
    pub(super) uses: Vec<Use>,
    /// The template's own text, then its component definitions.
    pub(super) units: Vec<Unit>,
    /// What it extends, includes and calls.
    pub(super) edges: Vec<Edge>,
    /// Calls of filters, tests and functions.
    pub(super) calls: Vec<Call>,
    /// What its names are bound to.
    pub(super) bindings: Vec<Binding>,
    /// Its blocks.
    pub(super) blocks: Vec<Block>,
    /// Static text, in bytes, of each loop body and component body (not of loops within).
    pub(super) bodies: Vec<usize>,
    /// Names that templates must not use: where, and which.
    pub(super) reserved: Vec<(usize, String)>,
    /// Whether a block stands inside a capture, so that overriding blocks are captured too.
    pub(super) captured_block: bool,
}

/// The template's own text, or one component definition in it.
#[derive(Debug, Default)]
pub(super) struct Unit {
    /// The component's name; `None` for the template's own text.
    pub(super) component: Option<String>,
    /// Where its name stands.
    pub(super) at: usize,
    /// Names that `for`, `set` and component parameters bind in it.
    pub(super) names: Vec<String>,
    /// How deep its blocks nest.
    pub(super) blocks: usize,
}

/// Something to insert before the byte `at`.
#[derive(Debug)]
pub(super) struct Insert {
    pub(super) at: usize,
    pub(super) what: What,
    /// The unit it stands in.
    pub(super) unit: usize,
    /// Whether it stands inside a capture: the body of a block `set`, a `filter` or a component call.
    pub(super) captured: bool,
    /// Leave it out unless the place is rendered into a capture.
    pub(super) only_captured: bool,
}

/// What to insert.
#[derive(Debug)]
pub(super) enum What {
    /// This text.
    Plain(&'static str),
    /// The strict filter of the path with this index, then this text.
    Strict(usize, &'static str),
    /// The shorthand argument with this index spelt out, strict.
    Shorthand(usize),
    /// The count of a round of the body with this index; whether to trim on both sides.
    Step(usize, bool),
    /// The charge for the static text of an included template; whether to trim on the left.
    Include(String, bool),
}

/// A variable path as written, such as `product.price`.
#[derive(Debug)]
pub(super) struct Use {
    pub(super) unit: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    /// The path without its line breaks.
    pub(super) text: String,
    /// Its names, if it consists of names and dots only.
    pub(super) names: Option<Vec<String>>,
    /// Whether it stands before `is defined` or `| default(…)`.
    pub(super) may_be_undefined: bool,
}

/// A call of a filter, a test or a function.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) callee: Callee,
    pub(super) name: String,
    /// Where each argument's name stands, and the name.
    pub(super) arguments: Vec<(usize, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Callee {
    Filter,
    Test,
    Function,
}

/// A bound name, and the path whose elements it stands for, if that is all that can be.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) unit: usize,
    pub(super) name: String,
    pub(super) over: Option<usize>,
}

/// A block, and the bytes from its name to its end.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) name: String,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Something that this template needs.
#[derive(Debug)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) at: usize,
    pub(super) to: Target,
    /// Whether what it writes is captured rather than written.
    pub(super) captured: bool,
    /// Blocks around it.
    pub(super) blocks: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Extends(String),
    Include(String),
    Component(String),
    /// `super()`: the same block in the templates that this one extends.
    Super,
}

/// Reads a template; `None` if it is not understood.
pub(super) fn scan(source: &str) -> Option<Scan> {
    let mut reader = Reader {
        source,
        tokens: tokens(source)?,
        at: 0,
        depth: 0,
        frames: Vec::new(),
        body: None,
        unit: 0,
        tildes: Vec::new(),
        scan: Scan { units: vec![Unit::default()], ..Scan::default() },
    };
    while reader.at < reader.tokens.len() {
        reader.node()?;
    }
    Some(reader.scan)
}

/// The line, from 1, of a byte of a text.
pub(super) fn line(source: &str, at: usize) -> u32 {
    let breaks = source.as_bytes()[..at.min(source.len())].iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(breaks + 1).unwrap_or(u32::MAX)
}

/// What surrounds the place that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// With the body around it.
    For(Option<usize>),
    /// The `else` of a `for`.
    Else,
    If,
    /// With its place among the blocks.
    Block(usize),
    Component,
    /// The body of a block `set`, of `filter` or of a component call.
    Capture,
}

pub(super) struct Reader<'s> {
    pub(super) source: &'s str,
    tokens: Vec<Token>,
    at: usize,
    /// How deep the expression being read nests.
    pub(super) depth: usize,
    frames: Vec<Frame>,
    /// The innermost loop or component body.
    body: Option<usize>,
    unit: usize,
    /// The operands of `~` in the expression being read.
    pub(super) tildes: Vec<(usize, usize)>,
    pub(super) scan: Scan,
}

impl Reader<'_> {
    pub(super) fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let token = self.peek()?;
        self.at += 1;
        Some(token)
    }

    pub(super) fn text(&self, token: Token) -> &str {
        &self.source[token.start..token.end]
    }

    /// Whether the next token is this sign or name.
    pub(super) fn sees(&self, text: &str) -> bool {
        self.peek()
            .is_some_and(|token| matches!(token.kind, Kind::Sign | Kind::Name) && self.text(token) == text)
    }

    /// Takes the next token if it is this sign or name.
    pub(super) fn takes(&mut self, text: &str) -> bool {
        let seen = self.sees(text);
        self.at += usize::from(seen);
        seen
    }

    pub(super) fn expect(&mut self, text: &str) -> Option<Token> {
        self.sees(text).then(|| self.next()).flatten()
    }

    pub(super) fn name(&mut self) -> Option<Token> {
        self.next().filter(|token| token.kind == Kind::Name)
    }

    pub(super) fn insert(&mut self, at: usize, what: What) {
        self.insert_if(at, what, false);
    }

    pub(super) fn insert_if(&mut self, at: usize, what: What, only_captured: bool) {
        let insert = Insert { at, what, unit: self.unit, captured: self.captured(), only_captured };
        self.scan.inserts.push(insert);
    }

    /// Whether the place is inside a capture of this template.
    pub(super) fn captured(&self) -> bool {
        self.frames.contains(&Frame::Capture)
    }

    /// Whether `loop` is Tera's here.
    pub(super) fn in_loop(&self) -> bool {
        self.frames.iter().any(|frame| matches!(frame, Frame::For(_)))
    }

    pub(super) fn edge(&mut self, at: usize, to: Target, captured: bool) -> usize {
        let blocks = self.blocks();
        self.scan.edges.push(Edge { from: self.unit, at, to, captured, blocks });
        self.scan.edges.len() - 1
    }

    /// How many blocks stand around this place.
    fn blocks(&self) -> usize {
        self.frames.iter().filter(|frame| matches!(frame, Frame::Block(_))).count()
    }

    /// Notes a variable path; its index.
    pub(super) fn path_use(&mut self, start: usize, end: usize, names: Option<Vec<String>>) -> usize {
        let text = self.source[start..end].split_whitespace().collect::<Vec<_>>().join(" ");
        let path = Use { unit: self.unit, start, end, text, names, may_be_undefined: false };
        self.scan.uses.push(path);
        self.scan.uses.len() - 1
    }

    pub(super) fn refuse_reserved(&mut self, token: Token, prefix: &str) {
        if self.text(token).starts_with(prefix) {
            let name = self.text(token).to_owned();
            self.scan.reserved.push((token.start, name));
        }
    }

    /// Binds a name; `over` is the path whose elements a loop gives to it.
    pub(super) fn bind(&mut self, token: Token, over: Option<usize>) {
        self.refuse_reserved(token, "__tera");
        let name = self.text(token).to_owned();
        self.scan.bindings.push(Binding { unit: self.unit, name: name.clone(), over });
        self.scan.units[self.unit].names.push(name);
    }

    fn count_text(&mut self, bytes: usize) {
        if let Some(body) = self.body {
            self.scan.bodies[body] += bytes;
        }
    }

    fn node(&mut self) -> Option<()> {
        let token = self.next()?;
        match token.kind {
            Kind::Text => self.count_text(token.end - token.start),
            Kind::Comment => {}
            Kind::OutputOpen(_) => self.output()?,
            Kind::TagOpen(dash) => self.tag(token, dash)?,
            Kind::OutputClose(_) | Kind::TagClose(_) | Kind::Name | Kind::Literal | Kind::Sign => {
                return None;
            }
        }
        Some(())
    }

    /// `{{ … }}`
    fn output(&mut self) -> Option<()> {
        let value = self.whole_expression()?;
        self.next().filter(|token| matches!(token.kind, Kind::OutputClose(_)))?;
        self.written(value);
        Some(())
    }

    fn tag(&mut self, open: Token, dash: bool) -> Option<()> {
        if self.takes("<") {
            return self.component_with_body();
        }
        if self.takes("</") {
            self.dotted_name()?;
            self.expect(">")?;
            self.frames.pop();
            return self.tag_close().map(drop);
        }
        let tag = self.name()?;
        match self.text(tag) {
            "set" | "set_global" => return self.set(),
            "include" => {
                let (at, name) = self.string()?;
                self.edge(at, Target::Include(name.clone()), self.captured());
                self.insert_if(open.start, What::Include(name, dash), true);
            }
            "extends" => {
                let (at, name) = self.string()?;
                self.edge(at, Target::Extends(name), false);
            }
            "block" => {
                let name = self.name()?;
                let block = Block { name: self.text(name).to_owned(), start: name.start, end: name.end };
                self.scan.blocks.push(block);
                self.scan.captured_block |= self.captured();
                self.frames.push(Frame::Block(self.scan.blocks.len() - 1));
                let blocks = self.blocks();
                let unit = &mut self.scan.units[self.unit];
                unit.blocks = unit.blocks.max(blocks);
            }
            "for" => return self.for_loop(),
            "if" => {
                let value = self.whole_expression()?;
                self.strict(value);
                self.frames.push(Frame::If);
            }
            "elif" => {
                let value = self.whole_expression()?;
                self.strict(value);
            }
            "else" => {
                if let Some(Frame::For(around)) = self.frames.last().copied() {
                    self.frames.pop();
                    self.frames.push(Frame::Else);
                    self.body = around;
                }
            }
            "filter" => {
                self.filters()?;
                self.bound_captured();
                self.frames.push(Frame::Capture);
            }
            "component" => return self.component(),
            "break" | "continue" => {}
            "endfor" | "endif" | "endblock" | "endset" | "endfilter" | "endcomponent" => {
                self.end()?;
            }
            _ => return None,
        }
        self.tag_close().map(drop)
    }

    fn tag_close(&mut self) -> Option<(Token, bool)> {
        let token = self.next()?;
        match token.kind {
            Kind::TagClose(dash) => Some((token, dash)),
            _ => None,
        }
    }

    fn end(&mut self) -> Option<()> {
        match self.frames.pop()? {
            Frame::For(around) => self.body = around,
            Frame::Component => {
                self.body = None;
                self.unit = 0;
            }
            Frame::Block(block) => self.scan.blocks[block].end = self.peek()?.start,
            Frame::Else | Frame::If | Frame::Capture => {}
        }
        if self.peek()?.kind == Kind::Name {
            self.dotted_name()?;
        }
        Some(())
    }

    fn set(&mut self) -> Option<()> {
        let name = self.name()?;
        self.bind(name, None);
        if self.takes("=") {
            let value = self.whole_expression()?;
            self.strict(value);
            self.bounded(value);
            return self.tag_close().map(drop);
        }
        if self.takes("|") {
            self.filters()?;
        }
        self.bound_captured();
        self.frames.push(Frame::Capture);
        self.tag_close().map(drop)
    }

    /// One filter or more, of a block `set` or a `filter` tag.
    fn filters(&mut self) -> Option<()> {
        loop {
            self.filter()?;
            if !self.takes("|") {
                return Some(());
            }
        }
    }

    /// Bounds what a capturing tag, about to close, captures.
    fn bound_captured(&mut self) {
        if let Some(close) = self.peek() {
            self.insert(close.start, What::Plain(" | __bounded "));
        }
    }

    fn for_loop(&mut self) -> Option<()> {
        let names = self.loop_names()?;
        let value = self.whole_expression()?;
        self.strict(value);
        self.bind_loop(names, value);
        let around = self.body;
        self.frames.push(Frame::For(around));
        self.open_body()
    }

    /// Closes a tag that begins a body which counts its rounds.
    fn open_body(&mut self) -> Option<()> {
        let (close, dash) = self.tag_close()?;
        self.scan.bodies.push(0);
        let body = self.scan.bodies.len() - 1;
        self.body = Some(body);
        self.insert(close.end, What::Step(body, dash));
        Some(())
    }

    /// `{% component name(parameters) {metadata} %}`: parameters and metadata hold literals only.
    fn component(&mut self) -> Option<()> {
        let at = self.peek()?.start;
        let name = self.dotted_name()?;
        self.scan.units.push(Unit { component: Some(name), at, names: vec!["body".to_owned()], blocks: 0 });
        self.unit = self.scan.units.len() - 1;
        self.frames.push(Frame::Component);
        self.expect("(")?;
        let (mut nesting, mut expects_name) = (0_usize, true);
        loop {
            let token = self.peek()?;
            if matches!(token.kind, Kind::TagClose(_)) {
                return self.open_body();
            }
            self.next();
            match self.text(token) {
                "[" | "{" | "(" => nesting += 1,
                "]" | "}" | ")" => nesting = nesting.saturating_sub(1),
                "," | "@" | "..." => expects_name = nesting == 0,
                _ if token.kind == Kind::Name && nesting == 0 && std::mem::take(&mut expects_name) => {
                    self.bind(token, None);
                }
                _ => {}
            }
        }
    }

    /// `{% <name arguments> %}` … `{% </name> %}`
    fn component_with_body(&mut self) -> Option<()> {
        let at = self.peek()?.start;
        let name = self.dotted_name()?;
        self.edge(at, Target::Component(name), self.captured());
        self.arguments()?;
        self.expect(">")?;
        self.frames.push(Frame::Capture);
        self.tag_close().map(drop)
    }

    pub(super) fn dotted_name(&mut self) -> Option<String> {
        let first = self.name()?;
        let mut name = self.text(first).to_owned();
        while self.takes(".") {
            let part = self.name()?;
            name.push('.');
            name.push_str(self.text(part));
        }
        Some(name)
    }

    /// A string's place and its meaning.
    fn string(&mut self) -> Option<(usize, String)> {
        let token = self.next().filter(|token| token.kind == Kind::Literal)?;
        let inner = self.text(token).strip_prefix(['"', '\'', '`'])?;
        let mut meaning = String::with_capacity(inner.len());
        let mut characters = inner[..inner.len() - 1].chars();
        while let Some(character) = characters.next() {
            meaning.push(match character {
                '\\' => match characters.next()? {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                },
                other => other,
            });
        }
        Some((token.start, meaning))
    }
}
