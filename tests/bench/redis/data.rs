//! The data of a Redis server that an application uses, the same at every run: sessions that expire, cached
//! documents, users, counters, ranks, queues, flags, a stream of events; and a day's changes, of 2 %.

use crate::data::{Numbers, words};
use crate::redis::server::Server;
use redis::Pipeline;
use std::io;

/// Commands that are sent at once.
const AT_ONCE: usize = 2_000;
/// When everything begins: in seconds since the Unix epoch, far enough away that nothing expires.
const BEGIN: u64 = 1_900_000_000;
const DAY: u64 = 86_400;

/// How many of each there are: of `sessions`, and of the others in proportion.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    /// 100 000 of them are 310 000 keys.
    pub sessions: u64,
}

impl Amount {
    fn documents(self) -> u64 {
        self.sessions * 6 / 10
    }
    fn counters(self) -> u64 {
        self.sessions / 2
    }
    fn collections(self) -> u64 {
        (self.sessions / 2000).max(1)
    }
}

/// Collects commands and sends them.
struct Sender<'a> {
    server: &'a Server,
    pipe: Pipeline,
}

impl Sender<'_> {
    fn send(&mut self, words: &[&[u8]]) -> io::Result<()> {
        let command = self
            .pipe
            .cmd(std::str::from_utf8(words[0]).unwrap_or("PING"));
        for word in &words[1..] {
            command.arg(*word);
        }
        if self.pipe.len() >= AT_ONCE {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut connection = self.server.connect()?;
        let sent = self.pipe.exec(&mut connection);
        self.pipe.clear();
        sent.map_err(io::Error::other)
    }
}

/// `SET key value` as its parts.
macro_rules! send {
    ($to:expr, $($word:expr),+) => {
        $to.send(&[$(AsRef::<[u8]>::as_ref(&$word)),+])?
    };
}

/// Fills an empty server.
pub fn fill(server: &Server, amount: Amount) -> io::Result<()> {
    let mut numbers = Numbers::new(777);
    let to = &mut Sender {
        server,
        pipe: Pipeline::new(),
    };
    for i in 0..amount.sessions {
        session(to, &mut numbers, i, 0)?;
        user(to, &mut numbers, i)?;
        if i < amount.documents() {
            document(to, &mut numbers, i)?;
        }
        if i < amount.counters() {
            send!(
                to,
                "SET",
                format!("rate:{i}"),
                numbers.below(1000).to_string()
            );
        }
        if i < amount.sessions / 5 {
            event(to, &mut numbers, amount, &format!("{BEGIN}-{}", i + 1))?;
        }
    }
    for n in 0..amount.collections() {
        for _ in 0..2000 {
            rank(to, &mut numbers, amount, n)?;
        }
        for _ in 0..300 {
            job(to, &mut numbers, n)?;
        }
        for _ in 0..400 {
            let flag = numbers.below(1_000_000).to_string();
            send!(to, "SADD", format!("flags:{n}"), flag);
        }
    }
    // A second database, with settings. Every flush begins in the first one.
    to.flush()?;
    send!(to, "SELECT", "1");
    for i in 0..500 {
        send!(to, "SET", format!("cfg:{i}"), words(&mut numbers, 60));
    }
    to.flush()
}

/// A day passes: 2 % of the sessions go and others come, a little of everything else changes.
pub fn pass_day(server: &Server, amount: Amount, day: u64) -> io::Result<()> {
    let mut numbers = Numbers::new(777_000 + day);
    let to = &mut Sender {
        server,
        pipe: Pipeline::new(),
    };
    let churn = amount.sessions / 50;
    for i in 0..churn {
        // The oldest of a slice that no other day takes.
        let gone = (day - 1) * churn + i;
        send!(to, "DEL", session_key(gone * 7919 % amount.sessions, 0));
        session(to, &mut numbers, amount.sessions + i, day)?;
    }
    for _ in 0..amount.documents() * 15 / 1000 {
        let which = numbers.below(amount.documents());
        document(to, &mut numbers, which)?;
    }
    for _ in 0..amount.sessions / 100 {
        let key = format!("user:{}", numbers.below(amount.sessions));
        send!(to, "HINCRBY", key, "credits", "1");
    }
    for _ in 0..amount.counters() / 20 {
        send!(
            to,
            "INCR",
            format!("rate:{}", numbers.below(amount.counters()))
        );
    }
    for n in 0..amount.collections() {
        for _ in 0..20 {
            rank(to, &mut numbers, amount, n)?;
        }
        for _ in 0..5 {
            job(to, &mut numbers, n)?;
            send!(to, "LPOP", format!("queue:{n}"));
        }
    }
    for i in 0..300 {
        event(
            to,
            &mut numbers,
            amount,
            &format!("{}-{}", BEGIN + day, i + 1),
        )?;
    }
    to.flush()
}

/// Keys look random, and are the same at every run.
fn session_key(number: u64, day: u64) -> String {
    let mut numbers = Numbers::new(number << 8 | day);
    format!("sess:{:016x}{:08x}", numbers.next(), numbers.next() as u32)
}

fn session(to: &mut Sender<'_>, numbers: &mut Numbers, number: u64, day: u64) -> io::Result<()> {
    let key = session_key(number, day);
    let user = numbers.below(150_000).to_string();
    let address = format!("10.0.{}.{}", numbers.below(256), numbers.below(256));
    let token = format!("{:016x}{:016x}", numbers.next(), numbers.next());
    let seen = (BEGIN + day * DAY + numbers.below(30 * DAY)).to_string();
    let agent = "Mozilla/5.0 (X11; Linux x86_64)";
    let expires = (BEGIN + 365 * DAY + numbers.below(30 * DAY)).to_string();
    send!(
        to, "HSET", key, "uid", user, "ip", address, "csrf", token, "ua", agent, "seen", seen
    );
    send!(to, "EXPIREAT", key, expires);
    Ok(())
}

fn user(to: &mut Sender<'_>, numbers: &mut Numbers, number: u64) -> io::Result<()> {
    let plan = ["free", "pro"][numbers.below(2) as usize];
    let credits = numbers.below(10_000).to_string();
    let name = words(numbers, 14);
    send!(
        to,
        "HSET",
        format!("user:{number}"),
        "name",
        name,
        "plan",
        plan,
        "credits",
        credits
    );
    Ok(())
}

fn document(to: &mut Sender<'_>, numbers: &mut Numbers, number: u64) -> io::Result<()> {
    // Many short ones and a few long ones, 2.5 KB on average.
    let len = 300 + numbers.below(2700) + numbers.below(2) * numbers.below(4000);
    let html = String::from_utf8_lossy(&words(numbers, len as usize)).into_owned();
    let etag = numbers.next();
    let document = format!(r#"{{"id":{number},"html":{html:?},"etag":{etag}}}"#);
    send!(to, "SET", format!("cache:content:{number}"), document);
    Ok(())
}

fn rank(to: &mut Sender<'_>, numbers: &mut Numbers, amount: Amount, n: u64) -> io::Result<()> {
    let score = numbers.below(1_000_000).to_string();
    let who = format!("user:{}", numbers.below(amount.sessions));
    send!(to, "ZADD", format!("rank:{n}"), score, who);
    Ok(())
}

fn job(to: &mut Sender<'_>, numbers: &mut Numbers, n: u64) -> io::Result<()> {
    let job = format!(r#"{{"job":{},"kind":"render"}}"#, numbers.next() >> 16);
    send!(to, "RPUSH", format!("queue:{n}"), job);
    Ok(())
}

fn event(to: &mut Sender<'_>, numbers: &mut Numbers, amount: Amount, id: &str) -> io::Result<()> {
    let user = numbers.below(amount.sessions).to_string();
    let number = numbers.below(1_000_000).to_string();
    send!(to, "XADD", "events", id, "t", "gen", "u", user, "n", number);
    Ok(())
}
