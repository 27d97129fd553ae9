//! Things that stand between a client and its server on the network, for tests: one that breaks connections,
//! one that answers as a pooler does. They end with the test's process.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

/// Passes connections on to `port` of this machine, and breaks each after so many bytes from the server. Gives
/// its own port.
pub(crate) fn cut_after(port: u16, bytes: u64) -> u16 {
    listen(move |client| {
        let server = TcpStream::connect(("127.0.0.1", port))?;
        let mut left = bytes;
        let (mut up_from, mut up_to) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || io::copy(&mut up_from, &mut up_to).is_ok());
        let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
        let mut buffer = [0; 1 << 14];
        loop {
            let len = from.read(&mut buffer)?;
            if len == 0 || left < len as u64 {
                break;
            }
            left -= len as u64;
            to.write_all(&buffer[..len])?;
        }
        client.shutdown(Shutdown::Both)?;
        server.shutdown(Shutdown::Both)
    })
}

/// Passes connections on to `port` of this machine, and ends the one on which the server begins to answer what comes
/// first of the requests that begin so: it was done, and nobody is told. Gives its own port.
pub(crate) fn lost_answer(port: u16, begins: &'static str, has: &'static str) -> u16 {
    let is_due = Arc::new(AtomicBool::new(true));
    listen(move |client| {
        let server = TcpStream::connect(("127.0.0.1", port))?;
        let (mut up_from, mut up_to) = (client.try_clone()?, server.try_clone()?);
        let is_meant = Arc::new(AtomicBool::new(false));
        let (meant, due) = (is_meant.clone(), is_due.clone());
        thread::spawn(move || -> io::Result<()> {
            let mut buffer = [0; 1 << 16];
            loop {
                let len = up_from.read(&mut buffer)?;
                if len == 0 {
                    return up_to.shutdown(Shutdown::Write);
                }
                let head = String::from_utf8_lossy(&buffer[..len.min(2000)]);
                let line = head.lines().next().unwrap_or_default();
                if line.starts_with(begins) && line.contains(has) {
                    meant.store(due.swap(false, SeqCst), SeqCst);
                }
                up_to.write_all(&buffer[..len])?;
            }
        });
        let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
        let mut buffer = [0; 1 << 14];
        loop {
            let len = from.read(&mut buffer)?;
            if len == 0 || is_meant.load(SeqCst) {
                break;
            }
            to.write_all(&buffer[..len])?;
        }
        client.shutdown(Shutdown::Both)?;
        server.shutdown(Shutdown::Both)
    })
}

/// Answers every connection as pgbouncer does to a client that brings settings which it does not pass on.
pub(crate) fn pooler_without_options() -> u16 {
    listen(|mut client| {
        let mut len = [0; 4];
        loop {
            client.read_exact(&mut len)?;
            let mut packet = vec![0; u32::from_be_bytes(len) as usize - 4];
            client.read_exact(&mut packet)?;
            // A request for TLS or GSS: not here.
            if packet.len() == 4 {
                client.write_all(b"N")?;
                continue;
            }
            let fields = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0";
            let len = (fields.len() as u32 + 4).to_be_bytes();
            client.write_all(&[b"E", &len[..], fields].concat())?;
            return client.shutdown(Shutdown::Both);
        }
    })
}

fn listen(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let serve = serve.clone();
            // A connection that breaks is what this is for.
            thread::spawn(move || serve(client).is_ok());
        }
    });
    port
}
