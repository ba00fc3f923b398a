//! The expressions of a template, read with Tera's own precedence.
//!
//! Owns deciding where an undefined variable would pass silently (everywhere but as the whole of
//! `{{ path }}`, before `is defined` and before `| default(…)`) and which values can grow.

use super::lexer::{Kind, Token};
use super::scan::{Call, Callee, Reader, Target, What};

/// Deeper expressions are not read; Tera refuses them at 40.
const MAX_DEPTH: usize = 100;

/// More operands of `~` than this in one expression, and each result is measured.
const MAX_TILDES: usize = 8;

/// A part of an expression that has been read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operand {
    start: usize,
    end: usize,
    kind: OperandKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OperandKind {
    /// The variable path with this index, not yet strict.
    Path(usize),
    /// Never undefined, and as small as it is written.
    Literal,
    /// Never undefined, and measured where it is made.
    Bounded,
    /// The component call with this edge.
    Component(usize),
    /// Anything else.
    Other,
}

/// How tightly an operator binds on its left and on its right.
fn binding(operator: &str) -> Option<(u8, u8)> {
    Some(match operator {
        "or" => (1, 2),
        "and" => (3, 4),
        "in" => (5, 6),
        "==" | "!=" | "<" | "<=" | ">" | ">=" => (7, 8),
        "+" | "-" => (11, 12),
        "*" | "/" | "%" | "//" | "~" => (13, 14),
        "**" => (16, 15),
        _ => return None,
    })
}

const IS: u8 = 5;
const PIPE: u8 = 17;

impl Reader<'_> {
    /// An expression that stands by itself in a tag or in an argument.
    pub(super) fn whole_expression(&mut self) -> Option<Operand> {
        let tildes = std::mem::take(&mut self.tildes);
        let value = self.expression(0)?;
        let tildes = std::mem::replace(&mut self.tildes, tildes);
        if tildes.len() > MAX_TILDES {
            for (start, end) in tildes {
                self.wrap(start, end, ") | __bounded)");
            }
        }
        Some(value)
    }

    fn expression(&mut self, min: u8) -> Option<Operand> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        let operand = self.operations(min);
        self.depth -= 1;
        operand
    }

    fn operations(&mut self, min: u8) -> Option<Operand> {
        let mut left = self.primary()?;
        loop {
            let Some(token) = self.peek().filter(|token| matches!(token.kind, Kind::Sign | Kind::Name))
            else {
                return Some(left);
            };
            let operator = &self.source[token.start..token.end];
            match operator {
                "[" => left = self.subscript_of(left)?,
                "not" if IS >= min => {
                    self.next();
                    if !self.sees("in") {
                        return None;
                    }
                }
                "is" if IS >= min => left = self.test(left)?,
                "|" if PIPE >= min => {
                    self.next();
                    let forgiving = self.sees("default");
                    if forgiving {
                        self.forgive(left);
                    } else {
                        self.strict(left);
                    }
                    let end = self.filter()?;
                    left = Operand { start: left.start, end, kind: OperandKind::Other };
                }
                "if" if min == 0 => return self.ternary(left),
                _ => {
                    let Some((_, right)) = binding(operator).filter(|(l, _)| *l >= min) else {
                        return Some(left);
                    };
                    self.next();
                    let right = self.expression(right)?;
                    self.strict(left);
                    self.strict(right);
                    if operator == "~" {
                        self.tildes.push((left.start, right.end));
                    }
                    left = Operand { start: left.start, end: right.end, kind: OperandKind::Other };
                }
            }
        }
    }

    fn ternary(&mut self, left: Operand) -> Option<Operand> {
        self.next();
        let condition = self.expression(0)?;
        self.expect("else")?;
        let right = self.expression(0)?;
        for part in [left, condition, right] {
            self.strict(part);
        }
        Some(Operand { start: left.start, end: right.end, kind: OperandKind::Other })
    }

    /// `is [not] test(arguments)`
    fn test(&mut self, left: Operand) -> Option<Operand> {
        self.next();
        self.takes("not");
        let test = self.name()?;
        if matches!(self.text(test), "defined" | "undefined") {
            self.forgive(left);
        } else {
            self.strict(left);
        }
        let end = self.call(Callee::Test, test)?;
        Some(Operand { start: left.start, end, kind: OperandKind::Other })
    }

    /// A filter's name and arguments; where they end.
    pub(super) fn filter(&mut self) -> Option<usize> {
        let name = self.name()?;
        self.refuse_reserved(name, "__");
        self.call(Callee::Filter, name)
    }

    fn primary(&mut self) -> Option<Operand> {
        let token = self.next()?;
        let whole = |end, kind| Some(Operand { start: token.start, end, kind });
        match token.kind {
            Kind::Literal => whole(token.end, OperandKind::Literal),
            Kind::Name => match self.text(token) {
                "true" | "True" | "false" | "False" | "none" | "None" | "null" => {
                    whole(token.end, OperandKind::Literal)
                }
                "not" => {
                    let inner = self.expression(5)?;
                    self.strict(inner);
                    whole(inner.end, OperandKind::Other)
                }
                _ => {
                    self.refuse_reserved(token, "__tera");
                    let (end, kind) = self.path(token)?;
                    whole(end, kind)
                }
            },
            Kind::Sign => match self.text(token) {
                "-" => {
                    let inner = self.expression(20)?;
                    self.strict(inner);
                    whole(inner.end, OperandKind::Other)
                }
                "<" => {
                    let name = self.dotted_name()?;
                    let edge = self.edge(token.start, Target::Component(name), true);
                    self.arguments()?;
                    self.expect("/")?;
                    let end = self.expect(">")?.end;
                    whole(end, OperandKind::Component(edge))
                }
                "(" => {
                    let inner = self.expression(0)?;
                    let end = self.expect(")")?.end;
                    whole(end, inner.kind)
                }
                "{" => self.map(token.start),
                "[" => self.array(token.start),
                _ => None,
            },
            _ => None,
        }
    }

    /// A function call or a variable path that begins with `name`.
    fn path(&mut self, name: Token) -> Option<(usize, OperandKind)> {
        let Token { start, mut end, .. } = name;
        let first = &self.source[start..end];
        if self.sees("(") {
            if first.starts_with("__") {
                self.scan.reserved.push((start, first.to_owned()));
            }
            if first == "super" {
                self.edge(start, Target::Super, true);
            }
            let end = self.call(Callee::Function, name)?;
            return Some((end, OperandKind::Other));
        }
        let mut names = Some(vec![first.to_owned()]);
        loop {
            if self.takes(".") || self.takes("?.") {
                let name = self.name()?;
                end = name.end;
                let text = self.text(name).to_owned();
                if let Some(names) = &mut names {
                    names.push(text);
                }
            } else if self.sees("[") || self.sees("?[") {
                names = None;
                end = self.subscript()?;
            } else {
                break;
            }
        }
        if first == "loop" && self.in_loop() && names.as_ref().is_some_and(|names| names.len() > 1) {
            return Some((end, OperandKind::Literal));
        }
        let index = self.path_use(start, end, names);
        Some((end, OperandKind::Path(index)))
    }

    /// `[index]` or `[start:end:step]`; where it ends.
    fn subscript(&mut self) -> Option<usize> {
        self.next();
        for _ in 0..3 {
            if !self.sees(":") && !self.sees("]") {
                let index = self.expression(0)?;
                self.strict(index);
            }
            if !self.takes(":") {
                break;
            }
        }
        Some(self.expect("]")?.end)
    }

    /// A subscript of something that is not a path: undefined when out of bounds, like a path.
    fn subscript_of(&mut self, left: Operand) -> Option<Operand> {
        self.strict(left);
        let end = self.subscript()?;
        let index = self.path_use(left.start, end, None);
        Some(Operand { start: left.start, end, kind: OperandKind::Path(index) })
    }

    /// The arguments of a call, `(name=value, …)`, if there are any; where it ends.
    fn call(&mut self, callee: Callee, name: Token) -> Option<usize> {
        let mut call = Call { callee, name: self.text(name).to_owned(), arguments: Vec::new() };
        let mut end = name.end;
        if self.takes("(") {
            end = loop {
                if let Some(close) = self.expect(")") {
                    break close.end;
                }
                let argument = self.name()?;
                call.arguments.push((argument.start, self.text(argument).to_owned()));
                self.expect("=")?;
                let value = self.expression(0)?;
                self.strict(value);
                if !self.takes(",") {
                    break self.expect(")")?.end;
                }
            };
        }
        self.scan.calls.push(call);
        Some(end)
    }

    /// The arguments of a component call.
    pub(super) fn arguments(&mut self) -> Option<()> {
        loop {
            if self.takes("{") {
                self.expect("...")?;
                self.argument_value()?;
                continue;
            }
            let Some(name) = self.peek().filter(|token| token.kind == Kind::Name) else {
                return Some(());
            };
            self.next();
            if !self.takes("=") {
                self.refuse_reserved(name, "__tera");
                let text = self.text(name).to_owned();
                let index = self.path_use(name.start, name.end, Some(vec![text]));
                self.insert(name.end, What::Shorthand(index));
            } else if self.takes("{") {
                self.argument_value()?;
            } else {
                self.next().filter(|token| token.kind == Kind::Literal)?;
            }
        }
    }

    /// The rest of `{value}`.
    fn argument_value(&mut self) -> Option<()> {
        let value = self.whole_expression()?;
        self.strict(value);
        self.bounded(value);
        self.expect("}").map(drop)
    }

    fn map(&mut self, start: usize) -> Option<Operand> {
        let mut literal = true;
        loop {
            if self.sees("}") {
                break;
            }
            if self.takes("...") {
                let value = self.expression(0)?;
                self.strict(value);
                literal = false;
            } else {
                self.next()?;
                self.expect(":")?;
                let value = self.expression(0)?;
                self.strict(value);
                literal &= value.kind == OperandKind::Literal;
            }
            if !self.takes(",") {
                break;
            }
        }
        let end = self.expect("}")?.end;
        Some(self.made(start, end, literal))
    }

    fn array(&mut self, start: usize) -> Option<Operand> {
        let (mut literal, mut first) = (true, true);
        loop {
            if self.sees("]") {
                break;
            }
            let spread = self.takes("...");
            let value = self.expression(0)?;
            if first && !spread && self.sees("for") {
                return self.comprehension(start, value);
            }
            self.strict(value);
            literal &= !spread && value.kind == OperandKind::Literal;
            first = false;
            if !self.takes(",") {
                break;
            }
        }
        let end = self.expect("]")?.end;
        Some(self.made(start, end, literal))
    }

    /// The rest of `[value for name in target if condition]`.
    fn comprehension(&mut self, start: usize, value: Operand) -> Option<Operand> {
        self.next();
        let names = self.loop_names()?;
        let target = self.expression(1)?;
        self.strict(target);
        self.bind_loop(names, target);
        self.strict(value);
        if self.takes("if") {
            let condition = self.expression(1)?;
            self.strict(condition);
            self.wrap(condition.start, condition.end, ") | __tick)");
        }
        self.wrap(value.start, value.end, ") | __made)");
        let end = self.expect("]")?.end;
        Some(self.made(start, end, false))
    }

    /// A map or an array: measured unless it is as small as it is written.
    fn made(&mut self, start: usize, end: usize, literal: bool) -> Operand {
        if literal {
            return Operand { start, end, kind: OperandKind::Literal };
        }
        self.wrap(start, end, ") | __bounded)");
        Operand { start, end, kind: OperandKind::Bounded }
    }

    /// Two parentheses: a filter binds tighter than most operators.
    fn wrap(&mut self, start: usize, end: usize, close: &'static str) {
        self.insert(start, What::Plain("(("));
        self.insert(end, What::Plain(close));
    }

    /// Notes that a path may well be undefined.
    fn forgive(&mut self, operand: Operand) {
        if let OperandKind::Path(index) = operand.kind {
            self.scan.uses[index].may_be_undefined = true;
        }
    }

    /// `name in` or `key, value in` of a loop.
    pub(super) fn loop_names(&mut self) -> Option<[Option<Token>; 2]> {
        let first = self.name()?;
        let second = if self.takes(",") { Some(self.name()?) } else { None };
        self.expect("in")?;
        Some([Some(first), second])
    }

    /// Binds a loop's names: one name stands for the rows of `target`.
    pub(super) fn bind_loop(&mut self, names: [Option<Token>; 2], target: Operand) {
        let is_one = names[1].is_none();
        for name in names.into_iter().flatten() {
            let over = match target.kind {
                OperandKind::Path(index) if is_one => Some(index),
                _ => None,
            };
            self.bind(name, over);
        }
    }

    /// Makes a path an error where it is undefined.
    pub(super) fn strict(&mut self, operand: Operand) {
        if let OperandKind::Path(index) = operand.kind {
            self.insert(operand.start, What::Plain("("));
            self.insert(operand.end, What::Strict(index, ")"));
        }
    }

    /// Measures a value that is about to be kept.
    pub(super) fn bounded(&mut self, operand: Operand) {
        if matches!(operand.kind, OperandKind::Other | OperandKind::Component(_)) {
            self.wrap(operand.start, operand.end, ") | __bounded)");
        }
    }

    /// What `{{ … }}` writes. Tera itself refuses an undefined path here, and without our filter it
    /// reads and writes in one step; inside a capture the text is charged for.
    pub(super) fn written(&mut self, operand: Operand) {
        match operand.kind {
            OperandKind::Path(index) => {
                self.insert_if(operand.end, What::Strict(index, " | __out"), true);
            }
            OperandKind::Component(edge) => self.scan.edges[edge].captured = self.captured(),
            OperandKind::Literal | OperandKind::Bounded | OperandKind::Other => {
                self.insert_if(operand.start, What::Plain("("), true);
                self.insert_if(operand.end, What::Plain(") | __out"), true);
            }
        }
    }
}
