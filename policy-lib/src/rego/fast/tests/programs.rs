//! Policies and arguments made of a seed. Most load; all that load are asked.

/// What the policies read.
pub(super) const DATA: &str = r#"{
    "t": {"a": {"n": 1, "xs": [1, 2]}, "b": {"n": "x", "xs": {"k": 3}}, "1": {"n": 0}, "c": 7},
    "list": [1, "a", null, [2], {"n": 3}],
    "names": ["a", "b", "zz"],
    "ports": {"1": "one", "2": {"n": 2}},
    "zero": 0
}"#;

/// A policy, and what it is asked.
pub(super) struct Program {
    pub(super) text: String,
    pub(super) arguments: Vec<String>,
}

/// Numbers by Marsaglia's xorshift: what a seed makes never changes.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % (sides as u64)).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    fn once_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }
}

struct Maker {
    dice: Dice,
    /// Whether only forms are used that have a fast path.
    plain: bool,
    /// Whether what is written now may iterate by itself.
    iterates: bool,
    /// Names that have values here.
    bound: Vec<String>,
    fresh: usize,
    /// Rules written so far, as they are named in expressions.
    rules: Vec<String>,
    functions: Vec<String>,
}

pub(super) fn program(seed: u64) -> Program {
    let dice = Dice(seed | 1);
    let mut maker = Maker {
        dice,
        plain: !seed.is_multiple_of(4),
        iterates: true,
        bound: Vec::new(),
        fresh: 0,
        rules: Vec::new(),
        functions: Vec::new(),
    };
    for _ in 0..5 {
        maker.dice.roll(2);
    }
    let mut text = String::from("package lictor.u\n\n");
    for index in 0..maker.dice.roll(3) {
        let function = maker.function(index);
        text.push_str(&function);
    }
    for index in 0..1 + maker.dice.roll(4) {
        let rule = maker.helper(index);
        text.push_str(&rule);
    }
    for _ in 0..1 + maker.dice.roll(3) {
        let rule = maker.decision();
        text.push_str(&rule);
    }
    let arguments = (0..6).map(|_| maker.arguments()).collect();
    Program { text, arguments }
}

impl Maker {
    fn name(&mut self) -> String {
        self.fresh += 1;
        format!("v{}", self.fresh)
    }

    fn function(&mut self, index: usize) -> String {
        let name = format!("_f{index}");
        let mut text = String::new();
        let several = self.dice.once_in(3);
        for _ in 0..1 + usize::from(several) {
            self.bound = vec!["p".to_owned()];
            let body = self.body(2);
            let value = match self.dice.roll(4) {
                _ if several && self.plain => " := 1".to_owned(),
                0 => String::new(),
                1 => " := 1".to_owned(),
                _ => format!(" := {}", self.said(2)),
            };
            text.push_str(&format!("{name}(p){value} if {{\n{body}}}\n\n"));
        }
        self.functions.push(name);
        text
    }

    fn helper(&mut self, index: usize) -> String {
        let name = format!("_r{index}");
        let mut text = String::new();
        let set = self.dice.once_in(2);
        if !set && self.dice.once_in(4) {
            text.push_str(&format!("default {name} := {}\n\n", self.literal()));
        }
        let several = self.dice.once_in(3);
        for _ in 0..1 + usize::from(several) {
            self.bound.clear();
            let body = self.body(3);
            let head = match (set, self.dice.roll(3)) {
                (true, _) => format!("{name} contains {}", self.said(2)),
                (false, _) if several && self.plain => name.clone(),
                (false, 0) => name.clone(),
                (false, 1) => format!("{name} := {}", self.literal()),
                (false, _) => format!("{name} := {}", self.said(2)),
            };
            text.push_str(&format!("{head} if {{\n{body}}}\n\n"));
        }
        self.rules.push(name);
        text
    }

    fn decision(&mut self) -> String {
        self.bound.clear();
        let body = self.body(4);
        let head = match self.dice.roll(5) {
            0 => "allow contains \"ok\"".to_owned(),
            1 => format!(
                "deny contains {{\"id\": \"d\", \"message\": sprintf(\"%v\", [{}])}}",
                self.said(2)
            ),
            2 => "labels contains \"l\"".to_owned(),
            3 => format!("limits contains {{\"id\": \"l\", \"key\": {}}}", self.said(2)),
            _ => "deny contains \"no\"".to_owned(),
        };
        format!("{head} if {{\n{body}}}\n\n")
    }

    /// What a head or a comprehension says.
    fn said(&mut self, depth: usize) -> String {
        let kept = std::mem::replace(&mut self.iterates, !self.plain);
        let text = self.expr(depth);
        self.iterates = kept;
        text
    }

    fn body(&mut self, most: usize) -> String {
        let mut text = String::new();
        for _ in 0..1 + self.dice.roll(most) {
            let statement = self.statement(2);
            text.push_str(&format!("\t{statement}\n"));
        }
        text
    }

    fn statement(&mut self, depth: usize) -> String {
        match self.dice.roll(13) {
            0 | 1 => {
                let collection = self.collection(depth);
                let name = self.name();
                let key = self.dice.once_in(3).then(|| self.name());
                let text = match &key {
                    Some(key) => format!("some {key}, {name} in {collection}"),
                    None => format!("some {name} in {collection}"),
                };
                self.bound.extend(key);
                self.bound.push(name);
                text
            }
            2 | 3 => {
                let value = self.expr(depth);
                let name = self.name();
                self.bound.push(name.clone());
                format!("{name} := {value}")
            }
            4 => format!("not {}", self.expr(depth)),
            5 => format!("not {}", self.condition(depth)),
            6 if depth > 0 => {
                let collection = self.collection(depth - 1);
                let name = self.name();
                let kept = self.bound.clone();
                self.bound.push(name.clone());
                let inner = match self.plain {
                    true => self.condition(depth - 1),
                    false => self.statement(depth - 1),
                };
                self.bound = kept;
                format!("every {name} in {collection} {{ {inner} }}")
            }
            7 if self.iterates => {
                let collection = self.path();
                let name = self.name();
                let index = !self.plain && self.dice.once_in(2);
                if index {
                    let at = self.name();
                    self.bound.extend([name.clone(), at.clone()]);
                    let declared = !self.plain && self.dice.once_in(4);
                    let some = if declared { format!("some {at}\n\t") } else { String::new() };
                    format!("{some}{name} := {collection}[{at}]")
                } else {
                    self.bound.push(name.clone());
                    format!("{name} := {collection}[_]")
                }
            }
            8 => self.expr(depth),
            _ => self.condition(depth),
        }
    }

    fn condition(&mut self, depth: usize) -> String {
        let left = self.expr(depth);
        match self.dice.roll(3) {
            0 => format!("{left} in {}", self.collection(depth)),
            _ => {
                let op = self.dice.pick(&["==", "!=", "<", "<=", ">", ">="]);
                format!("{left} {op} {}", self.expr(depth))
            }
        }
    }

    fn literal(&mut self) -> String {
        self.dice
            .pick(&[
                "0", "1", "2", "-1", "2.5", "\"a\"", "\"1\"", "\"\"", "true", "false", "null", "[]",
            ])
            .to_owned()
    }

    /// A reference that may stand before an index.
    fn path(&mut self) -> String {
        let fixed = [
            "input.context.args.xs",
            "input.context.args.o",
            "input.context.args.a",
            "input.context.args.missing",
            "data.t",
            "data.list",
            "data.names",
            "data.ports",
            "data.t.a.xs",
            "data.none",
        ];
        let names: Vec<String> = self.bound.iter().chain(&self.rules).cloned().collect();
        if !names.is_empty() && self.dice.once_in(3) {
            return names[self.dice.roll(names.len())].clone();
        }
        self.dice.pick(&fixed).to_owned()
    }

    fn collection(&mut self, depth: usize) -> String {
        if self.dice.once_in(3) { self.expr(depth) } else { self.path() }
    }

    fn expr(&mut self, depth: usize) -> String {
        if depth == 0 {
            return match self.dice.roll(3) {
                0 => self.literal(),
                _ => self.path(),
            };
        }
        let down = depth - 1;
        match self.dice.roll(16) {
            0 => self.literal(),
            1 | 2 => self.path(),
            3 => format!("{}[{}]", self.path(), self.expr(down)),
            4 => format!("{}[{}].n", self.path(), self.expr(down)),
            5 => format!("{}.n", self.path()),
            6 => {
                let op = self.dice.pick(&["+", "-", "*", "/", "%"]);
                format!("({} {op} {})", self.expr(down), self.expr(down))
            }
            7 => format!("[{}, {}]", self.expr(down), self.expr(down)),
            8 => format!("{{{}, {}}}", self.expr(down), self.expr(down)),
            9 => format!("{{\"n\": {}, \"m\": {}}}", self.expr(down), self.expr(down)),
            10 | 11 => self.call(down),
            12 | 13 => self.comprehension(down),
            14 => format!("({} | {})", self.expr(down), self.expr(down)),
            _ if self.iterates => format!("{}[_]", self.path()),
            _ => self.literal(),
        }
    }

    fn call(&mut self, depth: usize) -> String {
        if !self.functions.is_empty() && self.dice.once_in(3) {
            let function = self.functions[self.dice.roll(self.functions.len())].clone();
            return format!("{function}({})", self.expr(depth));
        }
        match self.dice.roll(9) {
            0 => format!("count({})", self.expr(depth)),
            1 => format!("to_number({})", self.expr(depth)),
            2 => format!("upper({})", self.expr(depth)),
            3 => format!("startswith({}, \"a\")", self.expr(depth)),
            4 => format!("object.get({}, {}, 1)", self.expr(depth), self.expr(depth)),
            5 => format!("sum({})", self.expr(depth)),
            6 => format!("regex.match(\"^a\", {})", self.expr(depth)),
            7 => format!("is_number({})", self.expr(depth)),
            _ => format!("array.concat({}, {})", self.expr(depth), self.expr(depth)),
        }
    }

    fn comprehension(&mut self, depth: usize) -> String {
        let kept = self.bound.clone();
        let mut body = match self.plain {
            true => {
                let collection = self.collection(depth);
                let name = self.name();
                self.bound.push(name.clone());
                format!("some {name} in {collection}")
            }
            false => self.statement(depth),
        };
        if self.dice.once_in(3) {
            body = format!("{body}; {}", self.statement(depth));
        }
        let term = self.said(depth);
        self.bound = kept;
        let body = body.replace("\n\t", "; ");
        if self.dice.once_in(2) {
            format!("[{term} | {body}]")
        } else {
            format!("{{{term} | {body}}}")
        }
    }

    fn arguments(&mut self) -> String {
        let members: Vec<String> = ["a", "xs", "o"]
            .iter()
            .filter_map(|name| {
                let here = !self.dice.once_in(6);
                here.then(|| format!("\"{name}\": {}", self.json(name)))
            })
            .collect();
        format!("{{{}}}", members.join(", "))
    }

    fn json(&mut self, name: &str) -> String {
        let fitting = match name {
            "xs" => ["[1, 2, 3]", "[\"a\", null, {\"n\": 1}]", "[]", "[[1], [2, \"1\"], 0]"],
            "o" => ["{\"n\": 1, \"a\": \"b\"}", "{\"1\": 2}", "{}", "{\"n\": {\"n\": 0}}"],
            _ => ["\"a\"", "1", "0", "\"1\""],
        };
        let odd = ["null", "true", "\"text\"", "7", "[0]", "{\"n\": \"x\"}", "-3.5"];
        if self.dice.once_in(4) { self.dice.pick(&odd) } else { self.dice.pick(&fitting) }
            .to_owned()
    }
}
