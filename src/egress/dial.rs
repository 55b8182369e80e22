//! The one SMTP dial: checked like every call, counted, in the ledger once its connection ends.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;

use super::address::may_reach;
use super::gate::{CONNECT, Record};
use super::{Cause, EgressError, Gate, HostPort};

impl Gate {
    /// Connects to the mail server `to`. The name is looked up once, and only addresses that may be reached
    /// are tried.
    pub async fn dial(&self, cause: &Cause, to: &HostPort) -> Result<Dialled, EgressError> {
        let host = to.host.clone();
        let mut record = Record::new(self, cause, &host, "SMTP");
        let checked = self.0.policy.read().unwrap_or_else(PoisonError::into_inner).check_dial(to);
        let reach = checked.map_err(|error| record.refused(error))?;
        let unreachable = |why: String| EgressError::Unreachable { host: host.clone(), why };
        let look_up = tokio::time::timeout(CONNECT, tokio::net::lookup_host((host.as_str(), to.port)));
        let found = match look_up.await {
            Err(_) => return Err(unreachable("its name was not found in time".into())),
            Ok(Err(error)) => return Err(unreachable(error.to_string())),
            Ok(Ok(found)) => found,
        };
        let mut why = "its name leads to no address that may be reached".to_owned();
        for address in found.filter(|address| may_reach(address.ip(), reach)).take(4) {
            match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
                Err(_) => "the connection was not taken in time".clone_into(&mut why),
                Ok(Err(error)) => why = error.to_string(),
                Ok(Ok(stream)) => {
                    let (stream, code) = (BufReader::new(stream), Arc::default());
                    return Ok(Dialled { stream, peer: address, code, record });
                }
            }
        }
        Err(unreachable(why))
    }
}

/// An open connection to the mail server.
///
/// It hands out one byte a read. What a server (or somebody on the way) sends in clear behind its answer to
/// STARTTLS then goes into the TLS handshake, which fails on it, and never counts as said under TLS.
pub struct Dialled {
    stream: BufReader<TcpStream>,
    peer: SocketAddr,
    code: Arc<AtomicU16>,
    record: Record,
}

impl Dialled {
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Where the speaker of the protocol leaves the last reply code, for the ledger; 0 is none.
    pub fn code(&self) -> Arc<AtomicU16> {
        Arc::clone(&self.code)
    }
}

impl std::fmt::Debug for Dialled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dialled({})", self.peer)
    }
}

impl Drop for Dialled {
    fn drop(&mut self) {
        let code = self.code.load(Ordering::Relaxed);
        self.record.line.status = (code > 0).then_some(code);
    }
}

impl AsyncRead for Dialled {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let waiting = ready!(Pin::new(&mut this.stream).poll_fill_buf(context))?;
        let Some(byte) = waiting.first().copied().filter(|_| out.remaining() > 0) else {
            return Poll::Ready(Ok(()));
        };
        out.put_slice(&[byte]);
        Pin::new(&mut this.stream).consume(1);
        this.record.line.received_bytes += 1;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Dialled {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(this.stream.get_mut()).poll_write(context, bytes))?;
        this.record.line.sent_bytes += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().stream.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().stream.get_mut()).poll_shutdown(context)
    }
}
