//! A gateway in front of a sandbox that does to answers what no HTTP library would do.
//!
//! It reads and writes the bytes of the connection itself, so that an answer can end, stall or drip at any place, lie
//! about its length, or never end. What a provider says wrongly in right HTTP is a
//! [`Fault`](crate::sandbox::Fault) of the sandbox.
//!
//! ```
//! use charging_sessions_testkit::{
//!     hostile::{Gateway, Place, Trick},
//!     sandbox::evcc::EvccSandbox,
//! };
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let sandbox = EvccSandbox::builder().build().start().await?;
//! let gateway = Gateway::before(sandbox.address()).await?;
//! // The first two answers of the listing break off in the middle of their bodies.
//! gateway.play(Trick::cut(Place::Body).on_path("/api/sessions").times(2));
//! // Now read from `gateway.origin()` instead of `sandbox.origin()`.
//! # std::io::Result::Ok(())
//! # })?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod answer;

use std::{
    collections::VecDeque,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

pub use answer::{Answer, Place, gzip, gzip_bomb};

/// How many answers can be [replayed](Trick::replay).
const REMEMBERED: usize = 8;
/// How much of an endless body is written at once.
const PIECE: usize = 64 * 1024;

/// The most memory that a process, given by its number, has ever had resident, in bytes. `None` where the system does not
/// say so in a file, as Linux does.
///
/// Whether an answer swells the process that reads it is seen by nothing else.
pub fn peak_memory(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(peak.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// What the gateway does to the answer of a request.
///
/// Tricks wait in a queue, as [faults](crate::sandbox::Fault) do: each request takes the first one that matches, and
/// one that still [lets requests pass](Self::after) does not stop those behind it.
#[derive(Clone, Debug)]
pub struct Trick {
    deed: Deed,
    path: Option<String>,
    after: usize,
    times: usize,
}

#[derive(Clone)]
enum Deed {
    Stop { at: Place, then: Then },
    Change(Arc<dyn Fn(&mut Answer) + Send + Sync>),
    Replay(usize),
    Says(Arc<[u8]>),
    Endless,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Close,
    Reset,
    Hang,
    Drip(Duration),
}

impl fmt::Debug for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop { at, then } => write!(f, "{then:?} at {at:?}"),
            Self::Change(_) => f.write_str("Change"),
            Self::Replay(answers) => write!(f, "Replay({answers})"),
            Self::Says(bytes) => write!(f, "Says({} bytes)", bytes.len()),
            Self::Endless => f.write_str("Endless"),
        }
    }
}

impl Trick {
    fn new(deed: Deed) -> Self {
        Self { deed, path: None, after: 0, times: 1 }
    }

    fn stop(at: Place, then: Then) -> Self {
        Self::new(Deed::Stop { at, then })
    }

    /// The answer up to this place, then the end of the connection.
    pub fn cut(at: Place) -> Self {
        Self::stop(at, Then::Close)
    }

    /// The answer up to this place, then a reset of the connection.
    pub fn reset(at: Place) -> Self {
        Self::stop(at, Then::Reset)
    }

    /// The answer up to this place, then silence until the other side goes away.
    pub fn hang(at: Place) -> Self {
        Self::stop(at, Then::Hang)
    }

    /// The answer up to this place, then a byte each `pause`.
    pub fn drip(at: Place, pause: Duration) -> Self {
        Self::stop(at, Then::Drip(pause))
    }

    /// Another answer than the right one, in whole.
    pub fn change(change: impl Fn(&mut Answer) + Send + Sync + 'static) -> Self {
        Self::new(Deed::Change(Arc::new(change)))
    }

    /// An answer of this status, without anything of the right one.
    pub fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let answer = Answer::new(status, headers, body);
        Self::change(move |right| *right = answer.clone())
    }

    /// The last `answers` answers on the [path](Self::on_path) in turn, as a cache does that has lost its keys. At
    /// most 8 are remembered, and the right answer comes as long as there are not as many.
    pub fn replay(answers: usize) -> Self {
        Self::new(Deed::Replay(answers.clamp(1, REMEMBERED)))
    }

    /// These bytes, whatever they are, then the end of the connection.
    pub fn says(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::new(Deed::Says(bytes.into()))
    }

    /// Success, JSON, no length, and a body of spaces without an end.
    pub fn endless() -> Self {
        Self::new(Deed::Endless)
    }

    /// Only concerns requests whose path contains `part`.
    #[must_use]
    pub fn on_path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Lets this many matching requests pass first.
    #[must_use]
    pub fn after(mut self, requests: usize) -> Self {
        self.after = requests;
        self
    }

    /// Happens this many times in a row instead of once.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Happens until [`Gateway::calm`].
    #[must_use]
    pub fn for_ever(self) -> Self {
        self.times(usize::MAX)
    }

    fn concerns(&self, path: &str) -> bool {
        self.path.as_deref().is_none_or(|part| path.contains(part))
    }
}

/// A server on a loopback port that passes requests on to a sandbox, and plays [tricks](Trick) on the answers.
///
/// Dropping it stops the server, and with it every connection that hangs.
pub struct Gateway {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct State {
    sandbox: SocketAddr,
    stage: Mutex<Stage>,
}

#[derive(Default)]
struct Stage {
    tricks: Vec<Trick>,
    played: usize,
    /// With the path each was asked for.
    remembered: VecDeque<(String, Answer)>,
    replayed: usize,
}

impl State {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Listens on a port that the system chooses, in front of the sandbox at this address.
    ///
    /// # Errors
    ///
    /// If there is no port to listen on.
    pub async fn before(sandbox: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State { sandbox, stage: Mutex::default() });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let state = Arc::clone(&shared);
                // That a caller goes away is no concern of the others.
                connections.spawn(async move { drop(serve(stream, &state).await) });
            }
        });
        Ok(Self { address, state, task })
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds a trick to the queue.
    pub fn play(&self, trick: Trick) {
        self.state.stage().tricks.push(trick);
    }

    /// Forgets all tricks that have not been played.
    pub fn calm(&self) {
        self.state.stage().tricks.clear();
    }

    /// How many requests have met a trick.
    pub fn played(&self) -> usize {
        self.state.stage().played
    }
}

impl Stage {
    fn take(&mut self, path: &str) -> Option<Trick> {
        self.tricks.retain(|trick| trick.times > 0);
        for trick in self.tricks.iter_mut().filter(|trick| trick.concerns(path)) {
            if trick.after > 0 {
                trick.after -= 1;
                continue;
            }
            trick.times -= 1;
            self.played += 1;
            return Some(trick.clone());
        }
        None
    }

    fn remember(&mut self, path: &str, answer: &Answer) {
        self.remembered.push_back((path.to_owned(), answer.clone()));
        if self.remembered.len() > REMEMBERED {
            self.remembered.pop_front();
        }
    }

    /// One of the last answers, the oldest of them first.
    fn replay(&mut self, trick: &Trick, answers: usize) -> Option<Answer> {
        let fitting: Vec<_> = self.remembered.iter().filter(|(path, _)| trick.concerns(path)).collect();
        let first = fitting.len().checked_sub(answers)?;
        let answer = fitting[first + self.replayed % answers].1.clone();
        self.replayed += 1;
        Some(answer)
    }
}

/// A request as it came, and its path.
struct Asked {
    path: String,
    head: String,
    body: Vec<u8>,
}

async fn serve(mut stream: TcpStream, state: &State) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Some(asked) = read(&mut stream).await? {
        let trick = state.stage().take(&asked.path);
        let mut answer = pass_on(state.sandbox, &asked).await?;
        let Some(trick) = trick else {
            state.stage().remember(&asked.path, &answer);
            stream.write_all(&answer.bytes()).await?;
            continue;
        };
        match &trick.deed {
            Deed::Stop { at, then } => return stop(stream, &answer.until(*at), *then).await,
            Deed::Says(bytes) => return stream.write_all(bytes).await,
            Deed::Endless => return endless(stream).await,
            Deed::Change(change) => change(&mut answer),
            Deed::Replay(answers) => {
                let replayed = state.stage().replay(&trick, *answers);
                answer = replayed.unwrap_or(answer);
            }
        }
        stream.write_all(&answer.bytes()).await?;
    }
    Ok(())
}

/// The next request on a connection; `None` if the other side has closed it.
async fn read(stream: &mut TcpStream) -> io::Result<Option<Asked>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) if head.is_empty() => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default().to_owned();
    let mut body = vec![0; answer::length_in(&head).unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    Ok(Some(Asked { path, head, body }))
}

async fn pass_on(sandbox: SocketAddr, asked: &Asked) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(sandbox).await?;
    stream.set_nodelay(true)?;
    let (line, headers) = asked.head.split_once("\r\n").unwrap_or_default();
    // A connection for each, so that the end of an answer is the end of its connection.
    let mut bytes = format!("{line}\r\nconnection: close\r\n{headers}").into_bytes();
    bytes.extend(&asked.body);
    stream.write_all(&bytes).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Answer::parse(&answer)
}

async fn stop(mut stream: TcpStream, (sent, rest): &(Vec<u8>, Vec<u8>), then: Then) -> io::Result<()> {
    stream.write_all(sent).await?;
    match then {
        Then::Close => stream.shutdown().await,
        Then::Reset => stream.set_zero_linger(),
        Then::Hang => gone(&mut stream).await,
        Then::Drip(pause) => {
            for byte in rest {
                sleep(pause).await;
                stream.write_all(&[*byte]).await?;
            }
            gone(&mut stream).await
        }
    }
}

/// Waits until the other side has gone away.
async fn gone(stream: &mut TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}

async fn endless(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n[").await?;
    let piece = [b' '; PIECE];
    loop {
        stream.write_all(&piece).await?;
    }
}
