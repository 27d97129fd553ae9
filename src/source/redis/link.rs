//! A plain connection to a Redis server, for what no client library speaks: the stream that a replica
//! gets. Over TCP, TLS or a unix socket, like the commands.

use crate::source::redis::error::RedisError;
use crate::source::redis::server::{ANSWER_LIMIT, CONNECT_LIMIT, Target};
use crate::source::redis::stop::Stop;
use redis::ConnectionAddr;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

const BUFFER_LEN_BYTES: usize = 256 << 10;
/// No line that a server answers with is longer.
const LINE_LEN_MAX_BYTES: u64 = 64 << 10;

/// Bytes to and from a server.
trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// A connection that has said who it is.
pub(crate) struct Link {
    wire: BufReader<Box<dyn Wire>>,
    place: String,
}

impl Link {
    /// Connects and authenticates. Given up, every read and write fails.
    pub(crate) fn connect(target: &Target, stop: &Stop) -> Result<Self, RedisError> {
        let place = target.to_string();
        let wire = connect(target.info().addr(), stop);
        let wire = wire.map_err(|cause| RedisError::Link {
            place: place.clone(),
            cause,
        })?;
        let wire = BufReader::with_capacity(BUFFER_LEN_BYTES, wire);
        let mut link = Self { wire, place };
        let settings = target.info().redis_settings();
        if let Some(password) = settings.password() {
            match settings.username() {
                Some(user) => link.ask("AUTH", &[user, password])?,
                None => link.ask("AUTH", &[password])?,
            };
        }
        Ok(link)
    }

    /// Calls a command whose answer is one line, which must be no error.
    pub(crate) fn ask(&mut self, command: &str, arguments: &[&str]) -> Result<String, RedisError> {
        let line = self.send(command, arguments).and_then(|()| self.line());
        let line = line.map_err(|cause| RedisError::Link {
            place: self.place.clone(),
            cause,
        })?;
        match line.strip_prefix('-') {
            Some(error) => Err(RedisError::Answered {
                place: self.place.clone(),
                command: command.to_owned(),
                answer: error.to_owned(),
            }),
            None => Ok(line),
        }
    }

    pub(crate) fn send(&mut self, command: &str, arguments: &[&str]) -> io::Result<()> {
        let packed = redis::cmd(command).arg(arguments).get_packed_command();
        let wire = self.wire.get_mut();
        wire.write_all(&packed)?;
        wire.flush()
    }

    /// The next line that is not empty, without its end. A server that is busy sends empty ones, so that
    /// its silence can be told from its absence.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            (&mut self.wire)
                .take(LINE_LEN_MAX_BYTES)
                .read_line(&mut line)?;
            if !line.ends_with('\n') {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let text = line.trim_end_matches(['\n', '\r']);
            if !text.is_empty() {
                return Ok(text.to_owned());
            }
        }
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }
}

impl Read for Link {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.wire.read(to)
    }
}

fn connect(address: &ConnectionAddr, stop: &Stop) -> io::Result<Box<dyn Wire>> {
    Ok(match address {
        ConnectionAddr::Unix(path) => {
            let socket = UnixStream::connect(path)?;
            socket.set_read_timeout(Some(ANSWER_LIMIT))?;
            socket.set_write_timeout(Some(ANSWER_LIMIT))?;
            let end = socket.try_clone()?;
            stop.on_give_up(move || drop(end.shutdown(Shutdown::Both)));
            Box::new(socket)
        }
        ConnectionAddr::Tcp(host, port) => Box::new(tcp(host, *port, stop)?),
        ConnectionAddr::TcpTls { host, port, .. } => {
            let name = ServerName::try_from(host.clone());
            let name = name.map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
            let client = ClientConnection::new(trusting()?, name).map_err(io::Error::other)?;
            Box::new(StreamOwned::new(client, tcp(host, *port, stop)?))
        }
        _ => return Err(io::ErrorKind::Unsupported.into()),
    })
}

fn tcp(host: &str, port: u16, stop: &Stop) -> io::Result<TcpStream> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
            Ok(socket) => {
                socket.set_read_timeout(Some(ANSWER_LIMIT))?;
                socket.set_write_timeout(Some(ANSWER_LIMIT))?;
                let end = socket.try_clone()?;
                stop.on_give_up(move || drop(end.shutdown(Shutdown::Both)));
                return Ok(socket);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Trusts what this machine trusts, or the certificates that `SSL_CERT_FILE` names.
fn trusting() -> io::Result<Arc<ClientConfig>> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(
            || "this machine trusts no certificate; set SSL_CERT_FILE".to_owned(),
            ToString::to_string,
        );
        return Err(io::Error::other(why));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
