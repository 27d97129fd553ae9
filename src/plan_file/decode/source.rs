//! The four kinds of source.

use crate::model::strategy::{
    BucketSource, DumpFormat, FilesSource, Lifecycle, PostgresSource, RedisSource, Replication,
    SecretRef, SourceSpec, WalSource,
};
use crate::model::units::Period;
use crate::plan_file::decode::fields::Fields;
use crate::plan_file::decode::{Decoder, credentials, secret};

impl Decoder<'_> {
    pub(crate) fn source(&mut self, fields: &Fields<'_>) -> Option<SourceSpec> {
        match fields.arg::<String>()?.as_str() {
            "postgres" => self.postgres(fields).map(SourceSpec::Postgres),
            "redis" => Some(SourceSpec::Redis(RedisSource {
                url: secret(&fields.child("url")).unwrap_or(SecretRef::Env(String::new())),
                data_dir: fields.child("data-dir").arg(),
                via: fields.child("via").args(),
            })),
            "files" => Some(SourceSpec::Files(FilesSource {
                path: fields.child("path").arg().unwrap_or_default(),
                subdirectories: fields.child("subdirectories").args(),
                exclude: fields.child("exclude").args(),
                symlinks: fields.child("symlinks").choice()?,
            })),
            "s3" => self.bucket(fields).map(SourceSpec::S3),
            _ => None,
        }
    }

    fn postgres(&mut self, fields: &Fields<'_>) -> Option<PostgresSource> {
        let wal = fields.child("wal");
        if let Some(element) = wal.element
            && (element.prop("archive-dir").is_some() == element.prop("slot").is_some())
        {
            self.wrong(
                "ccb::config::wal",
                "`wal` is found at exactly one place".to_owned(),
                element.head,
                "needs archive-dir= or slot=",
                "write wal archive-dir=\"/var/lib/postgresql/wal-archive\"".to_owned(),
            );
        }
        Some(PostgresSource {
            host: fields.child("host").arg(),
            port: fields.child("port").arg().unwrap_or(5432),
            user: fields.child("user").arg(),
            password: secret(&fields.child("password")),
            database: fields.child("database").arg().unwrap_or_default(),
            sslmode: fields.child("sslmode").choice()?,
            format: self.dump_format(fields)?,
            compress: fields.child("compress").arg().unwrap_or_default(),
            schemas: fields.child("schemas").args(),
            exclude_tables: fields.child("exclude-tables").args(),
            timeout: fields.child("timeout").arg()?,
            wal: wal.element.map(|_| WalSource {
                archive_dir: wal.prop("archive-dir"),
                slot: wal.prop("slot"),
            }),
            via: fields.child("via").args(),
        })
    }

    /// `directory` is a format of pg_dump, and none of a backup's: its files would be written to a disk first.
    fn dump_format(&mut self, fields: &Fields<'_>) -> Option<DumpFormat> {
        let format = fields.child("format");
        match (format.arg::<String>()?.as_str(), format.element) {
            ("directory", Some(element)) => {
                self.wrong(
                    "ccb::config::dump-format",
                    "a dump is one stream, and `directory` is many files".to_owned(),
                    element.head,
                    "pg_dump can only write this format to a disk",
                    "write format \"custom\": it holds the same, restores with --jobs as well, and days de-duplicate"
                        .to_owned(),
                );
                Some(DumpFormat::Custom)
            }
            _ => format.choice(),
        }
    }

    fn bucket(&mut self, fields: &Fields<'_>) -> Option<BucketSource> {
        let bucket = fields.child("bucket");
        let lifecycle = fields.child("lifecycle");
        let replication = fields.child("replication");
        for name in ["noncurrent-expire", "current-expire", "abort-multipart"] {
            let written = lifecycle.element.and_then(|element| element.prop(name));
            let period: Option<Period> = lifecycle.prop(name);
            if let (Some(written), Some(period)) = (written, period)
                && (period.seconds == 0 || !period.seconds.is_multiple_of(Period::days(1).seconds))
            {
                self.wrong(
                    "ccb::config::lifecycle",
                    format!("`{name}` is no number of days"),
                    written.value.place,
                    "a bucket counts whole days",
                    format!("write {name}=\"90d\""),
                );
            }
        }
        Some(BucketSource {
            bucket: bucket.arg().unwrap_or_default(),
            region: bucket.prop("region"),
            endpoint: bucket.prop("endpoint"),
            path_style: bucket.prop("path-style").unwrap_or_default(),
            credentials: credentials(&fields.child("credentials")),
            versioning: fields
                .child("versioning")
                .arg::<String>()
                .map(|state| state == "enabled"),
            lifecycle: lifecycle.element.map(|_| Lifecycle {
                noncurrent_expire: lifecycle.prop("noncurrent-expire"),
                current_expire: lifecycle.prop("current-expire"),
                abort_multipart: lifecycle.prop("abort-multipart"),
            }),
            replication: replication.element.and_then(|_| {
                Some(Replication {
                    to: replication.prop("to").unwrap_or_default(),
                    region: replication.prop("region"),
                    endpoint: replication.prop("endpoint"),
                    role: replication.prop("role"),
                    max_lag: replication.prop("max-lag")?,
                })
            }),
            fix_drift: fields.child("on-drift").arg::<String>()? == "fix",
        })
    }
}
