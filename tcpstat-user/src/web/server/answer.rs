//! One request and its answer, which holds a slot from the request's head to the last byte written.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, Response, StatusCode, header},
    response::IntoResponse,
};
use hyper::{
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    service::{Service, service_fn},
};
use hyper_util::service::TowerToHyperService;

use super::connection::Connection;
use crate::web::{access::Access, settings::Settings};

/// Answers each request of `connection` that `access` lets pass. Handlers get the connection as an extension of the request.
pub(super) fn service(
    router: Router,
    access: Arc<Access>,
    connection: Arc<Connection>,
) -> impl Service<Request<Incoming>, Response = Response<TrackedBody>, Error = Infallible, Future: Send>
{
    let router = TowerToHyperService::new(router);
    service_fn(move |request: Request<Incoming>| {
        let (router, access, connection) = (router.clone(), access.clone(), connection.clone());
        async move {
            let settings = access.settings();
            let mut response = match access.refuse_early(&settings, &request) {
                Some(refusal) => refusal,
                None => answer(router, &access, &settings, &connection, request).await,
            };
            settings.add_headers(&mut response);
            Ok(response.map(|body| TrackedBody { body, connection }))
        }
    })
}

async fn answer(
    router: TowerToHyperService<Router>,
    access: &Access,
    settings: &Settings,
    connection: &Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    // Before it takes a slot, which requests with wrong passwords would hold.
    let turn = connection.password_slot();
    if let Some(refusal) =
        access.refuse_stranger(settings, &parts.headers, connection.client, turn).await
    {
        return refusal;
    }
    let Some(slot) = connection.answer_slot().await else {
        return too_many(connection.max_answers());
    };
    connection.activity.answer_began(slot);
    parts.extensions.insert(connection.clone());
    let request = Request::from_parts(parts, body);
    router.call(request).await.unwrap_or_else(|never| match never {})
}

/// A body that reports when hyper has taken all of it.
pub(super) struct TrackedBody {
    body: Body,
    connection: Arc<Connection>,
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for TrackedBody {
    fn drop(&mut self) {
        self.connection.activity.body_done();
    }
}

fn too_many(answers: usize) -> Response<Body> {
    let line = format!(
        "{answers} requests are being served, which is the maximum (--web.max-requests): try again later\n"
    );
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], line).into_response()
}
