//! A draft: what one job is about to write.
//!
//! Jobs read and change rows through it; they see their own changes and those of jobs before them.
//! Nothing is durable until the writer has committed, and all of it can be taken back.

use crate::model::{Body, Millis, Row};
use crate::store::{Remembered, Work};
use crate::world::{Answer, Change, World};
use std::sync::Arc;

/// What one job is about to write.
pub struct Draft<'a> {
    world: &'a mut World,
    next_id: &'a mut i64,
    generation: u64,
    now: Millis,
    work: Work,
}

impl<'a> Draft<'a> {
    /// A draft over `world` at the generation that its commit will have.
    pub fn new(world: &'a mut World, next_id: &'a mut i64, generation: u64, now: Millis) -> Self {
        Self { world, next_id, generation, now, work: Work::default() }
    }

    /// The world with this draft's changes in it.
    #[must_use]
    pub fn world(&self) -> &World {
        self.world
    }

    /// The generation these changes will have.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The time of this job.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.now
    }

    /// Adds a row and returns its number. Its uuid is made up unless given.
    pub fn add(&mut self, new: NewRow) -> i64 {
        let id = *self.next_id;
        *self.next_id += 1;
        let row = Row {
            id,
            account: new.account,
            uuid: new.uuid.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
            name: new.name,
            removed: None,
            generation: self.generation,
            description: new.description,
            created: self.now,
            data: new.data,
            body: new.body,
        };
        self.change(Change::Put(Arc::new(row)));
        id
    }

    /// Changes a row in place. A row that does not exist is left so.
    pub fn edit(&mut self, id: i64, edit: impl FnOnce(&mut Row)) {
        let Some(row) = self.world.row(id) else { return };
        let mut row = Row::clone(row);
        edit(&mut row);
        row.generation = self.generation;
        self.change(Change::Put(Arc::new(row)));
    }

    /// Deletes a row for good.
    pub fn delete(&mut self, id: i64) {
        self.change(Change::Delete(id));
    }

    /// Remembers the answer to a create, or forgets it.
    pub fn remember(&mut self, account: i64, key: String, answer: Option<Answer>) {
        let place = (account, key);
        let old = match &answer {
            Some(answer) => self.world.answers.insert(place.clone(), answer.clone()),
            None => self.world.answers.remove(&place),
        };
        self.work.answers.push(Remembered { place, answer, old });
    }

    fn change(&mut self, change: Change) {
        let id = change.id();
        let old = match self.world.apply(change.clone()) {
            Change::Put(row) => Some(row),
            Change::Delete(_) => None,
        };
        // The first content a row had in this job is what a taking back leads to.
        let first = match self.work.changes.remove(&id) {
            Some((_, first)) => first,
            None => old,
        };
        if first.is_some() || matches!(change, Change::Put(_)) {
            self.work.changes.insert(id, (change, first));
        }
    }

    /// What is to be written.
    #[must_use]
    pub fn finish(self) -> Work {
        self.work
    }
}

/// Takes a job's changes out of the world again.
pub fn take_back(world: &mut World, work: Work) {
    // Later rows may have taken what earlier ones gave up, so they go first.
    for (id, (_, old)) in work.changes.into_iter().rev() {
        world.apply(old.map_or(Change::Delete(id), Change::Put));
    }
    for Remembered { place, old, .. } in work.answers.into_iter().rev() {
        match old {
            Some(old) => world.answers.insert(place, old),
            None => world.answers.remove(&place),
        };
    }
}

/// What a new row starts with.
pub struct NewRow {
    /// Whose it is.
    pub account: i64,
    /// Its uuid, if the client chose one.
    pub uuid: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// The user's words about it.
    pub description: Option<String>,
    /// The user's free map.
    pub data: crate::core::Fields,
    /// What its type has of its own.
    pub body: Body,
}

impl NewRow {
    /// A row of `account` without name and uuid.
    #[must_use]
    pub fn of(account: i64, body: Body) -> Self {
        Self {
            account,
            uuid: None,
            name: None,
            description: None,
            data: crate::core::Fields::new(),
            body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Address;
    use std::net::Ipv4Addr;

    const IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn address(ip: Ipv4Addr) -> NewRow {
        let address = Address {
            network: 1,
            subnet: 2,
            ip,
            mac: api::derive::guest_mac([2, 0, 1], ip),
            nic: None,
            granted: None,
            host: None,
            seq: 1,
            rests_until: None,
        };
        NewRow::of(1, Body::Address(address))
    }

    #[test]
    fn what_was_handed_on_is_handed_back() {
        let (mut world, mut next_id) = (World::default(), 1);
        let mut draft = Draft::new(&mut world, &mut next_id, 1, 0);
        let first = draft.add(address(IP));
        let key = || "key".to_owned();
        let answer = Answer { request: "r".into(), made: 1, ids: vec![first] };
        draft.remember(1, key(), Some(answer.clone()));
        drop(draft);
        let mut draft = Draft::new(&mut world, &mut next_id, 2, 0);
        draft.delete(first);
        let second = draft.add(address(IP));
        draft.remember(1, key(), None);
        let work = draft.finish();
        assert_eq!(world.presence().pool(1).unwrap().ips[&IP], second);
        take_back(&mut world, work);
        let pool = world.presence().pool(1).unwrap();
        assert_eq!((pool.ips.get(&IP), pool.ips.len()), (Some(&first), 1));
        assert_eq!(world.answers.get(&(1, key())), Some(&answer));
    }

    #[test]
    fn a_change_of_an_address_is_no_taking() {
        let (mut world, mut next_id) = (World::default(), 1);
        let mut draft = Draft::new(&mut world, &mut next_id, 1, 0);
        let first = draft.add(address(IP));
        let later = Ipv4Addr::new(10, 0, 0, 9);
        draft.add(address(later));
        draft.edit(first, |row| row.name = Some("changed".into()));
        assert_eq!(draft.world().presence().pool(1).unwrap().last, Some(later));
    }
}
