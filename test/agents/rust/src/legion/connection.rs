use std::{convert::identity, pin::Pin, time::Duration};

use hyper::rt::Executor;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{StreamExt, pending, wrappers::ReceiverStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Status, Streaming, transport::Endpoint};

use crate::proto::registry::{ConnectRequest, ConnectResponse, Hello, registry_service_client::RegistryServiceClient};

/// An address that swallows everything gives no other sign.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
const END_LIMIT: Duration = Duration::from_secs(2);

/// One stream on a connection of its own. Dropping it cuts the connection, so that the session can be resumed; ending it in
/// order ends the session.
pub(crate) struct Connection {
    /// `None` ends the stream. One place: what waits is put into a frame only when the frame can be sent.
    pub outgoing: mpsc::Sender<Option<ConnectRequest>>,
    pub incoming: Streaming<ConnectResponse>,
    _cut: DropGuard,
}

impl Connection {
    pub async fn open(target: &str, hello: Hello) -> Result<Self, Status> {
        match timeout(OPEN_LIMIT, Self::say_hello(target, hello)).await {
            Ok(opened) => opened,
            Err(_) => Err(Status::unavailable(format!("No answer within {OPEN_LIMIT:?}."))),
        }
    }

    async fn say_hello(target: &str, hello: Hello) -> Result<Self, Status> {
        let scope = CancellationToken::new();
        let cut = scope.clone().drop_guard();
        let channel = async { Endpoint::new(format!("http://{target}"))?.executor(Scope(scope)).connect().await };
        let channel = channel.await.map_err(|error| Status::from_error(error.into()))?;

        let (outgoing, frames) = mpsc::channel(1);
        // Before the call: it returns when the Registry has answered.
        let first = ConnectRequest { seq: 1, hello: Some(hello), ..Default::default() };
        let _ = outgoing.try_send(Some(first));
        // A sender that is merely dropped would end the stream in order, and the session with it.
        let frames = ReceiverStream::new(frames).chain(pending()).map_while(identity);
        let incoming = RegistryServiceClient::new(channel).connect(frames).await?.into_inner();
        Ok(Self { outgoing, incoming, _cut: cut })
    }

    /// Says that no more is sent, and waits for the Registry to end the stream.
    pub async fn end(mut self) {
        let ended = async {
            let _ = self.outgoing.send(None).await;
            while let Ok(Some(_)) = self.incoming.message().await {}
        };
        let _ = timeout(END_LIMIT, ended).await;
    }
}

/// Runs what drives a connection until the connection is dropped. Without it a request stream that goes on would keep a broken
/// connection alive.
struct Scope(CancellationToken);

impl Executor<Pin<Box<dyn Future<Output = ()> + Send>>> for Scope {
    fn execute(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        tokio::spawn(self.0.clone().run_until_cancelled_owned(future));
    }
}
