//! `ccb restore` of a bucket: a backup's objects into the bucket or a directory, and earlier versions that the bucket
//! itself has, for which no repository is needed.

use crate::cli::args::RestoreArguments;
use crate::cli::exit::{Exit, Trouble};
use crate::cli::holdings::FoundBackup;
use crate::cli::restore::told::{Sum, Teller};
use crate::cli::restore::{restore_files, tell_result, word};
use crate::cli::{Context, access, approve, input, read};
use crate::model::ids::ComponentName;
use crate::model::strategy::{BucketSource, SourceSpec};
use crate::model::units::{Size, counted, to_minute};
use crate::plan_file::UnsetEnv;
use crate::restore::bucket::{
    Intent, Limits, Report, Target, VersionsTree, as_of, copy_back, put_back,
};
use crate::restore::files::{self, Overwrite, OwnersBy, Sameness};
use crate::source::bucket::{Bucket, ObjectVersion};
use std::sync::Arc;

/// Restores a backup of a bucket.
pub async fn restore_mirror(
    source: &BucketSource,
    found: &FoundBackup,
    arguments: &RestoreArguments,
    context: &Context,
) -> Result<Exit, Trouble> {
    let Some(place) = Place::of(source, arguments) else {
        return restore_files(None, found, arguments, context).await;
    };
    let manifest = &found.backup.manifest;
    let what = format!("{} of {}", manifest.id.short(), to_minute(manifest.started));
    place.ask_before(&what, arguments, context)?;
    let target = place.open(source, arguments).await?;
    let paths: Vec<_> = arguments
        .paths
        .iter()
        .map(|path| read::clean(path))
        .collect();
    let (reader, root) = (found.reader().await?, manifest.root_node());
    let mut teller = Teller::new(arguments, context);
    let mut tell = |key: &str, intent: Intent| teller.hear(key.as_bytes(), of_object(intent));
    let put = put_back(&reader, &root, &paths, &target, &mut tell).await;
    let report = put.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
    told(teller, report, &place, arguments)
}

/// Restores versions that the bucket itself has: as they were at an instant, or one by its id.
pub async fn restore_versions(
    arguments: &RestoreArguments,
    context: &Context,
) -> Result<Exit, Trouble> {
    let wrong = |words: String| Trouble::new(Exit::Error, words);
    let variables = &context.global.variables;
    let file = &arguments.file;
    let strategy = input::strategy(file, variables, UnsetEnv::Refuse, &context.terminal)?;
    let name = ComponentName::new(&arguments.component);
    let name = name.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
    let Some(component) = strategy.component(&name) else {
        return Err(wrong(format!("there is no component `{name}` in {file}")));
    };
    let SourceSpec::S3(source) = &component.source else {
        let words = format!("component.{name} is no bucket; only a bucket has versions of its own");
        return Err(wrong(words));
    };
    let place = Place::of(source, arguments);
    if let Some(place) = &place {
        place.ask_before("versions of its objects", arguments, context)?;
    }
    let access = access::of_source(source).await;
    let access = access.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
    let from = Bucket::new(&access).map_err(|e| Trouble::from_error(Exit::Error, &e))?;
    let from = Arc::new(from);
    let versions = chosen(&from, arguments).await?;
    if versions.is_empty() {
        let words = format!(
            "the bucket `{}` had no such object then; `--dry-run` without a path tells which it had",
            source.bucket
        );
        return Err(Trouble::new(Exit::Absent, words));
    }
    match place {
        Some(place) => {
            let target = place.open(source, arguments).await?;
            let mut teller = Teller::new(arguments, context);
            let mut tell =
                |key: &str, intent: Intent| teller.hear(key.as_bytes(), of_object(intent));
            let limits = Limits::default();
            let copied = copy_back(&from, versions, &target, limits, &mut tell).await;
            let report = copied.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
            told(teller, report, &place, arguments)
        }
        None => into_directory(from, versions, arguments, context).await,
    }
}

/// The versions that are asked for.
async fn chosen(
    bucket: &Bucket,
    arguments: &RestoreArguments,
) -> Result<Vec<ObjectVersion>, Trouble> {
    let failed = |e| Trouble::from_error(Exit::Error, &e);
    if let Some(id) = &arguments.object_version {
        let [key] = arguments.paths.as_slice() else {
            let words = "a version is of one object: name it after the component";
            return Err(Trouble::new(Exit::Error, words));
        };
        let all = bucket.versions(key).await.map_err(failed)?;
        let of_key = all
            .into_iter()
            .filter(|version| version.object.key == key.as_bytes());
        let found: Vec<_> = of_key.filter(|version| version.id == *id).collect();
        if found.iter().any(|version| version.is_deletion) {
            let words =
                format!("version `{id}` of `{key}` is its deletion: there is nothing in it");
            return Err(Trouble::new(Exit::Error, words));
        }
        return Ok(found);
    }
    let mut versions = Vec::new();
    let prefixes = match arguments.paths.as_slice() {
        [] => vec![String::new()],
        paths => paths.to_vec(),
    };
    for prefix in prefixes {
        let all = bucket.versions(&prefix).await.map_err(failed)?;
        versions.extend(
            all.into_iter()
                .filter(|version| is_below(&version.object.key, &prefix)),
        );
    }
    // Of overlapping paths each version once; the newest stays first.
    versions.sort_by(|a, b| a.object.key.cmp(&b.object.key));
    Ok(as_of(versions, arguments.time))
}

/// Whether a key is this one, or lies below it.
fn is_below(key: &[u8], prefix: &str) -> bool {
    let rest = key.strip_prefix(prefix.as_bytes());
    prefix.is_empty()
        || prefix.ends_with('/')
        || rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

async fn into_directory(
    bucket: Arc<Bucket>,
    versions: Vec<ObjectVersion>,
    arguments: &RestoreArguments,
    context: &Context,
) -> Result<Exit, Trouble> {
    let target = arguments.to.clone().unwrap_or_default();
    let request = files::Request {
        target: target.clone(),
        paths: Vec::new(),
        overwrite: match arguments.overwrite {
            true => Overwrite::Always,
            false => Overwrite::Never,
        },
        sameness: Sameness::SizeAndTime,
        owners: OwnersBy::Number,
        dry_run: arguments.dry_run,
    };
    let tree = VersionsTree::new(bucket, versions);
    let mut teller = Teller::new(arguments, context);
    let mut tell = |path: &[u8], intent: files::Intent| teller.hear(path, word(intent));
    let restored = files::restore(&tree, &tree.root(), &request, &mut tell).await;
    let report = restored.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
    tell_result(teller, &report, &target, arguments)
}

/// The bucket that objects are put into.
struct Place {
    bucket: String,
    prefix: String,
    /// It is the one that they are from.
    is_source: bool,
}

impl Place {
    /// The source's bucket, or the one that is named; none when that is a directory.
    fn of(source: &BucketSource, arguments: &RestoreArguments) -> Option<Self> {
        let Some(to) = &arguments.to else {
            return Some(Self {
                bucket: source.bucket.clone(),
                prefix: String::new(),
                is_source: true,
            });
        };
        let rest = to.to_str()?.strip_prefix("s3://")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        Some(Self {
            bucket: bucket.to_owned(),
            prefix: match prefix {
                "" => String::new(),
                prefix => format!("{prefix}/"),
            },
            is_source: false,
        })
    }

    fn url(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    fn ask_before(
        &self,
        what: &str,
        arguments: &RestoreArguments,
        context: &Context,
    ) -> Result<(), Trouble> {
        if !self.is_source || arguments.dry_run || arguments.auto_approve {
            return Ok(());
        }
        let question = format!(
            "Restore {what} into the bucket `{}`, where it was read from?",
            self.bucket
        );
        let how_else = "say where to with --to, or add --auto-approve";
        approve::ask(context.global.input, &question, how_else)
    }

    /// With the source's endpoint and rights.
    async fn open(
        &self,
        source: &BucketSource,
        arguments: &RestoreArguments,
    ) -> Result<Target, Trouble> {
        let named = BucketSource {
            bucket: self.bucket.clone(),
            ..source.clone()
        };
        let access = access::of_source(&named).await;
        let access = access.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
        let bucket = Bucket::new(&access).map_err(|e| Trouble::from_error(Exit::Error, &e))?;
        Ok(Target {
            bucket: Arc::new(bucket),
            prefix: self.prefix.clone(),
            overwrite: arguments.overwrite,
            dry_run: arguments.dry_run,
        })
    }
}

fn of_object(intent: Intent) -> &'static str {
    match intent {
        Intent::Create => "create",
        Intent::Overwrite => "overwrite",
        Intent::Keep => "keep",
        Intent::Refuse => "refuse",
    }
}

fn told(
    teller: Teller,
    report: Report,
    place: &Place,
    arguments: &RestoreArguments,
) -> Result<Exit, Trouble> {
    let verb = match arguments.dry_run {
        true => "Would restore",
        false => "Restored",
    };
    let kept = match report.kept {
        0 => String::new(),
        1 => " 1 was there already, the same.".to_owned(),
        kept => format!(" {kept} were there already, the same."),
    };
    let target = place.url();
    let words = format!(
        "{verb} {}, {} to `{target}`.{kept}",
        counted(report.objects, "object", "objects"),
        Size(report.bytes),
    );
    let sum = Sum {
        target,
        written: report.objects,
        bytes: report.bytes,
        kept: report.kept,
        problems: report.problems,
        problem_count: report.problem_count,
    };
    teller.end(sum, &words, arguments)
}
