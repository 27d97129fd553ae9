//! The drill: `plans/production.kdl`, with the places that it names on this machine, is applied as it would be at
//! night; then its first destination and all that it protects are gone, and everything comes back from off site.

use crate::cli::outcome;
use crate::cli::postgres::ccb_in;
use crate::support::archiving::put_program;
use crate::support::ceph::{Ceph, KMS_KEY, ceph, secret};
use crate::support::http::Server as Http;
use crate::support::postgres::{Cluster, Options, give_to_server_user};
use crate::support::postgres_backup::everything;
use crate::support::redis::{Server as Redis, fill};
use crate::support::restored::{moment, recovered, wait_for};
use crate::support::s3::{ACCESS_KEY, BUCKET, SECRET_KEY, Server};
use crate::support::s3_client::Account;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const PLAN: &str = "plans/production.kdl";
const STORED: [&str; 5] = [
    "voiceovers",
    "artifacts",
    "videos",
    "storyboard_images",
    "video_clips",
];
const ROWS: &str = "CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT n, md5(n::text) FROM generate_series(1, 4000) n;
    CREATE TABLE projects (id int PRIMARY KEY, owner int REFERENCES users);
    INSERT INTO projects SELECT n, n FROM generate_series(1, 100) n;
    CREATE TABLE content_items (id int, project int REFERENCES projects, words text);
    INSERT INTO content_items SELECT n, n % 100 + 1, repeat('word ', n) FROM generate_series(1, 300) n";

/// Names that the plan file has of keys and access, and what they are here.
const SECRETS: [(&str, &str); 4] = [
    (
        "BACKUP_ENCRYPTION_KEY",
        "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
    ),
    ("BACKUP_KMS_KEY_ID", KMS_KEY),
    ("OFFSITE_ACCESS_KEY_ID", ACCESS_KEY),
    ("OFFSITE_SECRET_ACCESS_KEY", SECRET_KEY),
];

/// How the bucket of media is set: as the plan file says.
const MEDIA: [(&str, &str); 3] = [
    (
        "versioning",
        "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    ),
    (
        "lifecycle",
        "<LifecycleConfiguration><Rule><ID>old</ID><Filter/><Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>90</NoncurrentDays></NoncurrentVersionExpiration></Rule></LifecycleConfiguration>",
    ),
    (
        "replication",
        "<ReplicationConfiguration><Role>arn:aws:iam::1:role/r</Role><Rule><ID>all</ID><Priority>1</Priority><Filter/><Status>Enabled</Status><DeleteMarkerReplication><Status>Enabled</Status></DeleteMarkerReplication><Destination><Bucket>arn:aws:s3:::backups</Bucket></Destination></Rule></ReplicationConfiguration>",
    ),
];

/// Everything that the plan file names, on this machine.
struct Production {
    folder: TempDir,
    archive: TempDir,
    certificates: TempDir,
    cluster: Cluster,
    redis: Redis,
    primary: (String, Account),
    offsite: Server,
    media: Server,
    replica: Server,
    heard: Http,
}

impl Production {
    fn start() -> Self {
        let archive = tempfile::Builder::new()
            .prefix("ccb-arc-")
            .tempdir_in("/tmp");
        let archive = archive.expect("a temporary folder");
        give_to_server_user(archive.path());
        let command = format!("archive_command = 'cp %p {}/%f'", archive.path().display());
        let settings = ["archive_mode = on", "track_commit_timestamp = on", &command];
        let (cluster, certificates) = Cluster::over_tls(&settings);
        cluster.create("content_crew", ROWS);
        let redis = Redis::start(&[("appendonly", "yes")]);
        fill(&redis);
        let mut builder = tempfile::Builder::new();
        let folder = builder.prefix("ccb-it-").tempdir_in("/tmp");
        let production = Self {
            folder: folder.expect("a temporary folder"),
            archive,
            certificates,
            cluster,
            redis,
            primary: ceph().bucket(),
            offsite: Server::start(),
            media: Server::start(),
            replica: Server::start(),
            heard: Http::start(),
        };
        production.lay_out(ceph());
        for (part, document) in MEDIA {
            production.media.settings(|it| it.set(part, document));
        }
        production
    }

    fn at(&self) -> &Path {
        self.folder.path()
    }

    /// The plan files, changed in nothing but where things are; and what they protect besides databases.
    fn lay_out(&self, ceph: &Ceph) {
        let at = self.at();
        for (folder, mode) in [(at.to_path_buf(), 0o711), (at.join("tmp"), 0o711)] {
            fs::create_dir_all(&folder).expect("made");
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("set");
        }
        let bucket = |name: &str, endpoint: &str| {
            format!("s3 \"s3://{name}/content-crew\" endpoint=\"{endpoint}\" path-style=#true")
        };
        let archive = self.archive.path().display();
        let media = self.media.endpoint();
        let moved = [
            (
                "s3 \"s3://backups-bucket/content-crew\" region=\"eu-west-1\"",
                bucket(&self.primary.0, &ceph.http()),
            ),
            (
                "s3 \"s3://ccc-backups-dr/content-crew\" region=\"eu-central-003\" endpoint=\"https://s3.eu-central-003.backblazeb2.com\"",
                bucket(BUCKET, &self.offsite.endpoint()),
            ),
            (
                "local \"/mnt/backup-01/content-crew\"",
                "local \"backup-01\"".to_owned(),
            ),
            (
                "wal archive-dir=\"/var/lib/postgresql/wal-archive\"",
                format!("wal archive-dir=\"{archive}\""),
            ),
            (
                "content-crew-storage}\" region=\"eu-west-1\"",
                format!("content-crew-storage}}\" endpoint=\"{media}\" path-style=#true"),
            ),
            (
                "to=\"content-crew-storage-replica\" region=\"us-west-2\"",
                format!("to=\"{BUCKET}\" endpoint=\"{}\"", self.replica.endpoint()),
            ),
            (
                "/var/lib/node_exporter/textfile_collector/",
                format!("{}/", at.display()),
            ),
            ("/var/log/ccb/", format!("{}/", at.display())),
            // Else all of it is on this host, which the policies forbid.
            (
                "location provider=\"aws\" region=\"eu-west-1\"",
                "location provider=\"aws\" region=\"eu-west-1\" host=\"elsewhere\"".to_owned(),
            ),
            (
                "location provider=\"backblaze\" region=\"eu-central\"",
                "location provider=\"backblaze\" region=\"eu-central\" host=\"far\"".to_owned(),
            ),
        ];
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
        fs::create_dir_all(at.join("plans/shared")).expect("made");
        let copy = |name: &str, moved: &[(&str, String)]| {
            let mut text = fs::read_to_string(from.join(name)).expect("read");
            for (there, here) in moved {
                assert!(text.contains(there), "{name} has no `{there}`");
                text = text.replace(there, here);
            }
            fs::write(at.join("plans").join(name), text).expect("written");
        };
        copy("production.kdl", &moved);
        let port = format!("port {}", self.cluster.port());
        copy("shared/app.kdl", &[("port 5432", port)]);
        for name in STORED {
            let folder = at.join("storage").join(name);
            fs::create_dir_all(&folder).expect("made");
            fs::write(folder.join("file"), name.repeat(10_000)).expect("written");
        }
        let profile = |name: &str, key: &str, secret: &str| {
            format!("[{name}]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
        };
        let profiles = [
            profile("ccb-backup", "owner", &secret("owner")),
            profile("default", ACCESS_KEY, SECRET_KEY),
        ];
        fs::write(at.join("profiles"), profiles.concat()).expect("written");
    }

    fn ccb(&self, code: i32, arguments: &[&str]) -> String {
        let mut command = ccb_in(self.at(), arguments);
        let (ended, said) = outcome(self.surround(&mut command));
        assert_eq!(ended, Some(code), "ccb {arguments:?}\n{said}");
        said
    }

    fn surround<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .envs(SECRETS)
            .env("BACKUP_EXPORT_KEY", "what an export is encrypted with")
            .env("AWS_SHARED_CREDENTIALS_FILE", self.at().join("profiles"))
            .env("PGHOST", "localhost")
            .env("PGPASSWORD", "nobody asks")
            .env("PGSSLROOTCERT", self.certificates.path().join("ca.pem"))
            .env("REDIS_URL", self.redis.url())
            .env("REDIS_DATA_DIR", self.redis.data())
            .env("STORAGE_PATH", self.at().join("storage"))
            .env("S3_BUCKET_NAME", BUCKET)
            .env("HEALTHCHECKS_PING_URL", self.heard.url("/ping"))
            .env("OPS_WEBHOOK_URL", self.heard.url("/ops"))
    }

    /// A restored directory as a server of the tests: on a socket of its own, with what `said` says that it needs.
    fn let_start(&self, cluster: &Cluster, said: &str) {
        let needs = "needs in the server's environment: ";
        let (_, needed) = said.split_once(needs).expect("it says so");
        let needed = needed.lines().next().unwrap_or_default().split(", ");
        let given = needed.map(|name| {
            let value = SECRETS.iter().find(|(known, _)| *known == name);
            format!("{name}={} ", value.map_or("-", |(_, value)| value))
        });
        let given: String = given.collect();
        let settings = cluster.data().join("postgresql.auto.conf");
        let text = fs::read_to_string(&settings).expect("read");
        let command = "restore_command = '";
        assert!(text.contains(command), "{text}");
        let text = text.replace(command, &format!("{command}env {given}"));
        let socket = cluster.host();
        let program = put_program(Path::new(&socket)).display().to_string();
        let text = text.replace(env!("CARGO_BIN_EXE_ccb"), &program);
        assert!(text.contains(&program), "{text}");
        let more =
            format!("unix_socket_directories = '{socket}'\nlisten_addresses = ''\nport = 5432\n");
        fs::write(&settings, text + &more).expect("written");
        give_to_server_user(&cluster.data());
    }

    /// The backup that a component has of this method.
    fn backup(&self, component: &str, method: &str) -> String {
        let listed = self.ccb(0, &["list", PLAN, component, "--json"]);
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let backups = listed["backups"].as_array().expect("backups");
        let found = backups.iter().find(|backup| backup["method"] == method);
        let id = found.and_then(|backup| backup["id"].as_str());
        id.unwrap_or_else(|| panic!("no {method} in {listed}"))
            .to_owned()
    }

    fn back(&self, component: &str, more: &[&str]) -> String {
        let from = ["restore", PLAN, component, "--from", "offsite"];
        self.ccb(0, &[&from[..], more].concat())
    }
}

const COMMITTED: &str = "SELECT count(*), max(id) FROM users";

#[test]
fn production_comes_back_from_off_site_when_all_else_is_gone() {
    let production = Production::start();
    let (at, cluster) = (production.at(), &production.cluster);
    let planned = production.ccb(0, &["plan", PLAN]);
    assert!(!planned.contains("Error:"), "{planned}");
    let critical = ["--var", "redis_critical=true"];
    let apply = ["apply", PLAN, "--auto-approve"];
    let applied = production.ccb(0, &[&apply[..], &critical].concat());
    let counts = "6 backed up, 9 copied,";
    assert!(applied.contains(counts), "{applied}");
    assert!(applied.contains("3 exported,"), "{applied}");
    assert!(applied.contains("0 failed."), "{applied}");
    let (bucket, account) = &production.primary;
    let keys = account.keys(bucket);
    for tier in ["daily", "weekly", "monthly"] {
        let begin = format!("content-crew/postgres/{tier}/content_crew_");
        assert!(keys.iter().any(|key| key.starts_with(&begin)), "{keys:?}");
    }
    assert_eq!(production.heard.paths()[..2], ["/ping/start", "/ping/0"]);

    let all = everything(cluster, "content_crew");
    let write = "INSERT INTO users SELECT n, 'later' FROM generate_series(5001, 5100) n";
    cluster.sql("content_crew", write);
    let committed = cluster.sql("content_crew", COMMITTED);
    let moment = moment(cluster);
    cluster.sql("content_crew", "TRUNCATE users CASCADE");
    let name = cluster.sql("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
    wait_for(|| production.archive.path().join(&name).exists());
    production.ccb(0, &["backup", PLAN, "postgres", "--method", "wal"]);
    let digest = production.redis.digest();
    let dump = production.backup("postgres", "dump");
    let aof = production.backup("redis", "aof");

    account.empty(bucket);
    fs::remove_dir_all(at.join("backup-01")).expect("removed");
    fs::remove_dir_all(at.join("cache")).expect("removed");
    fs::remove_dir_all(at.join("storage")).expect("removed");
    fs::remove_dir_all(production.archive.path()).expect("removed");
    cluster.sql("postgres", "DROP DATABASE content_crew");

    let again = ["--backup", &dump, "--to", "database=content_crew"];
    production.back("postgres", &again);
    assert_eq!(everything(cluster, "content_crew"), all);

    let beside = Cluster::prepared(&Options::default());
    fs::remove_dir_all(beside.data()).expect("removed");
    let data = beside.data().display().to_string();
    let said = production.back("postgres", &["--time", &moment, "--to", &data]);
    production.let_start(&beside, &said);
    let beside = recovered(beside);
    assert_eq!(beside.sql("content_crew", COMMITTED), committed);

    production.back("redis", &["--backup", &aof, "--to", "redis-back"]);
    let settings = [("appendonly", "yes"), ("aof-load-truncated", "no")];
    let again = Redis::start_on(&at.join("redis-back"), &settings);
    assert_eq!(again.digest(), digest);
    production.back("storage", &["--to", "storage"]);
    for name in STORED {
        let file = at.join("storage").join(name).join("file");
        let bytes = fs::read_to_string(file).expect("it is there");
        assert!(bytes == name.repeat(10_000), "{name}");
    }
}
