//! A connection whose other end has to take what is written: one that does not read is as good as gone.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Fails once nothing could be written for `within`.
#[derive(Debug)]
pub(super) struct Impatient<C> {
    connection: C,
    within: Duration,
    /// Set while a write waits.
    until: Option<Pin<Box<Sleep>>>,
}

impl<C: AsyncWrite + Unpin> Impatient<C> {
    pub(super) fn new(connection: C, within: Duration) -> Self {
        Self {
            connection,
            within,
            until: None,
        }
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<Result<T>>) -> Poll<Result<T>> {
        if written.is_ready() {
            self.until = None;
            return written;
        }
        let within = self.within;
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(within)));
        ready!(until.as_mut().poll(cx));
        // Whoever asks again gets the same answer.
        until.as_mut().reset(Instant::now());
        Poll::Ready(Err(Error::new(
            ErrorKind::TimedOut,
            "the other end does not read",
        )))
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Impatient<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.connection).poll_read(cx, into)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Impatient<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write_vectored(cx, bytes);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = Pin::new(&mut self.connection).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let ended = Pin::new(&mut self.connection).poll_shutdown(cx);
        self.judge(cx, ended)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_given_up_and_who_reads_slowly_is_not() {
        let within = Duration::from_secs(60);
        let (ours, mut theirs) = duplex(16);
        let mut ours = Impatient::new(ours, within);
        let reads = tokio::spawn(async move {
            let mut all = 0;
            let mut piece = [0; 16];
            while all < 64 {
                tokio::time::sleep(Duration::from_secs(50)).await;
                all += theirs.read(&mut piece).await.unwrap();
            }
            theirs
        });
        ours.write_all(&[7; 64]).await.unwrap();
        let _theirs = reads.await.unwrap();
        let begun = Instant::now();
        let refused = ours.write_all(&[7; 64]).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), within.as_secs());
    }
}
