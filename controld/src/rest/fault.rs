//! What goes wrong with a request, and the document that says so.

use super::request::Reply;
use crate::core::Refusal;
use api::schema::FieldError;
use http::StatusCode;
use serde_json::{Value, json};

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// Nothing has this URL.
    #[error("there is no {0}")]
    NotFound(String),
    /// The URL exists, but not for this method.
    #[error("{method} is not possible here: use {}", .allow.join(" or "))]
    Method {
        /// What was asked.
        method: String,
        /// What is possible, for the header `Allow`.
        allow: Vec<&'static str>,
    },
    /// The body is too large.
    #[error("the body is larger than {limit} bytes: send less")]
    TooLarge {
        /// Most bytes.
        limit: usize,
    },
    /// The body did not come in time.
    #[error("the body did not come within {seconds} s: send it again")]
    TooSlow {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The body cannot be read.
    #[error("the body cannot be read: {0}")]
    Body(String),
    /// Fields are at fault, all of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Fields(Vec<FieldError>),
    /// The type has no such action.
    #[error("{kind} has no action '{action}'")]
    Action {
        /// The type.
        kind: &'static str,
        /// What was asked.
        action: String,
    },
    /// The action is not possible in this state.
    #[error(
        "{action} is not possible for {id} in state {state}: wait, or choose one of its actions"
    )]
    ActionState {
        /// The action.
        action: &'static str,
        /// The resource.
        id: String,
        /// Its state.
        state: String,
    },
    /// The request came by way of a foreign web page, or under a foreign name.
    #[error("{0}")]
    Foreign(String),
    /// Nobody known is asking.
    #[error("an access key is needed: send it with its secret key by HTTP Basic")]
    Unauthenticated,
    /// The core refuses.
    #[error("{}", .0.message)]
    Refused(#[from] Refusal),
    /// A defect of ours.
    #[error("controld failed to answer; the reason is in its log under this id")]
    Internal,
}

impl Fault {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::Fields(_) | Self::Action { .. } | Self::ActionState { .. } => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Foreign(_) => StatusCode::FORBIDDEN,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Refused(refusal) => {
                StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "NotFound",
            Self::Method { .. } => "MethodNotAllowed",
            Self::TooLarge { .. } => "RequestEntityTooLarge",
            Self::TooSlow { .. } => "RequestTimeout",
            Self::Body(_) => "InvalidBodyContent",
            Self::Fields(faults) => {
                faults.first().map_or("InvalidFormat", |first| first.code.name())
            }
            Self::Action { .. } => "InvalidAction",
            Self::ActionState { .. } => "ActionNotAvailable",
            Self::Foreign(_) => "Forbidden",
            Self::Unauthenticated => "Unauthorized",
            Self::Refused(refusal) => refusal.code,
            Self::Internal => "ServerError",
        }
    }

    fn field(&self) -> Option<&str> {
        match self {
            Self::Fields(faults) => faults.first().map(|first| first.field.as_str()),
            Self::Refused(refusal) => refusal.field.as_deref(),
            _ => None,
        }
    }

    /// All faults of fields, for clients that show more than the first.
    fn details(&self) -> Value {
        let Self::Fields(faults) = self else { return Value::Null };
        let details = faults.iter().map(|fault| {
            json!({"fieldName": fault.field, "code": fault.code.name(), "message": fault.message})
        });
        Value::Array(details.collect())
    }

    /// The answer. `id` names this one fault, in the answer and in the log.
    #[must_use]
    pub fn reply(&self, id: &str) -> Reply {
        let mut body = json!({
            "type": "error",
            "id": id,
            "links": {},
            "actions": {},
            "status": self.status().as_u16(),
            "code": self.code(),
            "message": self.to_string(),
            "detail": self.details(),
        });
        if let (Value::Object(body), Some(field)) = (&mut body, self.field()) {
            body.insert("fieldName".into(), field.into());
        }
        let reply = Reply::json(self.status(), body);
        match self {
            Self::Method { allow, .. } => reply.header(http::header::ALLOW, &allow.join(", ")),
            Self::Unauthenticated => {
                reply.header(http::header::WWW_AUTHENTICATE, "Basic realm=\"Stampede\"")
            }
            _ => reply,
        }
    }
}
