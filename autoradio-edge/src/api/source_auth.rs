//! What this node's Icecast asks: may this source come in? In: Icecast's form. Out: one header, or none.

use std::sync::Arc;

use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Sources;
use crate::http::SourceClaim;

/// Where Icecast asks, on the admin port.
pub const SOURCE_AUTH_PATH: &str = "/v1/icecast/source-auth";

/// Icecast 2.4 lets a source, or a listener, in when it finds this header (its `auth_url.c`); nothing else counts.
pub(super) const LET_IN: (&str, &str) = ("icecast-auth-user", "1");

pub(super) async fn judge(
    State(sources): State<Arc<Sources>>,
    Form(claim): Form<SourceClaim>,
) -> Response {
    match sources.gate.admit(&claim).await {
        Ok(()) => ([LET_IN], "").into_response(),
        Err(refusal) => (StatusCode::FORBIDDEN, refusal.to_string()).into_response(),
    }
}
