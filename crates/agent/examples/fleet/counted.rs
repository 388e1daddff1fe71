//! A TCP stream that counts what goes over it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::{Failure, Fleet};

/// A socket of the fleet.
pub(crate) type Socket = WebSocketStream<Counted>;

#[derive(Debug)]
pub(crate) struct Counted {
    inner: TcpStream,
    fleet: Arc<Fleet>,
}

/// Opens a WebSocket to the hub.
pub(crate) async fn open(fleet: &Arc<Fleet>, request: Request) -> Result<Socket, Failure> {
    fleet.tried();
    let inner = TcpStream::connect(&fleet.address).await?;
    inner.set_nodelay(true)?;
    let counted = Counted {
        inner,
        fleet: Arc::clone(fleet),
    };
    Ok(client_async(request, counted).await?.0)
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let done = Pin::new(&mut self.inner).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        self.fleet.received.fetch_add(read as u64, Ordering::Relaxed);
        done
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = &done {
            self.fleet.sent.fetch_add(*written as u64, Ordering::Relaxed);
        }
        done
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
