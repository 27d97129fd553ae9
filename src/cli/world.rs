//! Where the world enters: clock, randomness, environment, terminal, host name, cache folder. Nothing
//! below `cli` asks for any of them.

use crate::model::strategy::SecretRef;
use crate::repository::Surroundings;
use crate::repository::format::key::Secret;
use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use rustix::time::{ClockId, clock_gettime};
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

/// This machine's clock.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// `N` bytes from the system's cryptographic source.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

fn fill(bytes: &mut [u8]) {
    // Keys and ids that are not random lose data: there is no way to go on without.
    SystemRandom::new()
        .fill(bytes)
        .expect("the system has no source of random numbers");
}

/// An environment variable, if it is set and text.
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Who is at work, for annotations: the user's name and this machine's.
pub fn user() -> String {
    let name = variable("CCB_USER").or_else(|| variable("USER"));
    name.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// Whether people read standard output, and how wide their terminal is.
pub fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether people read standard error.
pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Whether somebody can be asked.
pub fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Time since this machine started, sleep included: a laptop that slept has missed its heartbeats.
fn uptime() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What a repository needs of the world.
pub fn surroundings() -> Surroundings {
    Surroundings {
        random: Arc::new(fill),
        now: Arc::new(now),
        uptime: Arc::new(uptime),
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        cache_dir: cache_dir(),
    }
}

/// `CCB_CACHE_DIR`, else the user's cache folder; none when there is neither.
fn cache_dir() -> Option<PathBuf> {
    users_folder("CCB_CACHE_DIR", "XDG_CACHE_HOME", ".cache")
}

/// `CCB_STATE_DIR`, else the user's folder for state; none when there is neither.
pub fn state_dir() -> Option<PathBuf> {
    users_folder("CCB_STATE_DIR", "XDG_STATE_HOME", ".local/state")
}

fn users_folder(own: &str, users: &str, below_home: &str) -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(own) = set(own) {
        return Some(own.into());
    }
    let users = set(users).map(PathBuf::from);
    let home = || set("HOME").map(|home| PathBuf::from(home).join(below_home));
    users.or_else(home).map(|folder| folder.join("ccb"))
}

/// Whom to trust over TLS: the certificates of `AWS_CA_BUNDLE` besides the machine's own, and the usual ones where
/// it has none.
pub fn tls() -> io::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = variable("AWS_CA_BUNDLE") {
        let failed = |cause: String| {
            io::Error::other(format!(
                "read the certificates in AWS_CA_BUNDLE, `{path}`: {cause}"
            ))
        };
        let read = rustls_native_certs::load_certs_from_paths(Some(path.as_ref()), None);
        if let (true, Some(cause)) = (read.certs.is_empty(), read.errors.first()) {
            return Err(failed(cause.to_string()));
        }
        if roots.add_parsable_certificates(read.certs).0 == 0 {
            return Err(failed("there is none".to_owned()));
        }
    }
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has every version that rustls has")
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Which secrets may be read: a plan must be safe to make for a pull request from a stranger, so it runs
/// no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commands {
    /// Commands may run.
    Run,
    /// A secret that needs a command is refused.
    Refuse,
}

/// Reads a secret's value. One newline at its end is not part of it.
pub fn secret(reference: &SecretRef, commands: Commands) -> io::Result<Secret> {
    let bytes = match reference {
        SecretRef::Env(name) => {
            let value = env::var_os(name).filter(|value| !value.is_empty());
            let value = value.ok_or_else(|| {
                let words =
                    format!("the environment variable `{name}` is not set; set it to the key");
                io::Error::new(io::ErrorKind::NotFound, words)
            })?;
            std::os::unix::ffi::OsStringExt::into_vec(value)
        }
        SecretRef::File(path) => fs::read(path)
            .map_err(|e| io::Error::new(e.kind(), format!("read the key file `{path}`: {e}")))?,
        SecretRef::Command(_) if commands == Commands::Refuse => {
            return Err(io::Error::other(
                "its value comes from a command, and planning runs none; use --inventory, or a key from env= or file=",
            ));
        }
        SecretRef::Command(command) => from_command(command)?,
    };
    let end = bytes.strip_suffix(b"\n").map_or(bytes.len(), <[u8]>::len);
    let end = bytes[..end].strip_suffix(b"\r").map_or(end, <[u8]>::len);
    if end == 0 {
        return Err(io::Error::other("the secret is empty"));
    }
    let mut bytes = bytes;
    bytes.truncate(end);
    Ok(Secret::new(bytes))
}

fn from_command(command: &str) -> io::Result<Vec<u8>> {
    let output = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(io::Error::other(format!(
        "`{command}` ended with {}",
        output.status
    )))
}
