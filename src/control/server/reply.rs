//! Answers as HTTP.

use bytes::{Bytes, BytesMut};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::body::Body;
use super::route::NoRoute;
use super::stream::EventStream;
use crate::control::{ApiError, ErrorBody, metrics};

const JSON: &str = "application/json";

/// `json` as it is.
pub(super) fn json(status: StatusCode, json: &Bytes) -> Response<Body> {
    // A prompt after `curl` starts on its own line.
    let mut line = BytesMut::with_capacity(json.len() + 1);
    line.extend_from_slice(json);
    line.extend_from_slice(b"\n");
    build(status, JSON, Body::whole(line.freeze()))
}

/// `view` as JSON.
pub(super) fn view(status: StatusCode, view: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(view) {
        Ok(bytes) => json(status, &bytes.into()),
        Err(failure) => error(&ApiError::internal(format_args!("no JSON: {failure}"))),
    }
}

/// A text for Prometheus, whose content type is good for people, too.
pub(super) fn text(status: StatusCode, text: String) -> Response<Body> {
    build(status, metrics::CONTENT_TYPE, Body::whole(text.into()))
}

/// A stream that ends when the log does.
pub(super) fn events(stream: EventStream) -> Response<Body> {
    build(StatusCode::OK, "text/event-stream", Body::events(stream))
}

/// `{"error": …}` with its status.
pub(super) fn error(error: &ApiError) -> Response<Body> {
    let status =
        StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // Strings only: this JSON cannot fail.
    let body = serde_json::to_vec(&ErrorBody {
        error: error.clone(),
    })
    .unwrap_or_default();
    let mut response = json(status, &body.into());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// 404 or 405.
pub(super) fn no_route(refusal: &NoRoute) -> Response<Body> {
    let mut response = error(&refusal.error);
    if let Some(methods) = refusal.allow {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static(methods));
    }
    response
}

fn build(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
