//! Connections on which what arrives is acknowledged when it is read. A server that sends the head of an answer and
//! its body in two writes without `TCP_NODELAY` (Ceph's gateway as it comes) waits with the second for the
//! acknowledgement of the first, which Linux holds back for 40 ms otherwise: that is as much for each small answer.

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::set_tcp_quickack;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::net::TcpStream;
use tower_service::Service;

/// Makes them.
#[derive(Clone)]
pub(super) struct PromptConnector(pub(super) HttpConnector);

/// One of them.
pub(super) struct PromptStream(TokioIo<TcpStream>);

type Connecting<E> = Pin<Box<dyn Future<Output = Result<PromptStream, E>> + Send>>;

impl Service<Uri> for PromptConnector {
    type Response = PromptStream;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = Connecting<Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = self.0.call(to);
        Box::pin(async move { connecting.await.map(PromptStream) })
    }
}

impl Connection for PromptStream {
    fn connected(&self) -> Connected {
        self.0.connected()
    }
}

impl Read for PromptStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.0).poll_read(context, into));
        // It holds for what has arrived, not for good. That it can not be set costs time and nothing else.
        let _ = set_tcp_quickack(self.0.inner(), true);
        Poll::Ready(read)
    }
}

impl Write for PromptStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
