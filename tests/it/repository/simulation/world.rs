//! One schedule: a seed decides who comes, whose call is next, what becomes of it, who is killed, who is cut
//! off or asleep, and when time passes.

use crate::repository::given::surroundings;
use crate::repository::simulation::broken::Tampering;
use crate::repository::simulation::calls::{CallKey, Calls, Life, Queue};
use crate::repository::simulation::calm::{Calm, rounds};
use crate::repository::simulation::dice::Dice;
use crate::repository::simulation::hosts::{Host, Place, Work};
use crate::repository::simulation::ledger::{Ledger, settles};
use crate::repository::simulation::site::{Effect, Site};
use crate::repository::simulation::trace::Trace;
use crate::repository::simulation::turns::{is_beside, of_life};
use crate::repository::simulation::weather::{Schedule, Weather};
use ccb::repository::{Repository, Surroundings};
use ccb::store::{Retries, Store};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Who waits for an answer asks so often before it gives up.
const RETRIES: Retries = Retries {
    attempts: 3,
    first_pause: Duration::ZERO,
    pause_max: Duration::ZERO,
};

/// How fast hosts are: slow ones meet several that are done meanwhile.
const SPEEDS: [u64; 4] = [1, 8, 8, 40];

/// So much may have been done before a schedule begins.
const BEFORE_MAX: u64 = 12;

/// More calls than any host still has to make when nobody comes any more.
const LAST_TURNS: u32 = 4000;

/// A life that goes on.
pub(super) struct Going {
    pub(super) life: Arc<Life>,
    pub(super) task: tokio::task::JoinHandle<()>,
    /// Until when none of its calls gets an answer.
    pub(super) cut_off_until: Timestamp,
    /// Until when it does nothing: its machine sleeps.
    pub(super) asleep_until: Timestamp,
    pub(super) skew_seconds: Arc<AtomicI64>,
    /// How often it is its turn, compared with others.
    pub(super) speed: u64,
}

pub(super) struct World {
    schedule: Schedule,
    pub(super) weather: Weather,
    pub(super) dice: Dice,
    /// The stores' clock; each host's own differs.
    pub(super) now: Arc<Mutex<Timestamp>>,
    pub(super) sites: [Site; 2],
    pub(super) queue: Queue,
    pub(super) going: BTreeMap<u64, Going>,
    lives: u64,
    calm: Calm,
    /// Whether what was let through last is something that hosts compute beside.
    pub(super) was_beside: bool,
    /// Calls whose host has given up on them, and that arrive all the same.
    pub(super) on_their_way: Vec<(Site, Effect)>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) trace: Arc<Trace>,
}

impl World {
    pub(super) async fn new(schedule: Schedule, mut calm: Calm) -> Self {
        let sites = async { [Site::new("here").await, Site::new("elsewhere").await] };
        let sites = calm.during(sites).await;
        let mut dice = Dice(schedule.seed);
        let weather = Weather::of(&mut dice);
        for site in &sites {
            *site.promised.trash.lock().unwrap() = Some(weather.prune.trash);
        }
        Self {
            schedule,
            weather,
            dice,
            now: Arc::new(Mutex::new("2026-01-01T00:00:00Z".parse().unwrap())),
            sites,
            queue: Queue::default(),
            going: BTreeMap::new(),
            lives: 0,
            calm,
            was_beside: false,
            on_their_way: Vec::new(),
            ledger: Arc::default(),
            trace: Arc::default(),
        }
    }

    /// Runs it. Returns what may never be, if it was.
    pub(super) async fn run(&mut self) -> Result<(), String> {
        for _ in 0..self.dice.roll(BEFORE_MAX) {
            // What there is before it begins: one after another, without any trouble.
            self.start(false);
            self.settle().await?;
            self.let_go_of_the_done().await?;
        }
        for turn in 0..self.schedule.turns {
            self.step(true)
                .await
                .map_err(|what| format!("turn {turn}: {what}"))?;
        }
        self.come_to_an_end().await?;
        self.everything_arrives().await;
        self.check().await?;
        for site in &self.sites {
            self.calm.during(settles(site, &self.ledger)).await?;
        }
        Ok(())
    }

    /// Nobody comes any more, and nothing goes wrong: who is there either dies or gets done.
    async fn come_to_an_end(&mut self) -> Result<(), String> {
        for number in self.going.keys().copied().collect::<Vec<_>>() {
            if self.dice.once_in(2) {
                self.kill(number);
            }
        }
        self.weather = self.weather.calmed();
        for going in self.going.values_mut() {
            (going.cut_off_until, going.asleep_until) = (Timestamp::MIN, Timestamp::MIN);
        }
        for _ in 0..LAST_TURNS {
            self.step(false).await?;
            if self.going.is_empty() {
                return Ok(());
            }
        }
        Err(format!("hosts do not get done: {:?}", self.going.keys()))
    }

    async fn check(&mut self) -> Result<(), String> {
        self.ledger.saw()?;
        for site in &self.sites {
            self.calm.during(self.ledger.check(site)).await?;
        }
        Ok(())
    }

    async fn step(&mut self, is_open: bool) -> Result<(), String> {
        self.settle().await?;
        self.let_go_of_the_done().await?;
        if is_open && self.going.len() < self.weather.hosts_max && self.dice.once_in(4) {
            self.start(true);
            self.was_beside = true;
            self.settle().await?;
        }
        if self.dice.once_in(self.weather.deaths)
            && let Some(number) = self.any_life()
        {
            self.kill(number);
        }
        if self.dice.once_in(self.weather.jumps) {
            self.trouble();
            self.calm.comes().await;
            self.pass_time().await;
            self.was_beside = true;
            self.settle().await?;
        }
        if self.dice.once_in(20) && !self.on_their_way.is_empty() {
            let at = self.dice.roll(self.on_their_way.len() as u64) as usize;
            let (site, effect) = self.on_their_way.swap_remove(at);
            self.trace
                .tell(format_args!("arrives late: {}", effect.key()));
            let _ = site.arrive(effect).await;
        }
        self.let_one_through();
        Ok(())
    }

    /// Lives that are done end; what was promised by then must be so.
    async fn let_go_of_the_done(&mut self) -> Result<(), String> {
        let before = self.going.len();
        self.going.retain(|_, going| !going.task.is_finished());
        match self.going.len() < before {
            true => self.check().await,
            false => Ok(()),
        }
    }

    pub(super) fn any_life(&mut self) -> Option<u64> {
        let numbers: Vec<u64> = self.going.keys().copied().collect();
        self.dice.pick(&numbers).copied()
    }

    pub(super) fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    /// A host begins a life; its calls take turns, or go through at once.
    fn start(&mut self, takes_turns: bool) {
        self.lives += 1;
        let number = self.lives;
        let work = Work::any(&mut self.dice, self.weather.prunes);
        // Most of what happens, happens at one place, so that hosts meet.
        let mut sites = self.sites.clone();
        if self.dice.once_in(5) {
            sites.reverse();
        }
        let what = format_args!("life {number} is at {} to {work:?}", sites[0].name);
        self.trace.tell(what);
        let life = Life::new(number);
        let skew_seconds = Arc::new(AtomicI64::new(self.skew()));
        let surroundings = self.surroundings(number, &skew_seconds);
        let calls = sites.map(|site| Calls {
            site,
            life: life.clone(),
            queue: self.queue.clone(),
            trace: self.trace.clone(),
            tampering: Arc::new(Tampering {
                broken: self.schedule.broken,
                role: work.role(),
                life: number,
                skew_seconds: skew_seconds.clone(),
                seen: Mutex::default(),
            }),
        });
        let (ledger, dice) = (self.ledger.clone(), Dice(self.dice.roll(u64::MAX)));
        let (weather, of) = (self.weather, life.clone());
        let task = tokio::task::spawn_local(async move {
            let mut places = Vec::new();
            let own = calls[0].clone();
            for calls in calls {
                let site = calls.site.clone();
                let store = Store::with_retries(Arc::new(calls), weather.at_once_max, RETRIES);
                let opened = Repository::open(store, None, &surroundings).await;
                places.push(Place {
                    repository: opened.unwrap(),
                    site,
                });
            }
            of.is_at_work.store(takes_turns, Relaxed);
            let (elsewhere, here) = (places.pop().unwrap(), places.pop().unwrap());
            let host = Host {
                life: of,
                calls: own,
                ledger,
                here,
                elsewhere,
                dice,
                prune: weather.prune,
                is_patient: weather.prune.grace.seconds > 0,
            };
            host.work(work).await;
        });
        let going = Going {
            life,
            task,
            cut_off_until: Timestamp::MIN,
            asleep_until: Timestamp::MIN,
            skew_seconds,
            speed: self.dice.any(&SPEEDS),
        };
        self.going.insert(number, going);
    }

    fn surroundings(&self, life: u64, skew: &Arc<AtomicI64>) -> Surroundings {
        let (now, skew) = (self.now.clone(), skew.clone());
        let began = self.now();
        let since = self.now.clone();
        let broken = self.schedule.broken;
        let usual = surroundings(&format!("{}-{life}", self.schedule.seed));
        let random = usual.random;
        Surroundings {
            random: Arc::new(move |out: &mut [u8]| {
                random(out);
                Tampering::salts(broken, out);
            }),
            now: Arc::new(move || {
                let skew = SignedDuration::from_secs(skew.load(Relaxed));
                now.lock().unwrap().checked_add(skew).unwrap()
            }),
            uptime: Arc::new(move || {
                let on = since.lock().unwrap().duration_since(began);
                Duration::try_from(on).unwrap_or_default()
            }),
            ..usual
        }
    }

    /// Waits until every host has made the calls that it can make, or has ended.
    async fn settle(&mut self) -> Result<(), String> {
        if !self.is_side_by_side() {
            rounds().await;
            if self.everybody_waits() {
                return Ok(());
            }
        }
        self.calm.comes().await;
        let queue = self.queue.lock().unwrap();
        let waits = |number: u64| queue.range(of_life(number)).next().is_some();
        let mut going = self.going.iter();
        match going.find(|(number, going)| !going.task.is_finished() && !waits(**number)) {
            Some((number, _)) => Err(format!("host life {number} hangs")),
            None => Ok(()),
        }
    }

    fn everybody_waits(&self) -> bool {
        let queue = self.queue.lock().unwrap();
        let waits = |number: u64| queue.range(of_life(number)).next().is_some();
        let mut going = self.going.iter();
        going.all(|(number, going)| going.task.is_finished() || waits(*number))
    }

    /// Whether a host may be at something beside a call that waits. Who has one call on its way at a time and
    /// waits for it is at nothing else, save where it computes meanwhile, or gives signs of life.
    fn is_side_by_side(&self) -> bool {
        let queue = self.queue.lock().unwrap();
        let is_beside = |key: &CallKey| is_beside(&key.1);
        self.weather.at_once_max > 1 || self.was_beside || queue.keys().any(is_beside)
    }
}
