//! Writes: checked and done in the writer's transaction, answered after its commit.

use super::{Caller, Core, Created, Fields, Refusal, View};
use crate::context::Context;
use crate::draft::Draft;
use crate::intent::access::{self, TokenTerms};
use crate::intent::input::{Input, may_change, may_see};
use crate::intent::{hosts, instances, life, networks};
use crate::model::{Body, Row, number_of};
use crate::show::show;
use crate::world::Answer;
use sha2::{Digest, Sha256};
use std::sync::Arc;

impl Core {
    /// Creates a resource of schema `kind` from validated fields.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn create(
        &self,
        caller: &Caller,
        kind: &str,
        input: Fields,
        idempotency: Option<&str>,
    ) -> Result<Created, Refusal> {
        let many = input.get("count").and_then(serde_json::Value::as_i64).is_some_and(|n| n > 1);
        if kind == "registrationToken" {
            // The resource is good for any number of hosts until it is deactivated.
            let (id, token) = self.create_token(caller, input, None, None).await?;
            let mut view = self.shown(id)?;
            view.fields.insert("token".into(), token.into());
            return Ok(Created::One(view));
        }
        let key = idempotency.map(|key| {
            let request = format!("{kind} {}", serde_json::Value::Object(input.clone()));
            ((caller.account, key.to_owned()), hex::encode(Sha256::digest(request)))
        });
        let (caller, kind, context) = (caller.clone(), kind.to_owned(), self.0.context.clone());
        let input = Input::from(input);
        let ids = self
            .0
            .writer
            .run(move |draft| create_once(draft, &context, &caller, &kind, &input, key))
            .await?;
        let views = ids.into_iter().map(|id| self.shown(id)).collect::<Result<Vec<_>, _>>()?;
        Ok(match <[View; 1]>::try_from(views) {
            Ok([view]) if !many => Created::One(view),
            Ok(view) => Created::Many(view.into()),
            Err(views) => Created::Many(views),
        })
    }

    /// Creates a registration token: its number, and the text that enrols a host. The secret is in
    /// that text alone.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn create_token(
        &self,
        caller: &Caller,
        input: Fields,
        expires: Option<i64>,
        uses: Option<u32>,
    ) -> Result<(i64, String), Refusal> {
        let (secret, secret_sha256) = access::new_secret()?;
        let terms = TokenTerms { secret_sha256, expires, uses };
        let (caller, input) = (caller.clone(), Input::from(input));
        let id = self
            .0
            .writer
            .run(move |draft| access::create_token(draft, &caller, terms, &input))
            .await?;
        let public_id = self.shown(id)?.id;
        let token = format!("{}.{}.{public_id}.{secret}", self.0.cloud, self.0.authority.sha256());
        Ok((id, token))
    }

    /// Changes the given fields of a resource.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn update(
        &self,
        caller: &Caller,
        kind: &str,
        id: &str,
        input: Fields,
    ) -> Result<View, Refusal> {
        let (owner, input) = (caller.clone(), Input::from(input));
        self.change(caller, kind, id, move |draft, _, row| update(draft, &owner, row, &input)).await
    }

    /// Removes a resource (DELETE).
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn remove(&self, caller: &Caller, kind: &str, id: &str) -> Result<View, Refusal> {
        self.change(caller, kind, id, remove).await
    }

    /// Performs an action.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn act(
        &self,
        caller: &Caller,
        kind: &str,
        id: &str,
        action: &str,
        input: Fields,
    ) -> Result<View, Refusal> {
        let action = action.to_owned();
        let and_remove = Input::from(input).flag("remove").unwrap_or(false);
        self.change(caller, kind, id, move |draft, context, row| {
            act(draft, context, row, &action, and_remove)
        })
        .await
    }

    /// Runs a change of one resource and shows it afterwards.
    async fn change(
        &self,
        caller: &Caller,
        kind: &str,
        id: &str,
        change: impl FnOnce(&mut Draft<'_>, &Context, &Arc<Row>) -> Result<(), Refusal> + Send + 'static,
    ) -> Result<View, Refusal> {
        let number = number_of(id).ok_or_else(|| Refusal::not_found(kind))?;
        let (caller, kind, context) = (caller.clone(), kind.to_owned(), self.0.context.clone());
        self.0
            .writer
            .run(move |draft| {
                let row = draft.world().row(number).cloned();
                let row = row
                    .filter(|row| row.is(&kind) && may_see(&caller, row))
                    .ok_or_else(|| Refusal::not_found(&kind))?;
                if !may_change(&caller, &row) {
                    return Err(Refusal::forbidden(&row.public_id()));
                }
                change(draft, &context, &row)
            })
            .await?;
        self.shown(number)
    }

    fn shown(&self, id: i64) -> Result<View, Refusal> {
        let state = self.0.shared.read();
        state
            .world
            .row(id)
            .map(|row| show(&state, row))
            .ok_or_else(|| Refusal::not_found("resource"))
    }
}

/// Creates unless the same request was answered already.
fn create_once(
    draft: &mut Draft<'_>,
    context: &Context,
    caller: &Caller,
    kind: &str,
    input: &Input,
    key: Option<((i64, String), String)>,
) -> Result<Vec<i64>, Refusal> {
    let known = key.as_ref().and_then(|(key, _)| draft.world().answers.get(key));
    if let (Some(answer), Some((_, request))) = (known, &key) {
        if answer.request == *request {
            return Ok(answer.ids.clone());
        }
        return Err(Refusal::invalid(
            "IdempotencyKeyReused",
            "Idempotency-Key",
            "this key came with another request before: use a new one for each request",
        ));
    }
    let ids = create(draft, context, caller, kind, input)?;
    if let Some(((account, key), request)) = key {
        let answer = Answer { request, made: draft.now(), ids: ids.clone() };
        draft.remember(account, key, Some(answer));
    }
    Ok(ids)
}

fn create(
    draft: &mut Draft<'_>,
    context: &Context,
    caller: &Caller,
    kind: &str,
    input: &Input,
) -> Result<Vec<i64>, Refusal> {
    let id = match kind {
        "container" | "virtualMachine" => {
            return instances::create(draft, context, caller, kind, input);
        }
        "network" | "hostOnlyNetwork" => networks::create_network(draft, context, caller, input),
        "subnet" => networks::create_subnet(draft, caller, input),
        "image" => access::create_image(draft, caller, input),
        "sshKey" => access::create_key(draft, caller, input),
        "account" => access::create_account(draft, caller, input),
        other => Err(Refusal::method(other)),
    }?;
    Ok(vec![id])
}

fn update(draft: &mut Draft<'_>, caller: &Caller, row: &Row, input: &Input) -> Result<(), Refusal> {
    match &row.body {
        Body::Instance(_) => instances::update(draft, row.id, input),
        Body::Image(_) => access::update_image(draft, row.id, input),
        Body::Account(_) => access::update_account(draft, caller, row.id, input)?,
        _ => draft.edit(row.id, |row| input.update_common(row)),
    }
    Ok(())
}

fn remove(draft: &mut Draft<'_>, context: &Context, row: &Arc<Row>) -> Result<(), Refusal> {
    match &row.body {
        Body::Instance(instance) if instance.external => Err(Refusal::conflict(format!(
            "{} was started by hand on its host: remove it there",
            row.public_id()
        ))),
        Body::Instance(instance) if instance.is_wanted() => {
            life::remove(draft, context, row.id);
            Ok(())
        }
        _ if row.removed.is_some() => Ok(()),
        Body::Host(_) => hosts::remove(draft, context, row.id),
        Body::Network(_) | Body::Subnet(_) => networks::remove(draft, row.id),
        Body::Account(_) if row.uuid == "admin" => {
            Err(Refusal::conflict("the admin's account stays".into()))
        }
        Body::Nic(_) | Body::Address(_) => Err(Refusal::method(row.body.kind())),
        _ => {
            access::remove(draft, row.id);
            Ok(())
        }
    }
}

fn act(
    draft: &mut Draft<'_>,
    context: &Context,
    row: &Row,
    action: &str,
    and_remove: bool,
) -> Result<(), Refusal> {
    match &row.body {
        Body::Instance(_) => life::act(draft, context, row.id, action, and_remove),
        _ if row.removed.is_some() => {
            Err(Refusal::not_available(action, &row.public_id(), "removed"))
        }
        Body::Host(_) => hosts::act(draft, context, row.id, action),
        Body::RegistrationToken(_) => access::act_token(draft, row.id, action),
        Body::Network(_) | Body::Subnet(_) => networks::switch(draft, row.id, action),
        _ => Err(Refusal::no_action(action)),
    }
}
