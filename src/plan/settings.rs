//! A strategy as a flat list of settings: address and plan file text. Comparing two of these lists is
//! comparing two plan files by meaning. Settings at their default are left out where a file would.

use crate::model::ids::Address;
use crate::model::strategy::{
    ApplySettings, BucketSource, Component, Credentials, Destination, DestinationKind, Export,
    FilesSource, Hook, Keep, KeepRule, Level, Missed, Notify, Pick, PostgresSource, RedisSource,
    Schedule, SecretRef, SourceSpec, Strategy, TestServer, Timing, Until, VerifySettings,
};
use crate::model::units::{Day, DayOfYear, Period, Weekday};
use serde::Serialize;
use std::fmt::Display;

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Where it stands.
    pub(crate) address: Address,
    /// Tells settings of one address apart, such as two `daily` lines with different selectors.
    among: String,
    /// The text without what `among` says already.
    pub(crate) short: String,
    /// The whole text.
    pub(crate) full: String,
}

impl Setting {
    pub(crate) fn key(&self) -> (&Address, &str) {
        (&self.address, &self.among)
    }
}

/// All settings, in the order of the file.
pub(crate) fn settings(strategy: &Strategy) -> Vec<Setting> {
    let mut list = List::default();
    let plan = Address("plan".to_owned());
    list.say(plan.child("environment"), quoted(&strategy.environment));
    list.say(plan.child("timezone"), quoted(&strategy.timezone));
    list.apply(&strategy.apply);
    for encryption in &strategy.encryptions {
        let at = Address::encryption(&encryption.name);
        list.say(at.child("cipher"), word(&encryption.cipher));
        list.say(at.child("key"), secret(&encryption.key));
        list.say(at.child("kdf"), word(&encryption.kdf));
        list.some(
            at.child("rotate-after"),
            encryption.rotate_after.map(period),
        );
    }
    for destination in &strategy.destinations {
        list.destination(destination);
    }
    for component in &strategy.components {
        list.component(component);
    }
    list.policy(strategy);
    for notify in &strategy.notify {
        list.notify(notify);
    }
    list.0
}

#[derive(Default)]
struct List(Vec<Setting>);

impl List {
    fn say(&mut self, address: Address, text: impl Into<String>) {
        let text = text.into();
        self.0.push(Setting {
            address,
            among: String::new(),
            short: text.clone(),
            full: text,
        });
    }
    fn some(&mut self, address: Address, text: Option<String>) {
        if let Some(text) = text {
            self.say(address, text);
        }
    }
    fn flag(&mut self, address: Address, set: bool) {
        self.say(address, boolean(set));
    }
    fn names<T: Display>(&mut self, address: Address, names: &[T]) {
        self.some(address, (!names.is_empty()).then(|| each_quoted(names)));
    }

    fn apply(&mut self, apply: &ApplySettings) {
        let at = Address("apply".to_owned());
        self.say(at.child("parallelism"), apply.parallelism.to_string());
        self.say(at.child("lock-timeout"), period(apply.lock_timeout));
        self.say(at.child("plan-max-age"), period(apply.plan_max_age));
        let limit = Line::new("")
            .prop("count", apply.forget_limit_count)
            .prop("percent", apply.forget_limit_percent.0);
        self.say(at.child("forget-limit"), limit.0);
        self.say(at.child("trash"), period(apply.trash));
    }

    fn destination(&mut self, destination: &Destination) {
        let at = Address::destination(&destination.name);
        self.flag(at.child("optional"), destination.optional);
        let (kind, text) = place(&destination.kind);
        self.say(at.child(kind), text);
        let encrypt = destination.encrypt.as_ref();
        let none = || "none=#true".to_owned();
        self.say(at.child("encrypt"), encrypt.map_or_else(none, quoted));
        if let Some(sse) = &destination.sse {
            let line = Line::new(word(&sse.mode)).text("key-id", sse.key_id.as_ref());
            self.say(at.child("sse"), line.0);
        }
        self.credentials(&at, destination.credentials.as_ref());
        let location = &destination.location;
        let line = Line::new("")
            .text("provider", location.provider.as_ref())
            .text("region", location.region.as_ref())
            .text("site", location.site.as_ref())
            .text("host", location.host.as_ref())
            .when(location.offsite, "offsite=#true");
        self.some(at.child("location"), (!line.0.is_empty()).then_some(line.0));
        if let Some(lock) = &destination.object_lock {
            let mode = if lock.compliance {
                "compliance"
            } else {
                "governance"
            };
            let line = Line::new(quoted(mode)).prop("days", lock.days);
            self.say(at.child("object-lock"), line.0);
        }
    }

    fn component(&mut self, component: &Component) {
        let at = Address::component(&component.name);
        self.flag(at.child("enabled"), component.enabled);
        self.flag(at.child("sensitive"), component.sensitive);
        let source = at.child("source");
        self.say(source.clone(), quoted(component.source.kind()));
        match &component.source {
            SourceSpec::Postgres(postgres) => self.postgres(&source, postgres),
            SourceSpec::Redis(redis) => self.redis(&source, redis),
            SourceSpec::Files(files) => self.files(&source, files),
            SourceSpec::S3(bucket) => self.bucket(&source, bucket),
        }
        self.names(at.child("after"), &component.after);
        self.names(at.child("store"), &component.store);
        for schedule in &component.schedules {
            let address = at.child("schedule").child(&schedule.name);
            self.say(address, schedule_text(schedule));
        }
        for rule in &component.retain {
            self.keep(&at.child("retain"), rule);
        }
        self.verify(&at.child("verify"), &component.verify);
        for export in &component.exports {
            self.export(&at.child("export"), export);
        }
        for hook in &component.hooks {
            self.hook(&at.child("hook"), hook);
        }
        self.names(at.child("moved"), &component.moved_from);
    }

    fn postgres(&mut self, at: &Address, source: &PostgresSource) {
        self.some(at.child("host"), source.host.as_ref().map(quoted));
        self.say(at.child("port"), source.port.to_string());
        self.some(at.child("user"), source.user.as_ref().map(quoted));
        self.some(at.child("password"), source.password.as_ref().map(secret));
        self.say(at.child("database"), quoted(&source.database));
        self.say(at.child("sslmode"), quoted(source.sslmode.as_str()));
        self.say(at.child("format"), word(&source.format));
        self.say(at.child("compress"), source.compress.to_string());
        self.names(at.child("schemas"), &source.schemas);
        self.names(at.child("exclude-tables"), &source.exclude_tables);
        self.say(at.child("timeout"), period(source.timeout));
        if let Some(wal) = &source.wal {
            let line = Line::new("")
                .text("archive-dir", wal.archive_dir.as_ref())
                .text("slot", wal.slot.as_ref());
            self.say(at.child("wal"), line.0);
        }
        self.names(at.child("via"), &source.via);
    }

    fn redis(&mut self, at: &Address, source: &RedisSource) {
        self.say(at.child("url"), secret(&source.url));
        self.some(at.child("data-dir"), source.data_dir.as_ref().map(quoted));
        self.names(at.child("via"), &source.via);
    }

    fn files(&mut self, at: &Address, source: &FilesSource) {
        self.say(at.child("path"), quoted(&source.path));
        self.names(at.child("subdirectories"), &source.subdirectories);
        self.names(at.child("exclude"), &source.exclude);
        self.say(at.child("symlinks"), word(&source.symlinks));
    }

    fn credentials(&mut self, at: &Address, credentials: Option<&Credentials>) {
        if let Some(credentials) = credentials {
            let line = Line::new("")
                .text("profile", credentials.profile.as_ref())
                .text("env-prefix", credentials.env_prefix.as_ref());
            self.say(at.child("credentials"), line.0);
        }
    }

    fn bucket(&mut self, at: &Address, source: &BucketSource) {
        let line = Line::new(quoted(&source.bucket))
            .text("region", source.region.as_ref())
            .text("endpoint", source.endpoint.as_ref())
            .when(source.path_style, "path-style=#true");
        self.say(at.child("bucket"), line.0);
        self.credentials(at, source.credentials.as_ref());
        let state = |on: bool| quoted(if on { "enabled" } else { "suspended" });
        self.some(at.child("versioning"), source.versioning.map(state));
        if let Some(lifecycle) = &source.lifecycle {
            let line = Line::new("")
                .text("noncurrent-expire", lifecycle.noncurrent_expire)
                .text("current-expire", lifecycle.current_expire)
                .text("abort-multipart", lifecycle.abort_multipart);
            self.say(at.child("lifecycle"), line.0);
        }
        if let Some(replication) = &source.replication {
            let line = Line::new("")
                .text("to", Some(&replication.to))
                .text("region", replication.region.as_ref())
                .text("endpoint", replication.endpoint.as_ref())
                .text("role", replication.role.as_ref())
                .text("max-lag", Some(replication.max_lag));
            self.say(at.child("replication"), line.0);
        }
        let drift = if source.fix_drift { "fix" } else { "report" };
        self.say(at.child("on-drift"), quoted(drift));
    }

    fn keep(&mut self, at: &Address, rule: &KeepRule) {
        let selectors = Line::new(options(&rule.keep))
            .text("method", rule.among.method)
            .text("schedule", rule.among.schedule.as_ref())
            .text("tag", rule.among.tag.as_ref())
            .0;
        let short = argument(&rule.keep);
        let full = [short.as_str(), selectors.as_str()].join(" ");
        self.0.push(Setting {
            address: at.child(rule.keep.word()),
            // Two `all` lines differ only by what they look at.
            among: selectors,
            short: if short.is_empty() {
                full.trim().to_owned()
            } else {
                short
            },
            full: full.trim().to_owned(),
        });
    }

    fn verify(&mut self, at: &Address, verify: &VerifySettings) {
        if let Some(presence) = &verify.presence {
            let line = Line::new("")
                .prop("min-size", quoted(format!("{}B", presence.min_size.0)))
                .text("max-shrink", Some(presence.max_shrink))
                .text("fresh", presence.fresh);
            self.say(at.child("presence"), line.0);
        }
        if let Some(integrity) = &verify.integrity {
            let line = Line::new("")
                .text("every", Some(integrity.every))
                .text("sample", Some(integrity.sample));
            self.say(at.child("integrity"), line.0);
        }
        if let Some(contents) = &verify.contents {
            let matched = |on: bool| Some(if on { "match" } else { "ignore" });
            let line = Line::new("")
                .text("counts", matched(contents.counts))
                .text("sizes", matched(contents.sizes))
                .text("keys-tolerance", Some(contents.keys_tolerance));
            self.say(at.child("contents"), line.0);
            self.names(at.child("contents").child("tables"), &contents.tables);
        }
        if let Some(test) = &verify.restore_test {
            let mut line = Line::new("")
                .text("every", Some(test.every))
                .text("into", Some(test.into.as_str()));
            if let Some(files) = test.files {
                line = line.prop("files", files);
            }
            let test_at = at.child("restore-test");
            self.say(test_at.clone(), line.0);
            if let Some(server) = &test.server {
                self.test_server(&test_at.child("server"), server);
            }
        }
        if verify.encrypted {
            self.say(at.child("encrypted"), boolean(true));
        }
    }

    fn test_server(&mut self, at: &Address, server: &TestServer) {
        self.say(at.child("host"), quoted(&server.host));
        self.say(at.child("port"), server.port.to_string());
        self.some(at.child("user"), server.user.as_ref().map(quoted));
        self.some(at.child("password"), server.password.as_ref().map(secret));
        self.say(at.child("sslmode"), quoted(server.sslmode.as_str()));
    }

    fn export(&mut self, at: &Address, export: &Export) {
        let head = Line::new("")
            .text("to", Some(&export.to))
            .text("method", export.method)
            .0;
        let mut text = Line::new(&head).text("layout", Some(&export.layout));
        if let Some(key) = &export.key {
            text = text.prop("key", format!("({})", secret(key)));
        }
        if let Some(rounds) = export.pbkdf2_iterations {
            text = text.prop("iterations", rounds);
        }
        for keep in &export.keep {
            let tier = keep.tier.map_or("all", |tier| tier.as_str());
            text = text.prop("keep", format!("({tier} {})", keep.count));
        }
        self.0.push(Setting {
            address: at.child(export.kind.as_str()),
            among: head,
            short: text.0.clone(),
            full: text.0,
        });
    }

    fn hook(&mut self, at: &Address, hook: &Hook) {
        let on = if hook.on_restore { "restore" } else { "backup" };
        let text = Line::new("")
            .text("on", Some(on))
            .text("timeout", Some(hook.timeout))
            .prop("run", each_quoted(&hook.run));
        let word: String = word(&hook.when).trim_matches('"').to_owned();
        self.0.push(Setting {
            address: at.child(word),
            among: format!("{on} {}", each_quoted(&hook.run)),
            short: text.0.clone(),
            full: text.0,
        });
    }

    fn policy(&mut self, strategy: &Strategy) {
        let at = Address("policy".to_owned());
        let policy = &strategy.policy;
        self.some(at.child("preset"), policy.preset.map(|p| word(&p)));
        for (name, minimum) in [("copies", &policy.copies), ("offsite", &policy.offsite)] {
            if let Some(minimum) = minimum {
                let line = Line::new("").prop("min", minimum.min);
                self.say(at.child(name), line.level(minimum.level).0);
            }
        }
        if let Some(test) = &policy.restore_test {
            let line = Line::new("").text("within", Some(test.within));
            self.say(at.child("restore-test"), line.level(test.level).0);
        }
        for (rule, level) in &policy.levels {
            self.say(at.child("set").child(rule), word(level));
        }
        for waiver in &policy.waivers {
            let head = Line::new("").text("for", Some(&waiver.for_)).0;
            let text = Line::new(&head)
                .text("until", Some(waiver.until))
                .text("reason", Some(&waiver.reason));
            self.0.push(Setting {
                address: at.child("waive").child(&waiver.rule),
                among: head,
                short: text.0.clone(),
                full: text.0,
            });
        }
    }

    fn notify(&mut self, notify: &Notify) {
        let at = Address("notify".to_owned()).child(&notify.name);
        let pings = notify.healthchecks.as_ref().map(secret);
        self.some(at.child("healthchecks"), pings);
        for webhook in &notify.webhooks {
            let url = secret(&webhook.url);
            let on: Vec<String> = webhook.on.iter().map(word).collect();
            let text = format!("{url} on {}", on.join(" "));
            self.0.push(Setting {
                address: at.child("webhook"),
                among: url,
                short: text.clone(),
                full: text,
            });
        }
        self.some(
            at.child("prometheus"),
            notify.prometheus.as_ref().map(quoted),
        );
        if let Some(log) = &notify.log {
            let line = Line::new("")
                .text("file", Some(&log.file))
                .text("keep", Some(log.keep));
            self.say(at.child("log"), line.0);
        }
    }
}

fn place(kind: &DestinationKind) -> (&'static str, String) {
    match kind {
        DestinationKind::Local { path } => ("local", quoted(path)),
        DestinationKind::Sftp { url } => ("sftp", quoted(url)),
        DestinationKind::S3 {
            url,
            region,
            endpoint,
            path_style,
            storage_class,
        } => {
            let line = Line::new(quoted(url))
                .text("region", region.as_ref())
                .text("endpoint", endpoint.as_ref())
                .when(*path_style, "path-style=#true")
                .text("storage-class", storage_class.as_ref());
            ("s3", line.0)
        }
    }
}

/// A schedule as its properties: `at="02:00" method="dump" window="4h"`.
pub(crate) fn schedule_text(schedule: &Schedule) -> String {
    let timing = match &schedule.timing {
        Timing::At { time, on } => Line::new("").text("at", Some(time)).text("on", on.as_ref()),
        Timing::Every(every) => Line::new("").text("every", Some(every)),
        Timing::Cron(cron) => Line::new("").text("cron", Some(cron)),
        Timing::OnDemand => Line::new("").text("when", Some("on-demand")),
        Timing::Continuous => Line::new("").text("when", Some("continuous")),
    };
    let other_window = (schedule.window != Period::hours(6)).then_some(schedule.window);
    let skips = schedule.missed == Missed::Skip;
    timing
        .text("method", Some(schedule.method))
        .text("window", other_window)
        .when(skips, "missed=\"skip\"")
        .text("tag", schedule.tag.as_ref())
        .when(!schedule.enabled, "enabled=#false")
        .0
}

/// What stands after the word of a keep rule: `30`, `"7d"`, nothing for `all`.
fn argument(keep: &Keep) -> String {
    match keep {
        Keep::Last(count)
        | Keep::Hourly { count, .. }
        | Keep::Daily { count, .. }
        | Keep::Weekly { count, .. }
        | Keep::Monthly { count, .. }
        | Keep::Yearly { count, .. } => count.to_string(),
        Keep::Within(age) | Keep::Pitr(age) | Keep::Expire(age) => period(*age),
        Keep::All(_) => String::new(),
    }
}

/// Properties of a keep rule that are not at their default.
fn options(keep: &Keep) -> String {
    let pick = |pick: &Pick, default: Pick| (*pick != default).then(|| word(pick));
    let first_day = DayOfYear { month: 1, day: 1 };
    let (on, pick) = match keep {
        Keep::Hourly { pick: p, .. } | Keep::Daily { pick: p, .. } => (None, pick(p, Pick::Last)),
        Keep::Weekly { on, pick: p, .. } => {
            let other = (*on != Day::Week(Weekday::Sunday)).then(|| quoted(on));
            (other, pick(p, Pick::First))
        }
        Keep::Monthly { on, pick: p, .. } => {
            let other = (*on != Day::Month(1)).then(|| quoted(on));
            (other, pick(p, Pick::First))
        }
        Keep::Yearly { on, pick: p, .. } => {
            let other = (*on != first_day).then(|| quoted(on));
            (other, pick(p, Pick::First))
        }
        Keep::All(Some(Until::Verified)) => return "until=\"verified\"".to_owned(),
        Keep::All(Some(Until::Released)) => return "until=\"released\"".to_owned(),
        _ => (None, None),
    };
    let mut line = Line::new("");
    for (name, value) in [("on", on), ("pick", pick)] {
        if let Some(value) = value {
            line = line.prop(name, value);
        }
    }
    line.0
}

/// Words of one line of a plan file.
struct Line(String);

impl Line {
    fn new(start: impl Into<String>) -> Self {
        Self(start.into())
    }
    fn push(mut self, text: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(text);
        self
    }
    fn prop(self, name: &str, value: impl Display) -> Self {
        self.push(&format!("{name}={value}"))
    }
    fn text(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.prop(name, quoted(value)),
            None => self,
        }
    }
    fn when(self, holds: bool, text: &str) -> Self {
        if holds { self.push(text) } else { self }
    }
    fn level(self, level: Option<Level>) -> Self {
        match level {
            Some(level) => self.prop("level", word(&level)),
            None => self,
        }
    }
}

/// `"text"`, with what KDL needs escaped.
pub(crate) fn quoted(text: impl Display) -> String {
    let text = text.to_string().replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', "\\n"))
}

/// `"a" "b"`.
pub(crate) fn each_quoted<T: Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(quoted).collect();
    items.join(" ")
}

fn period(period: Period) -> String {
    quoted(period)
}

fn boolean(set: bool) -> String {
    if set { "#true" } else { "#false" }.to_owned()
}

/// The plan file's word for a value of an enumeration, quoted: it is serialised by the same word.
fn word<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("a unit variant is a string")
}

fn secret(secret: &SecretRef) -> String {
    match secret {
        SecretRef::Env(name) => format!("env={}", quoted(name)),
        SecretRef::File(path) => format!("file={}", quoted(path)),
        SecretRef::Command(command) => format!("command={}", quoted(command)),
    }
}
