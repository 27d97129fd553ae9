//! Asks a Redis server: over its own connection, or by `redis-cli` on the far side of `via`. Only reads,
//! but for BGSAVE.

use crate::model::secret::Secret;
use crate::source::program::Program;
use crate::source::redis::error::RedisError;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// How long connecting may take,
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// and one answer. A server that loads a large data set answers in between.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// No answer that is asked for here is longer.
const ANSWER_LEN_MAX_BYTES: usize = 8 << 20;

/// Where a server is and how it is reached.
#[derive(Clone)]
pub struct Target {
    info: ConnectionInfo,
    via: Vec<String>,
}

impl Target {
    /// Reads a URL. `via` is put before every client program when the server lives elsewhere.
    pub fn new(url: &Secret, via: &[String]) -> Result<Self, RedisError> {
        let text = std::str::from_utf8(url.expose());
        let text = text.map_err(|_| RedisError::Url("it is not text".to_owned()))?;
        // The cause may quote the URL: only its kind is passed on.
        let info = text.into_connection_info().map_err(|cause| {
            let kind = cause.to_string();
            RedisError::Url(kind.split(':').next().unwrap_or_default().to_lowercase())
        })?;
        if let ConnectionAddr::TcpTls { insecure: true, .. } = info.addr() {
            let why = "#insecure gives up what TLS is for; let SSL_CERT_FILE name the CA's certificate instead";
            return Err(RedisError::Url(why.to_owned()));
        }
        let via = via.to_vec();
        Ok(Self { info, via })
    }

    /// The server at this socket, as nobody in particular.
    pub fn socket(path: &Path) -> Self {
        let address = ConnectionAddr::Unix(path.to_path_buf());
        // An address is turned into connection settings without being looked at.
        let info = address
            .into_connection_info()
            .expect("an address is enough");
        let via = Vec::new();
        Self { info, via }
    }

    pub(crate) fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    pub(crate) fn via(&self) -> &[String] {
        &self.via
    }

    /// Whether its paths are paths of this machine: it is reached by a socket or by a loopback address.
    pub fn is_on_this_machine(&self) -> bool {
        let is_loopback = |host: &str| {
            host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        };
        self.via.is_empty()
            && match self.info.addr() {
                ConnectionAddr::Unix(_) => true,
                ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => {
                    is_loopback(host)
                }
                _ => false,
            }
    }

    /// Connects, or prepares to run `redis-cli`.
    pub fn connect(&self) -> Result<Server, RedisError> {
        let asking = match self.via.is_empty() {
            false => Asking::Cli(self.cli()),
            true => {
                let failed = |cause| RedisError::Connect {
                    place: self.to_string(),
                    cause,
                };
                let client = redis::Client::open(self.info.clone()).map_err(failed)?;
                let connection = client
                    .get_connection_with_timeout(CONNECT_LIMIT)
                    .map_err(failed)?;
                connection
                    .set_read_timeout(Some(ANSWER_LIMIT))
                    .map_err(failed)?;
                connection
                    .set_write_timeout(Some(ANSWER_LIMIT))
                    .map_err(failed)?;
                Asking::Connection(Box::new(connection))
            }
        };
        Ok(Server {
            place: self.to_string(),
            asking,
        })
    }

    fn cli(&self) -> Program {
        let mut cli = Program::new("redis-cli").via(&self.via).arg("--csv");
        cli = match self.info.addr() {
            ConnectionAddr::Unix(path) => cli.arg("-s").arg(path),
            ConnectionAddr::TcpTls { host, port, .. } => {
                cli.args(["--tls", "-h", host, "-p", &port.to_string()])
            }
            ConnectionAddr::Tcp(host, port) => cli.args(["-h", host, "-p", &port.to_string()]),
            _ => cli,
        };
        let settings = self.info.redis_settings();
        if let Some(user) = settings.username() {
            cli = cli.args(["--user", user]);
        }
        if let Some(password) = settings.password() {
            let password = Secret::new(password.as_bytes().to_vec());
            cli = cli.secret_env("REDISCLI_AUTH", password);
        }
        cli
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.info.addr())
    }
}

/// A server that can be asked.
pub struct Server {
    place: String,
    asking: Asking,
}

enum Asking {
    Connection(Box<redis::Connection>),
    Cli(Program),
}

impl Server {
    /// Host and port, or the socket, as in messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Calls a command and gives the strings and numbers of its answer, in order.
    pub fn call(&mut self, words: &[&str]) -> Result<Vec<String>, RedisError> {
        let answer = match &mut self.asking {
            Asking::Connection(connection) => {
                let mut command = redis::cmd(words[0]);
                command.arg(&words[1..]);
                match command.query::<Value>(connection) {
                    Ok(value) => Ok(flat(value)),
                    Err(cause) => match cause.code() {
                        Some(code) => Err(format!("{code} {}", cause.detail().unwrap_or_default())),
                        None => {
                            return Err(RedisError::Ask {
                                place: self.place.clone(),
                                command: words.join(" "),
                                cause,
                            });
                        }
                    },
                }
            }
            Asking::Cli(cli) => {
                let printed = cli
                    .clone()
                    .args(words)
                    .output(ANSWER_LEN_MAX_BYTES, ANSWER_LIMIT);
                let printed = printed.map_err(RedisError::Cli)?;
                from_csv(&String::from_utf8_lossy(&printed.stdout))
            }
        };
        answer.map_err(|answer| RedisError::Answered {
            place: self.place.clone(),
            command: words.join(" "),
            answer: answer.trim().to_owned(),
        })
    }

    /// Calls a command of which the answer is wanted as it is; `None` where only `redis-cli` reaches it.
    pub fn query(&mut self, command: &redis::Cmd) -> Result<Option<Value>, RedisError> {
        let Asking::Connection(connection) = &mut self.asking else {
            return Ok(None);
        };
        let asked = command.query(connection);
        asked.map(Some).map_err(|cause| RedisError::Ask {
            place: self.place.clone(),
            command: name_of(command),
            cause,
        })
    }

    /// What the server says of itself, by field.
    pub fn info(&mut self) -> Result<Info, RedisError> {
        let text = match &mut self.asking {
            Asking::Connection(_) => self.call(&["INFO"])?.concat(),
            Asking::Cli(cli) => {
                let printed = cli
                    .clone()
                    .arg("INFO")
                    .output(ANSWER_LEN_MAX_BYTES, ANSWER_LIMIT);
                let printed = printed.map_err(RedisError::Cli)?;
                String::from_utf8_lossy(&printed.stdout).into_owned()
            }
        };
        let lines = text
            .lines()
            .filter_map(|line| line.trim_end().split_once(':'));
        let fields: BTreeMap<String, String> = lines
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        if !fields.contains_key("redis_version") {
            // `redis-cli` prints an error as if it were the answer.
            return Err(RedisError::Answered {
                place: self.place.clone(),
                command: "INFO".to_owned(),
                answer: text.lines().next().unwrap_or_default().to_owned(),
            });
        }
        Ok(Info(fields))
    }

    /// A setting; `None` where there is none of that name, or it may not be asked for.
    pub fn config(&mut self, name: &str) -> Result<Option<String>, RedisError> {
        match self.call(&["CONFIG", "GET", name]) {
            Ok(words) => Ok(words.into_iter().nth(1)),
            Err(RedisError::Answered { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn name_of(command: &redis::Cmd) -> String {
    match command.args_iter().next() {
        Some(redis::Arg::Simple(name)) => String::from_utf8_lossy(name).into_owned(),
        _ => "a command".to_owned(),
    }
}

/// What INFO says.
#[derive(Debug, Clone, Default)]
pub struct Info(BTreeMap<String, String>);

impl Info {
    /// A field, empty when there is none.
    pub fn text(&self, field: &str) -> &str {
        self.0.get(field).map_or("", String::as_str)
    }

    /// A field that is a number, if there is one.
    pub fn number(&self, field: &str) -> Option<i64> {
        self.text(field).parse().ok()
    }

    /// Whether a field is there and not 0.
    pub fn is_set(&self, field: &str) -> bool {
        self.number(field).is_some_and(|number| number != 0)
    }

    /// Fields whose name begins so, without that beginning.
    pub fn beginning<'a>(&'a self, begin: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let fields = self.0.iter();
        fields.filter_map(move |(name, value)| Some((name.strip_prefix(begin)?, value.as_str())))
    }
}

/// The strings and numbers in a value, in order.
fn flat(value: Value) -> Vec<String> {
    match value {
        Value::Nil => Vec::new(),
        Value::Int(number) => vec![number.to_string()],
        Value::BulkString(bytes) => vec![String::from_utf8_lossy(&bytes).into_owned()],
        Value::SimpleString(text) => vec![text],
        Value::Okay => vec!["OK".to_owned()],
        Value::VerbatimString { text, .. } => vec![text],
        Value::Array(values) | Value::Set(values) => values.into_iter().flat_map(flat).collect(),
        Value::Map(pairs) => pairs
            .into_iter()
            .flat_map(|(name, value)| [flat(name), flat(value)].concat())
            .collect(),
        _ => Vec::new(),
    }
}

/// The values that `redis-cli --csv` prints, or the error that it prints instead.
fn from_csv(text: &str) -> Result<Vec<String>, String> {
    let mut values = Vec::new();
    let mut rest = text.trim_end_matches(['\n', '\r']);
    let is_error = rest.strip_prefix("ERROR,");
    rest = is_error.unwrap_or(rest);
    while !rest.is_empty() {
        let (value, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        values.push(value);
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    match is_error {
        Some(_) => Err(values.concat()),
        None => Ok(values),
    }
}

/// A string up to its closing quote, and what follows that.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, 't')) => value.push('\t'),
                Some((_, c)) => value.push(c),
                None => {}
            },
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use crate::source::redis::server::from_csv;

    #[test]
    fn what_redis_cli_prints_is_read_back() {
        let good = [
            (
                "\"dir\",\"/var/lib/redis\"\n",
                vec!["dir", "/var/lib/redis"],
            ),
            (
                "\"save\",\"3600 1 300 100\"\n",
                vec!["save", "3600 1 300 100"],
            ),
            ("5\n", vec!["5"]),
            ("\"a\\\"b,c\\\\\",2\n", vec!["a\"b,c\\", "2"]),
            (
                "\"Background saving started\"\n",
                vec!["Background saving started"],
            ),
            ("\n", vec![]),
        ];
        for (text, values) in good {
            let values: Vec<String> = values.into_iter().map(str::to_owned).collect();
            assert_eq!(from_csv(text), Ok(values));
        }
        let refused = "ERROR,\"NOAUTH Authentication required.\"\n";
        assert_eq!(
            from_csv(refused),
            Err("NOAUTH Authentication required.".to_owned())
        );
    }
}
