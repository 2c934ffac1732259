//! Protocol buffer text format, as far as a message of strings and doubles needs it.
//!
//! TensorFlow reads the state file with the general text-format parser, so that files written by hand or by other
//! tools may use all of its syntax: single quotes, comments, lists, escapes, adjacent strings.

/// A field with one value. List syntax gives several fields.
#[derive(Debug)]
pub(super) struct Field<'a> {
    pub(super) name: &'a str,
    /// The line of the value, from 1.
    pub(super) line: usize,
    value: Value<'a>,
}

#[derive(Debug)]
enum Value<'a> {
    Text(Vec<u8>),
    Word(&'a str),
}

/// The line, and what is wrong with it.
type Fault = (usize, String);

impl Field<'_> {
    pub(super) fn text(self) -> Result<String, Fault> {
        let Value::Text(bytes) = self.value else {
            return Err((self.line, format!("`{}` needs a string in quotes", self.name)));
        };
        String::from_utf8(bytes).map_err(|_| (self.line, format!("`{}` is not UTF-8", self.name)))
    }

    pub(super) fn number(self) -> Result<f64, Fault> {
        let number = match self.value {
            // Rust's parser takes `inf`, `-inf` and `nan`, as text format does.
            Value::Word(word) => word.parse().ok(),
            Value::Text(_) => None,
        };
        number.ok_or_else(|| (self.line, format!("`{}` needs a number", self.name)))
    }
}

/// All fields of a message, in their order.
pub(super) fn fields(bytes: &[u8]) -> Result<Vec<Field<'_>>, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        (
            1 + before.iter().filter(|&&byte| byte == b'\n').count(),
            "the file is not UTF-8".to_owned(),
        )
    })?;
    let mut scanner = Scanner { rest: text, line: 1 };
    let mut fields = Vec::new();
    loop {
        scanner.skip_space();
        if scanner.rest.is_empty() {
            return Ok(fields);
        }
        let name = scanner.word();
        if name.is_empty() {
            return Err(scanner.fault("expected the name of a field"));
        }
        scanner.expect(':')?;
        if scanner.eat('[') {
            if !scanner.eat(']') {
                loop {
                    fields.push(scanner.field(name)?);
                    if scanner.eat(']') {
                        break;
                    }
                    scanner.expect(',')?;
                }
            }
        } else {
            fields.push(scanner.field(name)?);
        }
        if !scanner.eat(',') {
            scanner.eat(';');
        }
    }
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Scanner<'a> {
    fn fault(&self, reason: &str) -> Fault {
        (self.line, reason.to_owned())
    }

    fn advance(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next()?;
        self.rest = chars.as_str();
        self.line += usize::from(next == '\n');
        Some(next)
    }

    fn skip_space(&mut self) {
        while let Some(next) = self.rest.chars().next() {
            match next {
                ' ' | '\t' | '\r' | '\n' | '\x0b' | '\x0c' => {
                    self.advance();
                }
                '#' => while !matches!(self.advance(), None | Some('\n')) {},
                _ => return,
            }
        }
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.skip_space();
        let found = self.rest.starts_with(wanted);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), Fault> {
        match self.eat(wanted) {
            true => Ok(()),
            false => Err(self.fault(&format!("expected `{wanted}`"))),
        }
    }

    /// A run of the characters that names and numbers are made of.
    fn word(&mut self) -> &'a str {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-');
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn field(&mut self, name: &'a str) -> Result<Field<'a>, Fault> {
        self.skip_space();
        let line = self.line;
        if self.rest.starts_with(['"', '\'']) {
            let mut text = Vec::new();
            while self.rest.starts_with(['"', '\'']) {
                self.quoted(&mut text)?;
                self.skip_space();
            }
            return Ok(Field {
                name,
                line,
                value: Value::Text(text),
            });
        }
        match self.word() {
            "" => Err(self.fault(&format!("`{name}` has no value"))),
            word => Ok(Field {
                name,
                line,
                value: Value::Word(word),
            }),
        }
    }

    fn quoted(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let quote = self.advance();
        loop {
            match self.advance() {
                None | Some('\n') => return Err(self.fault("a string is not closed")),
                next if next == quote => return Ok(()),
                Some('\\') => self.escape(out)?,
                Some(plain) => out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let fault = self.fault("unknown escape in a string");
        let byte = match self.advance().ok_or_else(|| fault.clone())? {
            'a' => 0x07,
            'b' => 0x08,
            'f' => 0x0c,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 0x0b,
            same @ ('\\' | '\'' | '"' | '?') => same as u8,
            digit @ '0'..='7' => {
                let more = self.digits(8, 2);
                let octal = format!("{digit}{more}");
                u8::from_str_radix(&octal, 8).map_err(|_| fault)?
            }
            'x' | 'X' => u8::from_str_radix(self.digits(16, 2), 16).map_err(|_| fault)?,
            'u' => return self.unicode(4, out).ok_or(fault),
            'U' => return self.unicode(8, out).ok_or(fault),
            _ => return Err(fault),
        };
        out.push(byte);
        Ok(())
    }

    fn unicode(&mut self, digits: usize, out: &mut Vec<u8>) -> Option<()> {
        let code = self.digits(16, digits);
        let code = u32::from_str_radix(code, 16).ok().filter(|_| code.len() == digits)?;
        out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
        Some(())
    }

    /// At most `count` digits.
    fn digits(&mut self, radix: u32, count: usize) -> &'a str {
        let end = self.rest.chars().take(count).take_while(|c| c.is_digit(radix)).count();
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        digits
    }
}

/// The inside of a quoted string.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '"' | '\'' | '\\' => out.extend(['\\', c]),
            '\0'..='\x1f' | '\x7f' => out.push_str(&format!("\\{:03o}", c as u32)),
            plain => out.push(plain),
        }
    }
    out
}

/// The shortest decimal that gives the same double, in Python's notation.
pub(super) fn double(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "nan".to_owned()
        } else if value > 0.0 {
            "inf".to_owned()
        } else {
            "-inf".to_owned()
        };
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        _ => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_printed_as_python_prints_them() {
        let cases = [
            (1.5, "1.5"),
            (1795398247.0, "1795398247.0"),
            (1e20, "1e+20"),
            (0.1, "0.1"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1e16, "1e+16"),
            (1.25e-7, "1.25e-07"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, text) in cases {
            assert_eq!(double(value), text);
        }
    }

    #[test]
    fn strings_survive_escaping() {
        let all: String = (0..0x180u32).filter_map(char::from_u32).chain("é中".chars()).collect();
        let line = format!("f: \"{}\"", escape(&all));
        let field = fields(line.as_bytes()).unwrap().remove(0);
        assert_eq!(field.text().unwrap(), all);
        assert_eq!(escape("\u{1}é"), "\\001é");
    }

    #[test]
    fn faults_name_the_line() {
        assert_eq!(fields(b"a: 1\nb 2").unwrap_err().0, 2);
        assert_eq!(fields(b"a: \"x\n\"").unwrap_err().1, "a string is not closed");
        assert_eq!(
            fields(b"\n\n\xff").unwrap_err(),
            (3, "the file is not UTF-8".to_owned())
        );
    }
}
