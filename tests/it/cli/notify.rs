//! Who hears of a run: pings, webhooks, metrics, the log of runs. What does not work is a warning, and the
//! backup is as good as it was.

use crate::cli::{expect, given, outcome, under};
use crate::render::schema::breaches;
use crate::support::http::{Asked, Server, status};
use serde_json::Value;
use std::fs;
use std::path::Path;

const APPLY: &[&str] = &["apply", "plan.kdl", "--auto-approve"];

/// A folder whose plan file notifies as `node` says.
fn notifying(node: &str) -> tempfile::TempDir {
    let folder = given();
    let plan = fs::read_to_string(folder.path().join("plan.kdl")).expect("read");
    let plan = format!("{plan}\nnotify \"ops\" {{\n{node}\n}}\n");
    fs::write(folder.path().join("plan.kdl"), plan).expect("written");
    folder
}

/// Runs `ccb` with a URL in the environment.
fn with_url(at: &Path, url: &str, code: i32, arguments: &[&str]) -> String {
    let (ended, said) = outcome(under(&[], at, arguments).env("URL", url));
    assert_eq!(ended, Some(code), "ccb {arguments:?}\n{said}");
    assert!(!said.contains("secret-path"), "a URL is a secret: {said}");
    said
}

#[test]
fn healthchecks_hears_the_start_and_the_exit_code_of_one_run() {
    let server = Server::start();
    let folder = notifying("healthchecks { url env=\"URL\" }");
    let at = folder.path();
    let url = server.url("/secret-path/");
    with_url(at, &url, 0, APPLY);
    assert_eq!(server.paths(), ["/secret-path/start", "/secret-path/0"]);
    let asked = server.asked();
    assert!(asked.iter().all(|it| it.method == "POST"));
    let id = |it: &Asked| it.path.split_once("?rid=").expect("an id").1.to_owned();
    assert_eq!(id(&asked[0]), id(&asked[1]));
    assert_eq!(id(&asked[0]).len(), 36, "it is a UUID");
    assert!(
        asked[1].body.contains("Apply complete! 1 backed up"),
        "{}",
        asked[1].body
    );

    // Nothing to do is a success, too: silence would mean that nobody ran it.
    with_url(at, &url, 0, APPLY);
    assert_eq!(server.paths()[2..], ["/secret-path/0"]);
    fs::rename(at.join("data"), at.join("moved")).expect("moved");
    with_url(at, &url, 3, &["backup", "plan.kdl", "data"]);
    assert_eq!(
        server.paths()[3..],
        ["/secret-path/start", "/secret-path/3"]
    );
    assert!(server.asked()[4].body.contains("open source directory"));
}

#[test]
fn nobody_hears_of_a_run_that_nobody_agreed_to() {
    let server = Server::start();
    let folder = notifying("healthchecks { url env=\"URL\" }");
    with_url(folder.path(), &server.url("/"), 7, &["apply", "plan.kdl"]);
    assert_eq!(server.asked(), []);
}

#[test]
fn a_webhook_hears_of_the_events_that_it_asked_for() {
    let server = Server::start();
    let folder = notifying("webhook { url env=\"URL\"\n on \"failure\" \"violation\" }");
    let at = folder.path();
    let url = server.url("/secret-path?token=7");
    with_url(at, &url, 0, APPLY);
    assert_eq!(server.asked(), []);
    fs::rename(at.join("data"), at.join("moved")).expect("moved");
    with_url(at, &url, 3, &["backup", "plan.kdl", "data"]);
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/secret-path?token=7");
    let told: Value = serde_json::from_str(&asked[0].body).expect("it is JSON");
    let schema: Value = serde_json::from_str(include_str!("../../../schemas/notification.v1.json"))
        .expect("it is JSON");
    assert_eq!(
        breaches(&schema, &schema, &told, "told"),
        Vec::<String>::new()
    );
    assert_eq!(told["exit"], 3);
    assert_eq!(told["events"], serde_json::json!(["failure"]));
    assert_eq!(told["counts"]["failed"], 1);
    let failure = told["failures"][0].as_str().expect("text");
    assert!(failure.contains("open source directory"), "{failure}");
}

#[test]
fn a_service_that_fails_twice_is_asked_again_and_one_that_refuses_is_a_warning() {
    let folder = notifying("webhook { url env=\"URL\"\n on \"success\" }");
    let at = folder.path();
    let times = std::sync::atomic::AtomicU32::new(0);
    let flaky = Server::answering(Box::new(move |_| {
        match times.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 | 1 => status("503 Service Unavailable"),
            _ => status("204 No Content"),
        }
    }));
    let said = with_url(at, &flaky.url("/"), 0, APPLY);
    assert!(!said.contains("Warning"), "{said}");
    assert_eq!(flaky.asked().len(), 3);

    let refusing = Server::answering(Box::new(|_| status("404 Not Found")));
    let said = with_url(
        at,
        &refusing.url("/secret-path"),
        0,
        &["backup", "plan.kdl", "data"],
    );
    assert!(
        said.contains("Warning: notify.ops: http://127.0.0.1:"),
        "{said}"
    );
    assert!(said.contains("answered 404 Not Found"), "{said}");
    assert!(said.contains("Apply complete!"), "{said}");
    assert_eq!(refusing.asked().len(), 1);
}

#[test]
fn what_can_not_be_told_is_a_warning_and_the_run_is_as_good() {
    let folder = notifying(
        "healthchecks { url env=\"URL\" }\n webhook { url env=\"URL\"\n on \"success\" }",
    );
    let at = folder.path();
    for (url, why) in [
        ("no url", "its value is not a URL"),
        (
            "https://me:secret-path@example.org/",
            "holds a user's name or password",
        ),
        ("", "not set"),
    ] {
        let said = with_url(at, url, 0, &["backup", "plan.kdl", "data"]);
        assert!(said.contains("Warning: notify.ops: "), "{url}: {said}");
        assert!(said.contains(why), "{url}: {said}");
        assert!(said.contains("Apply complete!"), "{said}");
    }
    // A port that nobody listens on.
    let gone = Server::start().url("/secret-path");
    let said = with_url(at, &gone, 0, &["backup", "plan.kdl", "data"]);
    assert!(
        said.contains("no connection to http://127.0.0.1:"),
        "{said}"
    );
    expect(at, 0, &["check", "plan.kdl", "--level", "3"]);
}

#[test]
fn an_answer_that_is_no_http_is_a_warning() {
    let server = Server::answering(Box::new(|_| "\0\0\0 garbage".to_owned()));
    let folder = notifying("webhook { url env=\"URL\"\n on \"success\" }");
    let said = with_url(folder.path(), &server.url("/"), 0, APPLY);
    assert!(
        said.contains("Warning: notify.ops: no connection to http://127.0.0.1:"),
        "{said}"
    );
}

#[test]
fn http_to_elsewhere_is_for_plans_whose_rules_allow_it() {
    let folder = notifying("webhook { url env=\"URL\"\n on \"success\" }");
    let at = folder.path();
    let plan = fs::read_to_string(at.join("plan.kdl")).expect("read");
    let with_level = |level: &str| {
        let policy = format!(
            "policy preset=\"development\" {{\n set \"tls-in-transit\" level=\"{level}\"\n}}"
        );
        fs::write(at.join("plan.kdl"), format!("{plan}\n{policy}\n")).expect("written");
    };
    with_level("deny");
    let said = with_url(at, "http://hooks.invalid/secret-path", 0, APPLY);
    assert!(
        said.contains("`hooks.invalid` would be told over http"),
        "{said}"
    );
    with_level("warn");
    let said = with_url(
        at,
        "http://hooks.invalid/secret-path",
        0,
        &["backup", "plan.kdl", "data"],
    );
    assert!(
        said.contains("no connection to http://hooks.invalid"),
        "{said}"
    );
}

#[test]
fn metrics_tell_the_last_run_and_the_newest_backups() {
    let folder = notifying("prometheus textfile=\"ccb.prom\"");
    let at = folder.path();
    let metric = |name: &str| {
        let text = fs::read_to_string(at.join("ccb.prom")).expect("written");
        for line in text.lines() {
            assert!(line.starts_with("# ") || line.starts_with("ccb_"), "{line}");
        }
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.rsplit_once(' '));
        value.map(|(_, value)| value.parse::<i64>().expect("a number"))
    };
    let of_plan = "{plan=\"test\",environment=\"development\"";
    expect(at, 0, APPLY);
    assert_eq!(metric("ccb_run_exit_code{"), Some(0));
    assert_eq!(
        metric(&format!("ccb_run_actions{of_plan},what=\"backed_up\"")),
        Some(1)
    );
    let success = metric("ccb_last_success_timestamp_seconds{").expect("it was one");
    for destination in ["primary", "second"] {
        let newest = format!(
            "ccb_newest_backup_timestamp_seconds{of_plan},component=\"data\",destination=\"{destination}\""
        );
        assert!(metric(&newest).expect("it is there") <= success);
    }
    fs::rename(at.join("data"), at.join("moved")).expect("moved");
    expect(at, 3, &["backup", "plan.kdl", "data"]);
    assert_eq!(metric("ccb_run_exit_code{"), Some(3));
    assert_eq!(metric("ccb_last_success_timestamp_seconds{"), Some(success));
    assert!(metric("ccb_newest_backup_timestamp_seconds{").is_some());
    // Before anything was looked at: what was known of backups stays.
    let (code, _) = outcome(under(&[], at, APPLY).env("KEY", "wrong"));
    assert_eq!(code, Some(12));
    assert_eq!(metric("ccb_run_exit_code{"), Some(12));
    assert!(metric("ccb_newest_backup_timestamp_seconds{").is_some());
    let names: Vec<_> = fs::read_dir(at)
        .expect("read")
        .map(|it| it.expect("read").file_name())
        .collect();
    let temporary = |name: &&std::ffi::OsString| name.to_string_lossy().starts_with(".ccb.prom");
    assert_eq!(names.iter().find(temporary), None);
}

#[test]
fn the_log_keeps_every_run_and_drops_what_is_too_old() {
    let folder = notifying("log file=\"logs/runs.jsonl\" keep=\"30d\"");
    let at = folder.path();
    fs::create_dir(at.join("logs")).expect("made");
    let old = "{\"at\":\"2020-01-01T00:00:00Z\",\"type\":\"version\"}\n";
    fs::write(at.join("logs/runs.jsonl"), old.repeat(3)).expect("written");
    expect(at, 0, APPLY);
    let (code, _) = outcome(under(&[], at, APPLY).env("KEY", "wrong"));
    assert_eq!(code, Some(12));
    let text = fs::read_to_string(at.join("logs/runs.jsonl")).expect("read");
    assert!(!text.contains("2020-01-01"), "{text}");
    let lines: Vec<Value> = text
        .lines()
        .map(|it| serde_json::from_str(it).expect(it))
        .collect();
    let summaries: Vec<_> = lines.iter().filter(|it| it["type"] == "summary").collect();
    assert_eq!(summaries.len(), 2);
    assert_eq!(
        (&summaries[0]["exit"], &summaries[1]["exit"]),
        (&Value::from(0), &Value::from(12))
    );
    let schema: Value =
        serde_json::from_str(include_str!("../../../schemas/events.v1.json")).expect("JSON");
    for line in &lines {
        assert_eq!(
            breaches(&schema, &schema, line, "line"),
            Vec::<String>::new()
        );
    }
}

#[test]
fn two_runs_that_write_one_log_lose_no_line() {
    let folder = notifying("log file=\"runs.jsonl\"");
    let at = folder.path();
    expect(at, 0, APPLY);
    let before = fs::read_to_string(at.join("runs.jsonl"))
        .expect("read")
        .lines()
        .count();
    let arguments = ["backup", "plan.kdl", "data", "--lock=false", "--quiet"];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| expect(at, 0, &arguments));
        }
    });
    let text = fs::read_to_string(at.join("runs.jsonl")).expect("read");
    let lines: Vec<Value> = text
        .lines()
        .skip(before)
        .map(|it| serde_json::from_str(it).expect(it))
        .collect();
    let of = |kind: &str| lines.iter().filter(|it| it["type"] == kind).count();
    assert_eq!((of("version"), of("summary")), (4, 4));
    assert_eq!(of("action_start"), of("action_done"));
}

#[test]
fn a_log_or_metrics_that_can_not_be_written_are_a_warning() {
    let folder =
        notifying("log file=\"data/readme.txt/x\"\n prometheus textfile=\"nowhere/x.prom\"");
    let said = expect(folder.path(), 0, APPLY);
    assert!(
        said.contains("Warning: write the log `data/readme.txt/x`"),
        "{said}"
    );
    assert!(
        said.contains("Warning: write the metrics `nowhere/x.prom`"),
        "{said}"
    );
    assert!(said.contains("Apply complete!"), "{said}");
}

#[test]
fn https_is_for_servers_whose_certificate_is_trusted() {
    let folder = notifying("webhook { url env=\"URL\"\n on \"success\" }");
    let at = folder.path();
    let server = tls::Server::start(at);
    let url = format!("https://localhost:{}/secret-path", server.port);
    let mut trusting = under(&[], at, APPLY);
    let (code, said) = outcome(
        trusting
            .env("URL", &url)
            .env("SSL_CERT_FILE", at.join("cert.pem")),
    );
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("Warning: notify"), "{said}");
    let said = with_url(at, &url, 0, &["backup", "plan.kdl", "data"]);
    assert!(
        said.contains("Warning: notify.ops: no connection to https://localhost:"),
        "{said}"
    );
    let heard = server.end();
    assert_eq!(
        heard.matches("POST /secret-path HTTP/1.1").count(),
        1,
        "{heard}"
    );
}

/// The real openssl as a server: it prints what it hears, and says what it is given.
mod tls {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::sync::{Arc, Mutex};

    /// Answers every request that comes over TLS, and keeps what it heard.
    pub(super) struct Server {
        heard: Arc<Mutex<String>>,
        pub(super) port: u16,
    }

    impl Server {
        pub(super) fn start(folder: &Path) -> Self {
            let made = Command::new("openssl")
                .args([
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:prime256v1",
                ])
                .args([
                    "-nodes",
                    "-days",
                    "2",
                    "-subj",
                    "/CN=localhost",
                    "-addext",
                    "subjectAltName=DNS:localhost",
                ])
                .args(["-addext", "basicConstraints=critical,CA:FALSE"])
                .args(["-keyout", "key.pem", "-out", "cert.pem"])
                .current_dir(folder)
                .stderr(Stdio::null())
                .status();
            assert!(made.expect("openssl starts").success());
            let certificate = CertificateDer::from_pem_file(folder.join("cert.pem"));
            let key = PrivateKeyDer::from_pem_file(folder.join("key.pem"));
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("ring knows them")
                .with_no_client_auth()
                .with_single_cert(vec![certificate.expect("read")], key.expect("read"));
            let config = Arc::new(config.expect("they fit"));
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let port = listener.local_addr().expect("it has one").port();
            let heard = Arc::new(Mutex::new(String::new()));
            let told = heard.clone();
            std::thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    if let Ok(request) = answer(&config, client) {
                        told.lock().expect("no panic").push_str(&request);
                    }
                }
            });
            Self { heard, port }
        }

        pub(super) fn end(self) -> String {
            self.heard.lock().expect("no panic").clone()
        }
    }

    /// Reads the head of one request and answers it.
    fn answer(config: &Arc<ServerConfig>, client: TcpStream) -> std::io::Result<String> {
        let connection = ServerConnection::new(config.clone()).map_err(std::io::Error::other)?;
        let mut stream = StreamOwned::new(connection, client);
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            request.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        stream.conn.send_close_notify();
        stream.flush()?;
        Ok(String::from_utf8_lossy(&request).into_owned())
    }
}
