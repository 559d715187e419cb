//! Requests that are not done, and why.

use thiserror::Error;

/// A request that is not done, and why.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The HTTP status it maps to.
    pub status: u16,
    /// Stable code, for instance `InvalidReference`.
    pub code: &'static str,
    /// The field at fault, if it is one.
    pub field: Option<String>,
    /// For people: what is wrong and what to do about it.
    pub message: String,
}

impl Refusal {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, field: None, message: message.into() }
    }

    /// A field is wrong.
    #[must_use]
    pub fn invalid(code: &'static str, field: &str, message: impl Into<String>) -> Self {
        Self { field: Some(field.to_owned()), ..Self::new(422, code, message) }
    }

    /// A field refers to nothing.
    #[must_use]
    pub fn reference(field: &str, message: impl Into<String>) -> Self {
        Self::invalid("InvalidReference", field, message)
    }

    /// A uuid exists.
    #[must_use]
    pub fn taken(uuid: &str) -> Self {
        let message = format!("uuid {uuid} exists already: look it up, or choose another");
        Self { field: Some("uuid".into()), ..Self::new(409, "NotUnique", message) }
    }

    /// Something else is in the way.
    #[must_use]
    pub fn conflict(message: String) -> Self {
        Self::new(409, "Conflict", message)
    }

    /// There is no such resource.
    #[must_use]
    pub fn not_found(kind: &str) -> Self {
        Self::new(404, "NotFound", format!("there is no such {kind}"))
    }

    /// The caller may see it, not change it.
    #[must_use]
    pub fn forbidden(id: &str) -> Self {
        Self::new(403, "Forbidden", format!("{id} belongs to another account"))
    }

    /// There is no such action.
    #[must_use]
    pub fn no_action(action: &str) -> Self {
        Self::new(422, "InvalidAction", format!("there is no action {action} on this resource"))
    }

    /// The action is not possible in this state.
    #[must_use]
    pub fn not_available(action: &str, id: &str, state: &str) -> Self {
        let message =
            format!("{action} is not possible while {id} is {state}: wait for another state");
        Self::new(422, "ActionNotAvailable", message)
    }

    /// The kind cannot be created or changed by request.
    #[must_use]
    pub fn method(kind: &str) -> Self {
        Self::new(405, "MethodNotAllowed", format!("a {kind} is not made or changed by request"))
    }

    /// The store cannot take writes now.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(503, "Unavailable", "the store takes no writes now; try again")
    }
}
