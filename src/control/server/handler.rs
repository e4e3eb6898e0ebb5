//! One request: its route, its parameters, the master's answer.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as HttpBody;
use hyper::{Request, Response, StatusCode};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::body::Body;
use super::door::Guest;
use super::order::order;
use super::query::Query;
use super::route::{self, Route};
use super::stream::EventStream;
use super::{Context, reply};
use crate::control::view::{EventView, EventsView, OperationResult, OperationView};
use crate::control::{Answer, ApiError, Call, ErrorKind, OperationRequest};

/// Answers `request`, whatever it is.
pub(super) async fn respond<B>(
    request: Request<B>,
    guest: Guest,
    context: &Context,
) -> Response<Body>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (route, names) = match route::find(guest, request.method(), request.uri().path()) {
        Ok(found) => found,
        Err(refusal) => return reply::no_route(&refusal),
    };
    let answer = async {
        let query = Query::parse(request.uri().query().unwrap_or(""), names)?;
        context.answer(route, &query, request, guest).await
    };
    answer
        .await
        .unwrap_or_else(|error: ApiError| reply::error(&error))
}

/// The answer to a request that says twice how long it is.
pub(super) fn two_lengths() -> Response<Body> {
    reply::error(&ApiError::bad_request(
        "the request has a length and is chunked, too",
    ))
}

impl Context {
    async fn answer<B>(
        &self,
        route: Route,
        query: &Query,
        request: Request<B>,
        guest: Guest,
    ) -> Result<Response<Body>, ApiError>
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match route {
            Route::Status => self.plain(Call::Status).await,
            Route::Config => self.plain(Call::Config).await,
            Route::History => self.plain(Call::History).await,
            Route::Metrics => self.plain(Call::Metrics).await,
            Route::Readyz => self.plain(Call::Ready).await,
            Route::Healthz => {
                // Whatever it answers, its loop turns.
                self.ask(Call::Ready).await?;
                Ok(reply::text(StatusCode::OK, "ok\n".to_owned()))
            }
            Route::Logs { worker } => {
                let worker = match worker {
                    Some(worker) => Some(worker),
                    None => query.get("worker", "a worker's id, like 8.0")?,
                };
                let generation = query.get("generation", "a generation's number")?;
                let after = query.get("after", "the \"next\" of an earlier answer")?;
                let lines = query.get("lines", "a number of lines")?;
                self.plain(Call::Logs {
                    worker,
                    generation,
                    after,
                    lines,
                })
                .await
            }
            Route::Events => self.events(query, &request),
            Route::Operation(id) => {
                let wait = query
                    .get("wait", "true, false or drained")?
                    .unwrap_or(Wait::Not);
                self.operation(Call::Operation(id), wait).await
            }
            Route::Start(kind) => {
                let Guest::Caller(by) = guest else {
                    let message = "orders are given on the control socket";
                    return Err(ApiError::new(ErrorKind::Forbidden, message));
                };
                let wait = query
                    .get("wait", "true, false or drained")?
                    .unwrap_or(Wait::Ended);
                let body = self.body(request).await?;
                let kind = order(kind, &body)?;
                let drained =
                    matches!(&kind, OperationRequest::Upgrade(request) if request.drained);
                let wait = if drained && wait == Wait::Ended {
                    Wait::Drained
                } else {
                    wait
                };
                self.operation(Call::Start { kind, by }, wait).await
            }
        }
    }

    /// A call whose answer is all there is.
    async fn plain(&self, call: Call) -> Result<Response<Body>, ApiError> {
        Ok(match self.ask(call).await? {
            Answer::Json(json) => reply::json(StatusCode::OK, &json),
            Answer::Text(text) => reply::text(StatusCode::OK, text),
            Answer::Ready {
                ready: true,
                detail,
            } => reply::text(StatusCode::OK, detail + "\n"),
            Answer::Ready {
                ready: false,
                detail,
            } => reply::text(StatusCode::SERVICE_UNAVAILABLE, detail + "\n"),
            Answer::Operation(progress) => reply::view(StatusCode::OK, &*progress.borrow()),
            Answer::Error(error) => return Err(error),
        })
    }

    async fn operation(&self, call: Call, wait: Wait) -> Result<Response<Body>, ApiError> {
        let begins = matches!(call, Call::Start { .. });
        let progress = match self.ask(call).await? {
            Answer::Operation(progress) => progress,
            Answer::Error(error) => return Err(error),
            other => {
                return Err(ApiError::internal(format_args!(
                    "no operation, but {other:?}"
                )));
            }
        };
        if wait == Wait::Not {
            let status = if begins {
                StatusCode::ACCEPTED
            } else {
                StatusCode::OK
            };
            return Ok(reply::view(status, &*progress.borrow()));
        }
        let operation = self.outcome(progress, wait).await?;
        Ok(reply::view(StatusCode::OK, &operation))
    }

    async fn outcome(
        &self,
        mut progress: watch::Receiver<OperationView>,
        wait: Wait,
    ) -> Result<OperationView, ApiError> {
        let mut last = progress.clone();
        let gone = tokio::select! {
            // First, so that what ended just before the log did is told.
            biased;
            outcome = progress.wait_for(|operation| wait.is_over_for(operation)) => match outcome {
                Ok(operation) => return Ok(operation.clone()),
                Err(_) => ErrorKind::Internal,
            },
            () = self.events.closed() => ErrorKind::Stopping,
        };
        let operation = last.borrow_and_update().clone();
        if operation.is_ended() {
            return Ok(operation);
        }
        let what = format_args!(
            "{} {} did not end: the master ends",
            operation.kind, operation.id
        );
        Err(ApiError::new(gone, what))
    }

    fn events<B>(&self, query: &Query, request: &Request<B>) -> Result<Response<Body>, ApiError> {
        let follow: bool = query.get("follow", "true or false")?.unwrap_or(true);
        // A browser's EventSource, and curl told by hand, come back with this.
        let seen = request
            .headers()
            .get("last-event-id")
            .and_then(|id| id.to_str().ok())
            .and_then(|id| id.trim().parse().ok());
        let since = query.get("since", "an event's number")?.or(seen);
        if follow {
            let since = since.unwrap_or_else(|| self.events.last());
            let subscription = self.events.subscribe(since);
            return Ok(reply::events(EventStream::new(
                subscription,
                self.limits.heartbeat,
            )));
        }
        let kept = self.events.after(since.unwrap_or(0));
        let events: Vec<EventView> = kept
            .iter()
            .filter_map(|stored| serde_json::from_slice(&stored.json).ok())
            .collect();
        let last = events
            .last()
            .map_or_else(|| self.events.last(), |newest| newest.seq);
        Ok(reply::view(StatusCode::OK, &EventsView { events, last }))
    }

    async fn ask(&self, call: Call) -> Result<Answer, ApiError> {
        let (sender, answer) = oneshot::channel();
        let stopping = || ApiError::new(ErrorKind::Stopping, "the master ends");
        let asked = async {
            self.calls
                .send((call, sender))
                .await
                .map_err(|_| stopping())?;
            answer.await.map_err(|_| stopping())
        };
        let patience = self.limits.answer_timeout;
        match timeout(patience, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(no_answer(patience)),
        }
    }

    async fn body<B>(&self, request: Request<B>) -> Result<Bytes, ApiError>
    where
        B: HttpBody<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let most = self.limits.body_bytes;
        let too_large = || {
            let message = format_args!("the body has more than {most} bytes");
            ApiError::new(ErrorKind::TooLarge, message)
        };
        if request.body().size_hint().lower() > most as u64 {
            return Err(too_large());
        }
        let body = Limited::new(request.into_body(), most);
        match timeout(self.limits.body_timeout, Box::pin(body.collect())).await {
            Err(_) => {
                let message = "the body did not arrive in time";
                Err(ApiError::new(ErrorKind::TooSlow, message))
            }
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => Err(ApiError::bad_request(format_args!(
                "the body broke off: {error}"
            ))),
            Ok(Ok(body)) => Ok(body.to_bytes()),
        }
    }
}

fn no_answer(patience: Duration) -> ApiError {
    let message = format_args!("the master did not answer within {patience:?}");
    ApiError::new(ErrorKind::NoAnswer, message)
        .hint("what was asked may still begin: its status says whether it did")
}

/// How long a caller wants to wait for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Not,
    Ended,
    Drained,
}

impl std::str::FromStr for Wait {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "false" => Ok(Self::Not),
            "true" | "" => Ok(Self::Ended),
            "drained" => Ok(Self::Drained),
            _ => Err(()),
        }
    }
}

impl Wait {
    fn is_over_for(self, operation: &OperationView) -> bool {
        match self {
            Self::Not => true,
            Self::Ended => operation.is_ended(),
            Self::Drained => {
                let failed = operation.result.is_some_and(|r| r != OperationResult::Done);
                operation.is_ended() && (operation.drained || failed)
            }
        }
    }
}
