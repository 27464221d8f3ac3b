//! What this node's Icecast asks: may this listener listen? And what it tells: they have left. In: Icecast's form. Out: one header, or none.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Sources;
use super::source_auth::LET_IN;

/// Where Icecast asks, on the admin port.
pub const LISTENER_AUTH_PATH: &str = "/v1/icecast/listener-auth";

/// The form is taken as it is: a mount's own program may have to be asked the same.
pub(super) async fn judge(State(sources): State<Arc<Sources>>, form: String) -> Response {
    match sources.listener_gate.judge_direct(&form).await {
        Ok(()) => ([LET_IN], "").into_response(),
        Err(refusal) => (StatusCode::FORBIDDEN, refusal.to_string()).into_response(),
    }
}
