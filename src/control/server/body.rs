//! The body of an answer: a whole text, or a stream of events.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::activity::Activity;
use super::stream::EventStream;

/// What is sent after an answer's head.
pub(in crate::control) struct Body {
    content: Content,
    tracked: Option<Arc<Activity>>,
}

enum Content {
    Whole(Option<Bytes>),
    Events(EventStream),
}

impl Body {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self {
            content: Content::Whole(Some(bytes).filter(|b| !b.is_empty())),
            tracked: None,
        }
    }

    pub(super) fn events(stream: EventStream) -> Self {
        Self {
            content: Content::Events(stream),
            tracked: None,
        }
    }

    /// Tells `activity` when this body was handed over or given up.
    pub(super) fn tracked(mut self, activity: Arc<Activity>) -> Self {
        self.tracked = Some(activity);
        self
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(activity) = &self.tracked {
            activity.request_ended();
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.content {
            Content::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Content::Events(stream) => stream
                .poll_next(cx)
                .map(|bytes| bytes.map(|b| Ok(Frame::data(b)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Content::Events(_) => SizeHint::default(),
        }
    }
}
