//! Tests of `export`: its formats against the programs that everybody has, in both directions.

use ccb::export::gpg;
use ccb::export::openssl::{Decrypt, Derivation, Encrypt};
use ccb::model::secret::Secret;
use std::fs;
use std::io::{self, Read, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PASSWORD: &str = "correct horse, battery staple";

/// Around blocks, parts and chunks, and several of all of them.
const SIZES: [usize; 14] = [
    0, 1, 15, 16, 17, 191, 8_384, 65_535, 65_558, 262_137, 262_138, 262_144, 262_145, 1_500_007,
];

fn bytes(len: usize) -> Vec<u8> {
    let mut hash = blake3::Hasher::new();
    hash.update(&len.to_le_bytes());
    let mut bytes = vec![0; len];
    hash.finalize_xof().fill(&mut bytes);
    bytes
}

fn password() -> Secret {
    Secret::new(PASSWORD.as_bytes().to_vec())
}

fn read(mut from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map(|_| bytes)
}

fn ok(output: &Output) -> &[u8] {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    &output.stdout
}

/// A folder with what is in it, and GnuPG's own, whose agent ends with it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("ccb-it-")
            .tempdir_in("/tmp");
        let folder = folder.expect("a temporary folder");
        fs::write(folder.path().join("password"), PASSWORD).expect("written");
        let home = folder.path().join("gnupg");
        fs::create_dir(&home).expect("made");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(home, private).expect("set");
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn openssl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("openssl");
        command.arg("enc").args(["-aes-256-cbc", "-pass"]);
        command.arg(format!("file:{}", self.path("password").display()));
        let command = command.args(arguments).current_dir(self.0.path());
        command.output().expect("openssl can be started")
    }

    fn gpg(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("gpg");
        command
            .args(["--batch", "--no-tty", "--pinentry-mode", "loopback"])
            .arg("--homedir")
            .arg(self.path("gnupg"))
            .arg("--passphrase-file")
            .arg(self.path("password"))
            .args(arguments)
            .current_dir(self.0.path());
        command.output().expect("gpg can be started")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut command = Command::new("gpgconf");
        command.arg("--homedir").arg(self.path("gnupg"));
        let _ = command.args(["--kill", "gpg-agent"]).output();
    }
}

fn sealed(plain: &[u8], how: Derivation) -> Vec<u8> {
    let mut sealed = Encrypt::new(Vec::new(), &password(), how, *b"8 bytes.").expect("begun");
    sealed.write_all(plain).expect("written");
    sealed.finish().expect("finished")
}

fn gpg_sealed(plain: &[u8]) -> Vec<u8> {
    let fresh = gpg::Fresh {
        salt: *b"8 bytes.",
        prefix: *b"16 bytes of it..",
    };
    let mut sealed = gpg::Encrypt::new(Vec::new(), &password(), fresh).expect("begun");
    sealed.write_all(plain).expect("written");
    sealed.finish().expect("finished")
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("written");
}

fn pbkdf2(rounds: u32) -> Derivation {
    Derivation::Pbkdf2(NonZeroU32::new(rounds).expect("more than none"))
}

#[test]
fn openssl_reads_what_is_written_and_what_it_writes_is_read() {
    let place = Place::new();
    let ways: [(Derivation, &[&str]); 3] = [
        (Derivation::Sha256, &[]),
        (Derivation::Md5, &["-md", "md5"]),
        (pbkdf2(600), &["-pbkdf2", "-iter", "600"]),
    ];
    for (how, options) in ways {
        for len in SIZES {
            let plain = bytes(len);
            write(&place.path("sealed"), &sealed(&plain, how));
            let decrypt = [options, &["-d", "-in", "sealed"]].concat();
            assert!(
                ok(&place.openssl(&decrypt)) == plain,
                "{how:?}: {len} bytes"
            );
            write(&place.path("plain"), &plain);
            let encrypt = [options, &["-salt", "-in", "plain"]].concat();
            let theirs = place.openssl(&encrypt);
            let opened = Decrypt::new(ok(&theirs), &password(), how).and_then(read);
            assert!(opened.expect("read") == plain, "{how:?}: {len} bytes");
        }
    }
}

#[test]
fn gpg_reads_what_is_written() {
    let place = Place::new();
    for len in SIZES {
        let plain = bytes(len);
        write(&place.path("sealed"), &gpg_sealed(&plain));
        let opened = place.gpg(&["--decrypt", "sealed"]);
        assert!(ok(&opened) == plain, "{len} bytes");
        let again = gpg::Decrypt::new(&gpg_sealed(&plain)[..], &password()).and_then(read);
        assert!(again.expect("read") == plain, "{len} bytes");
    }
}

#[test]
fn what_gpg_writes_is_read_however_it_compresses_and_whatever_aes_it_uses() {
    let place = Place::new();
    let ways = [
        ["--cipher-algo", "AES256", "--compress-algo", "none"],
        ["--cipher-algo", "AES256", "--compress-algo", "zip"],
        ["--cipher-algo", "AES192", "--compress-algo", "zlib"],
        ["--cipher-algo", "AES", "--s2k-digest-algo", "SHA512"],
    ];
    for (nth, way) in ways.iter().enumerate() {
        for len in [0, 17, 65_558, 1_500_007] {
            // Something to compress, too.
            let plain = [bytes(len), vec![7; len / 2]].concat();
            write(&place.path("plain"), &plain);
            let options = [&way[..], &["--symmetric", "--output", "-", "plain"]].concat();
            let theirs = place.gpg(&options);
            assert!(gpg::is_packet(ok(&theirs)), "{way:?}");
            let opened = gpg::Decrypt::new(ok(&theirs), &password()).and_then(read);
            assert!(opened.expect("read") == plain, "{nth}: {len} bytes");
        }
    }
}

#[test]
fn another_password_and_damage_are_said_as_such() {
    let other = Secret::new(b"another".to_vec());
    let plain = bytes(300_000);
    let of_openssl = sealed(&plain, Derivation::Sha256);
    let opened = Decrypt::new(&of_openssl[..], &other, Derivation::Sha256).and_then(read);
    assert!(opened.unwrap_err().to_string().contains("bad decrypt"));
    let cut = &of_openssl[..of_openssl.len() - 5];
    let opened = Decrypt::new(cut, &password(), Derivation::Sha256).and_then(read);
    assert!(opened.unwrap_err().to_string().contains("in the middle"));
    let of_gpg = gpg_sealed(&plain);
    let opened = gpg::Decrypt::new(&of_gpg[..], &other).and_then(read);
    assert!(opened.unwrap_err().to_string().contains("bad decrypt"));
    // One bit anywhere, or an end that is missing, is noticed.
    for at in [40, 1_000, 262_300, of_gpg.len() - 30, of_gpg.len() - 1] {
        let mut damaged = of_gpg.clone();
        damaged[at] ^= 1;
        let opened = gpg::Decrypt::new(&damaged[..], &password()).and_then(read);
        assert!(opened.is_err(), "a bit of byte {at}");
    }
    for len in [10, 60, 262_200, of_gpg.len() - 1] {
        let opened = gpg::Decrypt::new(&of_gpg[..len], &password()).and_then(read);
        assert!(opened.is_err(), "{len} bytes");
    }
}
