//! The server in the background.

use std::{fmt, io, net::Ipv4Addr, net::SocketAddr, ops::Deref, time::Duration};

use axum::{Router, serve::ListenerExt as _};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

/// How long [`Running::stop`] waits for answers that are being sent.
const GRACE: Duration = Duration::from_secs(5);

/// A sandbox that listens on a loopback port.
///
/// It gives everything the sandbox itself gives. Dropping it stops the server: no new connection is accepted,
/// answers under way are finished.
pub struct Running<S> {
    sandbox: S,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl<S> Running<S> {
    /// Serves `router` on a port the system chooses. Must be called inside a tokio runtime.
    pub(crate) async fn start(sandbox: S, router: Router) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        // Answers are small; waiting to fill a packet would cost each request tens of milliseconds.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            // A sender that was dropped says stop as well.
            let signal = async move { drop(stopped.await) };
            drop(axum::serve(listener, router).with_graceful_shutdown(signal).await);
        });
        Ok(Self { sandbox, address, stop: Some(stop), task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops and waits until answers under way are sent, but not longer than a few seconds.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        if tokio::time::timeout(GRACE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl<S> Deref for Running<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.sandbox
    }
}

impl<S: fmt::Debug> fmt::Debug for Running<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("sandbox", &self.sandbox)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
