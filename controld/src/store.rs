//! The store: SQLite, and the only place that speaks SQL.
//!
//! It keeps rows and decides claims by constraint; it does not know what rows mean. One connection,
//! one writer. WAL with `synchronous=FULL`: what was committed survives loss of power.

use crate::model::{Claim, Row};
use crate::world::{Answer, Change, World};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row as _, SqlSafeStr, SqliteConnection};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Memory for pages, in KiB when negative: rows are looked up by random uuids, all over the file.
const CACHE: &str = "-32768";

/// Pages of the log after which they are moved to the file. The same pages change again and again
/// under a burst of creates, so that moving them rarely means moving fewer.
const CHECKPOINT: &str = "8192";

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else holds what a row claims.
    #[error("{space} {value} is held by another resource")]
    Claimed {
        /// Where it is unique.
        space: String,
        /// What is held.
        value: String,
    },
    /// The uuid exists in that account.
    #[error("uuid {0} exists already")]
    Uuid(String),
    /// SQLite refused.
    #[error("cannot {action} the store")]
    Sql {
        /// What was tried.
        action: &'static str,
        /// SQLite's word.
        #[source]
        source: sqlx::Error,
    },
    /// The tables could not be brought up to date.
    #[error("cannot bring the store's tables up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A row's body is not readable, or cannot be written.
    #[error("cannot read or write the body of resource {id}")]
    Body {
        /// The row.
        id: i64,
        /// Where it fails.
        #[source]
        source: serde_json::Error,
    },
}

fn sql(action: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| StoreError::Sql { action, source }
}

/// Which store this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The cloud's id, a uuid.
    pub cloud: String,
    /// The store's identity, `uuid.incarnation`.
    pub store: String,
    /// The generation of the last commit.
    pub generation: u64,
}

/// An open store.
pub struct Store {
    connection: SqliteConnection,
}

impl Store {
    /// Opens the store at `path`, making it at first.
    ///
    /// # Errors
    /// When it cannot be opened or brought up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("cache_size", CACHE)
            .pragma("wal_autocheckpoint", CHECKPOINT)
            .busy_timeout(std::time::Duration::from_secs(10))
            .disable_statement_logging()
            .connect()
            .await
            .map_err(sql("open"))?;
        Migrator::with_migrations(vec![Migration::new(
            1,
            "store".into(),
            MigrationType::Simple,
            include_str!("../migrations/0001_store.sql").into_sql_str(),
            false,
        )])
        .run(&mut connection)
        .await
        .map_err(StoreError::Migrate)?;
        Ok(Self { connection })
    }

    /// Reads which store this is, deciding so at first.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub async fn head(&mut self) -> Result<Head, StoreError> {
        sqlx::query(
            "INSERT INTO head (one, cloud, store, incarnation, generation)
             VALUES (1, $1, $2, 1, 0) ON CONFLICT (one) DO NOTHING",
        )
        .bind(uuid::Uuid::new_v4().to_string())
        .bind(uuid::Uuid::new_v4().to_string())
        .execute(&mut self.connection)
        .await
        .map_err(sql("name"))?;
        let row = sqlx::query("SELECT cloud, store, incarnation, generation FROM head")
            .fetch_one(&mut self.connection)
            .await
            .map_err(sql("read the head of"))?;
        let store: String = row.get("store");
        let incarnation: i64 = row.get("incarnation");
        let generation: i64 = row.get("generation");
        Ok(Head {
            cloud: row.get("cloud"),
            store: format!("{store}.{incarnation}"),
            generation: generation.unsigned_abs(),
        })
    }

    /// Reads everything into memory.
    ///
    /// # Errors
    /// When SQLite refuses or a row is not readable.
    pub async fn load(&mut self) -> Result<World, StoreError> {
        let mut world = World::default();
        let rows = sqlx::query(
            "SELECT id, account, uuid, name, removed, generation, body FROM resource ORDER BY id",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(sql("read the resources of"))?;
        for row in &rows {
            world.apply(Change::Put(Arc::new(read_row(row)?)));
        }
        let answers = sqlx::query("SELECT account, key, request, made, ids FROM answer")
            .fetch_all(&mut self.connection)
            .await
            .map_err(sql("read the answers of"))?;
        for row in &answers {
            let ids: String = row.get("ids");
            let ids =
                serde_json::from_str(&ids).map_err(|source| StoreError::Body { id: 0, source })?;
            world.answers.insert(
                (row.get("account"), row.get("key")),
                Answer { request: row.get("request"), made: row.get("made"), ids },
            );
        }
        Ok(world)
    }

    /// Begins a transaction; its first statement raises the generation.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub async fn begin(&mut self) -> Result<(), StoreError> {
        self.run("BEGIN IMMEDIATE", "begin a transaction in").await?;
        self.run("UPDATE head SET generation = generation + 1", "raise the generation of").await
    }

    /// Ends the transaction durably.
    ///
    /// # Errors
    /// When SQLite refuses; nothing is written then.
    pub async fn commit(&mut self) -> Result<(), StoreError> {
        self.run("COMMIT", "commit to").await
    }

    /// Gives the transaction up.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub async fn roll_back(&mut self) -> Result<(), StoreError> {
        self.run("ROLLBACK", "roll back").await
    }

    async fn run(&mut self, text: &'static str, action: &'static str) -> Result<(), StoreError> {
        sqlx::query(text).execute(&mut self.connection).await.map_err(sql(action))?;
        Ok(())
    }

    /// Writes one job's changes within the transaction: all of them or none.
    ///
    /// # Errors
    /// When a constraint or SQLite refuses; the transaction goes on without these changes.
    pub async fn write(&mut self, work: &Work) -> Result<(), StoreError> {
        self.run("SAVEPOINT job", "mark a job in").await?;
        match self.write_all(work).await {
            Ok(()) => self.run("RELEASE SAVEPOINT job", "end a job in").await,
            Err(error) => {
                self.run("ROLLBACK TO SAVEPOINT job", "take back a job in").await?;
                self.run("RELEASE SAVEPOINT job", "end a job in").await?;
                Err(error)
            }
        }
    }

    // Claims are given up before any is made, since one job may hand them from row to row.
    async fn write_all(&mut self, work: &Work) -> Result<(), StoreError> {
        let mut wanted = Vec::new();
        for (id, (change, old)) in &work.changes {
            let held: BTreeSet<Claim> = old.iter().flat_map(|row| row.claims()).collect();
            let next: BTreeSet<Claim> = match change {
                Change::Put(row) => row.claims().into_iter().collect(),
                Change::Delete(_) => BTreeSet::new(),
            };
            for claim in held.difference(&next) {
                self.give_up(claim, *id).await?;
            }
            wanted.extend(next.difference(&held).map(|claim| (claim.clone(), *id)));
        }
        for (id, (change, _)) in &work.changes {
            match change {
                Change::Put(row) => self.put(row).await?,
                Change::Delete(_) => self.delete(*id).await?,
            }
        }
        for (claim, id) in &wanted {
            self.claim(claim, *id).await?;
        }
        for Remembered { place: (account, key), answer, .. } in &work.answers {
            self.answer(*account, key, answer.as_ref()).await?;
        }
        Ok(())
    }

    async fn put(&mut self, row: &Row) -> Result<(), StoreError> {
        let body =
            serde_json::to_string(row).map_err(|source| StoreError::Body { id: row.id, source })?;
        sqlx::query(
            "INSERT INTO resource (id, type, account, uuid, name, removed, generation, body)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (id) DO UPDATE SET account = excluded.account, uuid = excluded.uuid,
               name = excluded.name, removed = excluded.removed,
               generation = excluded.generation, body = excluded.body",
        )
        .bind(row.id)
        .bind(row.body.kind())
        .bind(row.account)
        .bind(&row.uuid)
        .bind(&row.name)
        .bind(row.removed)
        .bind(row.generation.cast_signed())
        .bind(body)
        .execute(&mut self.connection)
        .await
        .map_err(|error| match error.as_database_error() {
            Some(refused) if refused.is_unique_violation() => StoreError::Uuid(row.uuid.clone()),
            _ => StoreError::Sql { action: "write a resource to", source: error },
        })?;
        Ok(())
    }

    async fn delete(&mut self, id: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM resource WHERE id = $1")
            .bind(id)
            .execute(&mut self.connection)
            .await
            .map_err(sql("delete a resource of"))?;
        Ok(())
    }

    async fn claim(&mut self, claim: &Claim, holder: i64) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO claim (space, value, holder) VALUES ($1, $2, $3)")
            .bind(&claim.space)
            .bind(&claim.value)
            .bind(holder)
            .execute(&mut self.connection)
            .await
            .map_err(|error| match error.as_database_error() {
                Some(refused) if refused.is_unique_violation() => {
                    StoreError::Claimed { space: claim.space.clone(), value: claim.value.clone() }
                }
                _ => StoreError::Sql { action: "claim in", source: error },
            })?;
        Ok(())
    }

    async fn give_up(&mut self, claim: &Claim, holder: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM claim WHERE space = $1 AND value = $2 AND holder = $3")
            .bind(&claim.space)
            .bind(&claim.value)
            .bind(holder)
            .execute(&mut self.connection)
            .await
            .map_err(sql("give up a claim in"))?;
        Ok(())
    }

    async fn answer(
        &mut self,
        account: i64,
        key: &str,
        answer: Option<&Answer>,
    ) -> Result<(), StoreError> {
        let query = match answer {
            None => sqlx::query("DELETE FROM answer WHERE account = $1 AND key = $2")
                .bind(account)
                .bind(key),
            Some(answer) => sqlx::query(
                "INSERT INTO answer (account, key, request, made, ids) VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(account)
            .bind(key)
            .bind(&answer.request)
            .bind(answer.made)
            .bind(serde_json::Value::from(answer.ids.clone()).to_string()),
        };
        query.execute(&mut self.connection).await.map_err(sql("write an answer to"))?;
        Ok(())
    }

    /// Closes the store, moving what is in its log to its file.
    ///
    /// # Errors
    /// When SQLite refuses.
    pub async fn close(self) -> Result<(), StoreError> {
        self.connection.close().await.map_err(sql("close"))
    }
}

/// What one job changed.
#[derive(Default)]
pub struct Work {
    /// Rows by number, each with what it was before the job.
    pub changes: BTreeMap<i64, (Change, Option<Arc<Row>>)>,
    /// Answers to remember or to forget.
    pub answers: Vec<Remembered>,
}

/// A change of the answer that is remembered for an idempotency key.
pub struct Remembered {
    /// The account and its key.
    pub place: (i64, String),
    /// The answer; none to forget it.
    pub answer: Option<Answer>,
    /// What was remembered before.
    pub old: Option<Answer>,
}

impl Work {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.answers.is_empty()
    }
}

fn read_row(columns: &sqlx::sqlite::SqliteRow) -> Result<Row, StoreError> {
    let id: i64 = columns.get("id");
    let body: &str = columns.get("body");
    let mut row: Row =
        serde_json::from_str(body).map_err(|source| StoreError::Body { id, source })?;
    let generation: i64 = columns.get("generation");
    row.id = id;
    row.account = columns.get("account");
    row.uuid = columns.get("uuid");
    row.name = columns.get("name");
    row.removed = columns.get("removed");
    row.generation = generation.unsigned_abs();
    Ok(row)
}
