//! Between hyper and the application's service: counts requests, and says `Connection: close`
//! with the last answer of a drain.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::Instant;

use super::connection::Shared;
use super::stream::Stream;
use super::wire::Wire;

/// The service of one connection.
pub(super) struct Answering<S> {
    pub(super) service: Arc<S>,
    pub(super) stream: Arc<Stream>,
    pub(super) wire: Arc<Wire>,
    pub(super) shared: Arc<Shared>,
}

/// A request that is being answered: over when this is dropped.
struct Ticket {
    wire: Arc<Wire>,
    shared: Arc<Shared>,
}

/// The application's body, with the ticket of its request.
pub(super) struct Flowing<B> {
    body: Pin<Box<B>>,
    _ticket: Ticket,
}

impl<S, B> Service<Request<Incoming>> for Answering<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = Response<Flowing<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.wire.called();
        request.extensions_mut().insert(self.shared.drain.clone());
        let connect = request.method() == Method::CONNECT;
        let ticket = Ticket {
            wire: self.wire.clone(),
            shared: self.shared.clone(),
        };
        let stream = self.stream.clone();
        let answer = self.service.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            let status = response.status();
            if status == StatusCode::SWITCHING_PROTOCOLS || (connect && status.is_success()) {
                ticket.wire.upgraded();
            } else if ticket.is_last(&stream) {
                // hyper closes after an answer that says so.
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok(response.map(|body| Flowing {
                body: Box::pin(body),
                _ticket: ticket,
            }))
        })
    }
}

impl Ticket {
    /// Whether the connection ends with this answer: in a drain, unless the client has begun
    /// another request. Whoever never stops asking is told to all the same after a while.
    fn is_last(&self, stream: &Stream) -> bool {
        let Some(began) = self.shared.drain.began_at() else {
            return false;
        };
        let over = Instant::now() >= began + self.shared.patience.linger;
        over || !self.wire.more_begun(|| stream.has_unread())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.wire.answered();
        self.shared.count_request();
    }
}

impl<B: Body> Body for Flowing<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.body.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
