//! Walks the commands of an append-only file piece by piece, and knows where it may be cut: after a whole
//! command that is in no open transaction. An append-only file has no checksum; its shape is all that can
//! be checked.

/// Why a file of commands is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Malformed {
    /// What was found.
    pub what: &'static str,
    /// Offset in bytes from where the commands begin.
    pub at: u64,
}

/// No line is longer.
const LINE_LEN_MAX_BYTES: usize = 1 << 10;
/// The names that are looked for, `MULTI` and `EXEC`, are not longer.
const NAME_LEN_MAX_BYTES: usize = 5;

/// Sees every byte of a file of commands, in order.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    state: State,
    line: Vec<u8>,
    seen: u64,
    safe: u64,
    whole: u64,
    whole_at_safe: u64,
    arguments_left: u64,
    /// The current command's name, as far as it matters.
    name: Vec<u8>,
    is_in_name: bool,
    is_in_command: bool,
    is_in_transaction: bool,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    /// Before a line's first byte.
    #[default]
    Line,
    /// Within a line that begins with this byte.
    In(u8),
    /// Within an argument of which so many bytes are still to come.
    Argument(u64),
    /// Before the line end after an argument.
    Return,
    /// Within it.
    Feed,
}

impl Commands {
    /// Sees some more bytes.
    pub(crate) fn see(&mut self, mut bytes: &[u8]) -> Result<(), Malformed> {
        while let Some(first) = bytes.first() {
            let taken = match (self.state, first) {
                (State::Line, first) => self.begin_line(*first)?,
                (State::In(kind), _) => self.line(kind, bytes)?,
                (State::Argument(left), _) => self.argument(left, bytes),
                (State::Return, b'\r') => {
                    self.state = State::Feed;
                    1
                }
                (State::Feed, b'\n') => {
                    self.state = State::Line;
                    self.is_in_name = false;
                    1
                }
                _ => return Err(self.wrong("no line end after an argument")),
            };
            self.seen += taken as u64;
            bytes = &bytes[taken..];
            if matches!(self.state, State::Line) && self.arguments_left == 0 {
                self.line_between();
            }
        }
        Ok(())
    }

    /// Where the file may be cut: all before it are whole commands and whole transactions.
    pub(crate) fn safe(&self) -> u64 {
        self.safe
    }

    /// How many commands there are before [`Commands::safe`].
    pub(crate) fn count(&self) -> u64 {
        self.whole_at_safe
    }

    fn begin_line(&mut self, first: u8) -> Result<usize, Malformed> {
        let is_between = self.arguments_left == 0;
        // A line that begins with `#` stands between commands: the time of what follows.
        match (first, is_between) {
            (b'*' | b'#', true) | (b'$', false) => {}
            _ => return Err(self.wrong("no beginning of a command")),
        }
        self.line.clear();
        self.state = State::In(first);
        Ok(1)
    }

    fn line(&mut self, kind: u8, bytes: &[u8]) -> Result<usize, Malformed> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(bytes.len(), |end| end + 1);
        self.line.extend_from_slice(&bytes[..taken]);
        if self.line.len() > LINE_LEN_MAX_BYTES {
            return Err(self.wrong("a line that does not end"));
        }
        if end.is_none() {
            return Ok(taken);
        }
        let digits = self.line.strip_suffix(b"\r\n").map(std::str::from_utf8);
        let number: Option<u64> = digits.and_then(|digits| digits.ok()?.parse().ok());
        self.state = match (kind, number) {
            (b'#', _) => State::Line,
            (b'*', Some(count @ 1..)) => {
                self.arguments_left = count;
                self.name.clear();
                (self.is_in_name, self.is_in_command) = (true, true);
                State::Line
            }
            (b'$', Some(len)) => {
                self.arguments_left -= 1;
                match len {
                    0 => State::Return,
                    len => State::Argument(len),
                }
            }
            _ => return Err(self.wrong("no number")),
        };
        Ok(taken)
    }

    fn argument(&mut self, left: u64, bytes: &[u8]) -> usize {
        let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        if self.is_in_name {
            // One byte more than matters tells a longer name apart.
            let wanted = (NAME_LEN_MAX_BYTES + 1).saturating_sub(self.name.len());
            self.name.extend_from_slice(&bytes[..wanted.min(taken)]);
        }
        self.state = match left - taken as u64 {
            0 => State::Return,
            left => State::Argument(left),
        };
        taken
    }

    /// After a command, or a line that stands between two.
    fn line_between(&mut self) {
        if self.is_in_command {
            self.is_in_command = false;
            self.whole += 1;
            self.is_in_transaction = match self.name.to_ascii_uppercase().as_slice() {
                b"MULTI" => true,
                b"EXEC" => false,
                _ => self.is_in_transaction,
            };
        }
        if !self.is_in_transaction {
            (self.safe, self.whole_at_safe) = (self.seen, self.whole);
        }
    }

    fn wrong(&self, what: &'static str) -> Malformed {
        let at = self.seen;
        Malformed { what, at }
    }
}
