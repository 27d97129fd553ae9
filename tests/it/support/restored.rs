//! Servers that `ccb restore` made: started beside the original, on a socket of their own, and recovered.

use crate::support::archiving::Archiving;
use crate::support::postgres::{Cluster, Options};
use std::fs;
use std::time::{Duration, Instant};

/// A directory that is restored by `ccb`, not yet started.
pub(crate) struct Restored {
    pub(crate) cluster: Cluster,
    pub(crate) said: String,
}

impl Restored {
    pub(crate) fn of(given: &Archiving, arguments: &[&str]) -> Self {
        let cluster = Cluster::prepared(&Options::default());
        fs::remove_dir_all(cluster.data()).unwrap();
        let to = cluster.data().display().to_string();
        let all = [&["restore", "plan.kdl", "db", "--to", &to], arguments].concat();
        let said = given.expect(0, &all);
        // Beside the original, on a socket of its own.
        let settings = cluster.data().join("postgresql.auto.conf");
        let mut text = fs::read_to_string(&settings).unwrap();
        text += &format!("unix_socket_directories = '{}'\n", cluster.host());
        fs::write(&settings, text).unwrap();
        Self { cluster, said }
    }

    /// Started, and recovered.
    pub(crate) fn started(self) -> Cluster {
        recovered(self.cluster)
    }
}

/// Starts a server, and waits until it has recovered.
pub(crate) fn recovered(mut cluster: Cluster) -> Cluster {
    cluster.start_again();
    wait_for(|| {
        let asked = cluster.try_sql("postgres", "SELECT pg_is_in_recovery()");
        assert!(asked.status.success(), "{}", cluster.log());
        asked.stdout == b"f\n"
    });
    cluster
}

/// Longer than the slowest machine takes: what has not come by then never comes.
const PATIENCE: Duration = Duration::from_secs(300);

/// Waits for a condition.
#[track_caller]
pub(crate) fn wait_for(mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "it never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The server's clock, as `--time` takes it.
pub(crate) fn moment(cluster: &Cluster) -> String {
    let now =
        "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    cluster.sql("postgres", now)
}
