//! What a server says before a base backup of it is taken: whether one can be taken, and whether it would
//! restore anything. Asks; changes nothing.

use crate::model::wal::{Archiver, SegmentBytes, SystemId};
use crate::source::SourceError;
use crate::source::postgres::connection::Connection;
use serde::Deserialize;

/// The oldest version whose `pg_basebackup` writes a manifest.
const MAJOR_MIN: u32 = 13;

/// What a server says of itself.
#[derive(Debug, Clone, Deserialize)]
pub struct Server {
    /// `15.18 (Debian 15.18-1)`.
    pub version: String,
    /// `15`.
    pub major: u32,
    /// The cluster.
    pub system: SystemId,
    /// How long its segments are.
    pub segment_bytes: SegmentBytes,
    /// Whether its pages have checksums.
    pub checksums: bool,
    /// The role that `initdb` made.
    pub superuser: Option<String>,
    /// Whether it archives its WAL: `on`, `off`, `always`.
    pub archive_mode: String,
    /// Whether it has no way to archive: neither a command nor a library, as far as who asks may see.
    pub archives_nowhere: bool,
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// Tablespaces besides the two that every server has.
    pub tablespaces: Vec<String>,
    /// Whether who asks may take base backups.
    pub may_replicate: bool,
    /// How its archiving goes.
    pub archiver: Archiver,
}

const QUESTION: &str = "SELECT json_build_object(
  'version', current_setting('server_version'),
  'major', current_setting('server_version_num')::int / 10000,
  'system', (SELECT system_identifier::text FROM pg_control_system()),
  'segment_bytes', (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'),
  'checksums', current_setting('data_checksums') = 'on',
  'superuser', (SELECT rolname FROM pg_roles WHERE oid = 10),
  'archive_mode', current_setting('archive_mode'),
  'archives_nowhere', (SELECT count(*) FROM pg_settings
      WHERE name IN ('archive_command', 'archive_library') AND setting = '')
      = CASE WHEN current_setting('server_version_num')::int >= 150000 THEN 2 ELSE 1 END,
  'in_recovery', pg_is_in_recovery(),
  'tablespaces', (SELECT coalesce(json_agg(spcname ORDER BY spcname), '[]'::json) FROM pg_tablespace
      WHERE spcname NOT IN ('pg_default', 'pg_global')),
  'may_replicate', (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user),
  'archiver', (SELECT json_build_object(
      'current', CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_walfile_name(pg_current_wal_lsn()) END,
      'last_archived', last_archived_wal, 'last_archived_at', last_archived_time,
      'last_failed', last_failed_wal, 'last_failed_at', last_failed_time) FROM pg_stat_archiver))";

/// Asks the server.
pub fn ask(connection: &Connection) -> Result<Server, SourceError> {
    Ok(connection.ask(QUESTION)?)
}

impl Server {
    /// Refuses a server that no base backup can be taken of, or none that could be restored.
    pub(super) fn permits_base(&self, has_archive: bool) -> Result<(), SourceError> {
        let refused = |words: String| Err(SourceError::Refused(words));
        if self.major < MAJOR_MIN {
            return refused(format!(
                "the server is PostgreSQL {}: base backups need {MAJOR_MIN} or newer, whose files can be proven; dumps work",
                self.version
            ));
        }
        if !self.tablespaces.is_empty() {
            return refused(format!(
                "the server has tablespaces ({}), and this version of ccb takes base backups of servers without; use method=\"dump\"",
                self.tablespaces.join(", ")
            ));
        }
        if !self.may_replicate {
            return refused(
                "the role may not take base backups: ALTER ROLE … REPLICATION".to_owned(),
            );
        }
        if self.archive_mode == "off" && !has_archive {
            return refused(
                "the server archives no WAL (archive_mode is off), and without it a base backup restores nothing: set archive_mode = on and archive_command = 'ccb wal push PLANFILE COMPONENT %p', then restart it".to_owned(),
            );
        }
        // A standby leaves the archiving to its primary, unless it does so itself, always.
        let archives = match self.archive_mode.as_str() {
            "always" => true,
            "on" => !self.in_recovery,
            _ => false,
        };
        if archives && self.archives_nowhere {
            let way_out = match has_archive {
                true => {
                    "to what copies WAL into archive-dir, or to '/bin/true' where pg_receivewal does"
                }
                false => "= 'ccb wal push PLANFILE COMPONENT %p'",
            };
            return refused(format!(
                "the server archives no WAL (archive_mode is {}, and archive_command is empty), and a base backup would wait for it for ever: set archive_command {way_out}, then reload it",
                self.archive_mode
            ));
        }
        Ok(())
    }
}
