//! The database's side of a publish: one moment of it, and what changed since the live release was made.
//!
//! Owns the rule by which a publish may look at the changes alone: only if the live release is the one the
//! database remembers, or one that it was told to expect; and what is remembered afterwards. Whatever
//! else is found there, the publish is full: slower, never wrong.

use std::sync::Arc;

use edgepress_site::release::Record;
use edgepress_store::database::capture::{Capture, Catalog, Changes, Intent, Seen};
use edgepress_store::database::{Database, DatabaseError, Snapshot};

use crate::Publisher;
use crate::error::{PublishError, whole};
use crate::impact::{Broken, Facts, Impact, Refused, gather};
use crate::prepare::Prepared;
use crate::state::{Release, State};

/// How often the schema may change while capture is being installed.
const TRIES: usize = 4;

/// Changes that wait for a consumer before it has to publish in full.
const MOST_WAITING: u64 = 1_000_000;

/// One moment of the database.
pub(crate) struct Moment {
    pub(crate) snapshot: Box<dyn Snapshot>,
    /// What the site's queries read, where edits are recorded.
    pub(crate) impact: Option<Arc<Impact>>,
    /// What is known since the live release was made; or why nothing is.
    pub(crate) since: Result<Since, String>,
    /// What this moment has seen of the changes, where edits are recorded.
    pub(crate) seen: Option<Seen>,
    /// The greatest release number that the database has heard of.
    pub(crate) used: u64,
}

/// What is known since the live release was made.
pub(crate) struct Since {
    pub(crate) state: State,
    /// What the database remembers as seen.
    seen: Seen,
    pub(crate) changes: Changes,
}

/// What the site's queries read of a schema, kept between cycles.
#[derive(Default)]
pub(crate) struct Known {
    of: Option<(Arc<Catalog>, Arc<Impact>)>,
    /// Collections of which a query does not run.
    broken: Broken,
}

impl Known {
    /// The impact of a site on the schema of `snapshot`.
    async fn impact(
        &mut self,
        snapshot: &mut dyn Snapshot,
        prepared: &Prepared,
    ) -> Result<Arc<Impact>, Refused> {
        let refused = |source| Refused { collection: String::new(), source };
        let catalog = snapshot.catalog().await.map_err(refused)?;
        if let Some((of, impact)) = &self.of
            && *of == catalog
        {
            return Ok(impact.clone());
        }
        let site = &prepared.maker.definition().site;
        let facts: Facts = gather(snapshot, site, &self.broken).await?;
        let impact = Arc::new(Impact::new(site, &facts));
        self.of = Some((catalog, impact.clone()));
        Ok(impact)
    }

    /// Whether a collection that refuses to be read is left out from now on: a snapshot is of no use once a query
    /// failed in it, but another one is.
    fn leaves_out(&mut self, refused: &Refused) -> bool {
        let DatabaseError::Query { message } = &refused.source else { return false };
        let is_known = refused.collection.is_empty() || self.broken.contains_key(&refused.collection);
        if !is_known {
            self.broken.insert(refused.collection.clone(), message.clone());
        }
        !is_known
    }

    /// Forgets which queries did not run: they may by now, though the schema is the same.
    fn hope(&mut self) {
        if !std::mem::take(&mut self.broken).is_empty() {
            self.of = None;
        }
    }
}

/// What edits touch in a site, on the schema that its database has now.
///
/// # Errors
/// The database cannot be read, or refuses a query.
pub async fn impact_of(prepared: &Prepared, database: &dyn Database) -> Result<Arc<Impact>, PublishError> {
    let impact = impact_of_what_runs(prepared, database).await?;
    match impact.broken().values().next() {
        Some(message) => Err(PublishError::Database(DatabaseError::Query { message: message.clone() })),
        None => Ok(impact),
    }
}

/// As [`impact_of`], without the collections of which a query does not run.
pub(crate) async fn impact_of_what_runs(
    prepared: &Prepared,
    database: &dyn Database,
) -> Result<Arc<Impact>, PublishError> {
    let mut known = Known::default();
    loop {
        let mut snapshot = database.snapshot().await.map_err(PublishError::Database)?;
        match known.impact(&mut *snapshot, prepared).await {
            Ok(impact) => return Ok(impact),
            Err(refused) if known.leaves_out(&refused) => {}
            Err(refused) => return Err(PublishError::Database(refused.into())),
        }
    }
}

/// What records a site's edits, and the name under which the releases in a publisher's bucket consume them.
///
/// # Errors
/// The database records no edits.
pub fn captured<'a>(
    publisher: &'a Publisher,
    database: &'a dyn Database,
) -> Result<(&'a dyn Capture, &'a str), PublishError> {
    let capture = database.capture().ok_or_else(|| {
        PublishError::Task(
            "this kind of database records no edits: everything is made anew each time".to_owned(),
        )
    })?;
    Ok((capture, &publisher.consumer))
}

/// A consumer of a database's changes: the releases of one bucket.
#[derive(Clone, Copy)]
pub(crate) struct Consumer<'a> {
    pub(crate) database: &'a dyn Database,
    /// Its name in the database.
    pub(crate) name: &'a str,
}

impl<'a> Consumer<'a> {
    /// The present moment. `live` is the live release, if there is one.
    pub(crate) async fn moment(
        self,
        known: &mut Known,
        prepared: &Prepared,
        live: Option<&Release>,
    ) -> Result<Moment, PublishError> {
        let Some(capture) = self.database.capture() else {
            return self.without_capture("the database records no edits".to_owned()).await;
        };
        known.hope();
        for _ in 0..TRIES {
            let (mut snapshot, impact) = match self.look(known, prepared).await {
                Ok(found) => found,
                Err(why) => return self.without_capture(why).await,
            };
            if !snapshot.is_captured(self.name, impact.reads()).await.unwrap_or(false) {
                drop(snapshot);
                if let Err(why) = self.install(capture, &impact).await {
                    return self.without_capture(why).await;
                }
                snapshot = self.database.snapshot().await.map_err(PublishError::Database)?;
                let now = known.impact(&mut *snapshot, prepared).await;
                if !now.is_ok_and(|now| Arc::ptr_eq(&now, &impact)) {
                    continue;
                }
            }
            let (since, used) = self.since(capture, &mut *snapshot, live).await?;
            let seen = match &since {
                Ok(since) => Some(since.changes.seen.clone()),
                Err(_) => snapshot.seen().await.map_err(PublishError::Database)?,
            };
            return Ok(Moment { snapshot, impact: Some(impact), since, seen, used });
        }
        self.without_capture("the schema keeps changing".to_owned()).await
    }

    /// A moment, and what the site's queries read of its schema.
    async fn look(
        self,
        known: &mut Known,
        prepared: &Prepared,
    ) -> Result<(Box<dyn Snapshot>, Arc<Impact>), String> {
        loop {
            let mut snapshot = self.database.snapshot().await.map_err(|error| whole(&error))?;
            match known.impact(&mut *snapshot, prepared).await {
                Ok(impact) => return Ok((snapshot, impact)),
                Err(refused) if known.leaves_out(&refused) => {}
                Err(refused) => return Err(whole(&refused.source)),
            }
        }
    }

    /// Sees to it that edits are recorded; or says why they are not.
    async fn install(self, capture: &dyn Capture, impact: &Impact) -> Result<(), String> {
        let installed = capture.install(self.name, impact.reads()).await.map_err(|error| {
            let error = whole(&error);
            tracing::warn!("edits cannot be recorded, so everything is made anew each time: {error}");
            error
        })?;
        for note in installed.notes {
            tracing::warn!("{note}");
        }
        Ok(())
    }

    /// The present moment, of which nothing more is known.
    pub(crate) async fn without_capture(self, why: String) -> Result<Moment, PublishError> {
        let snapshot = self.database.snapshot().await.map_err(PublishError::Database)?;
        Ok(Moment { snapshot, impact: None, since: Err(why), seen: None, used: 0 })
    }

    /// What is known since the live release was made, and the greatest number in the database.
    async fn since(
        self,
        capture: &dyn Capture,
        snapshot: &mut dyn Snapshot,
        live: Option<&Release>,
    ) -> Result<(Result<Since, String>, u64), PublishError> {
        let consumer = capture.consumer(self.name).await.map_err(PublishError::Database)?;
        let remembered =
            consumer.into_iter().flat_map(|consumer| consumer.consumed.into_iter().chain(consumer.intents));
        let remembered: Vec<Intent> = remembered.collect();
        let used = remembered.iter().map(|intent| intent.number).max().unwrap_or(0);
        let Some(live) = live else { return Ok((Err("nothing was published yet".to_owned()), used)) };
        let of_live = remembered.into_iter().find_map(|intent| {
            let state = State::decode(&intent.state)?;
            (state.release.as_ref() == Some(live)).then_some((intent.seen, state))
        });
        let Some((seen, state)) = of_live else {
            return Ok((Err("the database does not know the live release".to_owned()), used));
        };
        let changes = snapshot.changes(&seen).await.map_err(PublishError::Database)?;
        let since = match changes.everything.clone() {
            Some(why) => Err(why),
            None => Ok(Since { state, seen, changes }),
        };
        Ok((since, used))
    }
}

/// What is to be remembered of a publish, and where.
pub(crate) struct Memory<'a> {
    pub(crate) consumer: Consumer<'a>,
    /// What was known since the live release was made, if the publish relied on it.
    pub(crate) since: Option<Since>,
    /// What its snapshot saw, where edits are recorded.
    pub(crate) seen: Option<Seen>,
    /// The greatest release number that the database has heard of.
    pub(crate) used: u64,
    /// Where edits are recorded.
    pub(crate) remembered: Option<State>,
}

impl Memory<'_> {
    /// When the oldest edit was made that this publish releases: milliseconds since 1970.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.since.as_ref()?.changes.oldest
    }

    /// Tells the database to expect a release: before it becomes current.
    pub(crate) async fn intend(&self, next: &Record) -> Result<(), PublishError> {
        let Some((capture, intent)) = self.intent(next) else { return Ok(()) };
        capture.intend(self.consumer.name, &intent).await.map_err(PublishError::Database)
    }

    /// Remembers that what the snapshot saw is live. A failure is only told: the intent says the same.
    pub(crate) async fn consume(&self, live: &Record, is_new: bool) {
        let Some((capture, intent)) = self.intent(live) else { return };
        let is_remembered = self.since.as_ref().is_some_and(|since| {
            // Changes that concern only others are to be forgotten, too.
            since.seen == intent.seen && since.state.encode() == intent.state
        });
        if is_remembered && !is_new {
            return;
        }
        let consumed = async {
            capture.consume(self.consumer.name, &intent).await?;
            capture.prune(MOST_WAITING).await
        };
        if let Err(error) = consumed.await {
            tracing::warn!("the database could not be told what is live; the next publish does: {error}");
        }
    }

    fn intent(&self, release: &Record) -> Option<(&dyn Capture, Intent)> {
        let state = State { release: Some(Release::of(release)), ..self.remembered.clone()? };
        let intent = Intent { number: release.number, seen: self.seen.clone()?, state: state.encode() };
        Some((self.consumer.database.capture()?, intent))
    }
}
