//! A small HTTP server on a free port of the loopback interface, for one test: remembers what it was asked and
//! answers as told. Ends with the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// `POST`.
    pub(crate) method: String,
    /// Path and parameters.
    pub(crate) path: String,
    /// The body.
    pub(crate) body: String,
}

/// How it answers a request.
pub(crate) type Answer = Box<dyn Fn(&Asked) -> String + Send>;

pub(crate) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    is_over: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers every request with `200 OK`.
    pub(crate) fn start() -> Self {
        Self::answering(Box::new(|_| status("200 OK")))
    }

    pub(crate) fn answering(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, is_over) = (
            Arc::<Mutex<Vec<Asked>>>::default(),
            Arc::new(AtomicBool::new(false)),
        );
        let (seen, over) = (asked.clone(), is_over.clone());
        let serving = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Relaxed) {
                    return;
                }
                // A client that goes away in the middle is no matter.
                let _ = stream.map(|stream| serve(stream, &seen, &answer));
            }
        });
        Self {
            address,
            asked,
            is_over,
            serving: Some(serving),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything that it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The paths that it was asked for, without parameters.
    pub(crate) fn paths(&self) -> Vec<String> {
        let path = |asked: &Asked| asked.path.split('?').next().unwrap().to_owned();
        self.asked().iter().map(path).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        // Wakes the one that waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

/// An answer without a body.
pub(crate) fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Asked>>, answer: &Answer) -> std::io::Result<()> {
    // It serves one after the other: a client that says nothing holds up the rest.
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        // Somebody who only looked whether it is there.
        return Ok(());
    }
    let mut words = line.split_whitespace();
    let (method, path) = (words.next(), words.next());
    let (method, path) = (
        method.unwrap_or("").to_owned(),
        path.unwrap_or("").to_owned(),
    );
    let mut len = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            len = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8(body).unwrap();
    let asked = Asked { method, path, body };
    // Remembered before it is answered: whoever has the answer can look.
    seen.lock().unwrap().push(asked.clone());
    stream.write_all(answer(&asked).as_bytes())
}
