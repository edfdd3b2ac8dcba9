//! The default transport against servers that misbehave, over real sockets.

use std::{future::Future, time::Duration};

use charging_sessions_core::{Error, ErrorKind, Result};
use charging_sessions_http::{Client, Limits, Policy, Request, ReqwestTransport, Response, Transport};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use crate::{
    log,
    script::{PROVIDER, get},
};

/// Serves each connection with `serve`, which gets it after the head of a request was read. The address.
async fn server<F>(serve: impl Fn(TcpStream, String) -> F + Send + Sync + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    log::install();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            tokio::spawn(serve(stream, String::from_utf8(head).unwrap()));
        }
    });
    address
}

/// Answers with these bytes and closes the connection.
async fn says(bytes: impl Into<Vec<u8>>) -> String {
    let bytes = bytes.into();
    server(move |mut stream, _| {
        let bytes = bytes.clone();
        async move {
            let _ = stream.write_all(&bytes).await;
        }
    })
    .await
}

fn transport() -> ReqwestTransport {
    ReqwestTransport::new().unwrap()
}

async fn send(url: &str, limits: Limits) -> Result<Response> {
    let request = Request::new(Default::default());
    let (mut parts, body) = request.into_parts();
    parts.uri = format!("{url}x?secret=s3cret").parse().unwrap();
    let sent = transport().send(Request::from_parts(parts, body), &limits).await;
    if let Err(error) = &sent {
        let text = format!("{error} {error:?}");
        assert!(!text.contains("s3cret") && !text.contains("/x"), "{text}");
    }
    sent
}

async fn fails(url: &str, limits: Limits) -> (ErrorKind, String) {
    let error = timeout(Duration::from_secs(5), send(url, limits)).await.expect("no hanging").unwrap_err();
    (error.kind(), error.to_string())
}

fn is(kind: ErrorKind, text: &str) -> (ErrorKind, String) {
    (kind, text.to_owned())
}

fn client(url: &str, policy: Policy) -> Client {
    Client::builder(PROVIDER, url.parse().unwrap()).policy(policy.with_max_attempts(1)).build().unwrap()
}

async fn ends(client: &Client) -> Error {
    timeout(Duration::from_secs(5), get(client)).await.expect("no hanging").unwrap_err()
}

fn gzip_answer(gzip: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", gzip.len());
    [head.as_bytes(), gzip].concat()
}

/// Zeros, packed 158 times smaller: one literal, then repetitions of 258 bytes in 13 bits each. `len` is rounded.
fn gzip_zeros(len: usize) -> Vec<u8> {
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (mut pending, mut bits) = (0u64, 0);
    let mut put = |value: u64, count: u32| {
        pending |= value << bits;
        bits += count;
        while bits >= 8 {
            gzip.push(pending as u8);
            pending >>= 8;
            bits -= 8;
        }
    };
    put(0b011, 3); // the last block, with the fixed code
    put(0b0000_1100, 8); // literal 0 is 0b00110000, sent from its highest bit
    let repetitions = len / 258;
    for _ in 0..repetitions {
        put(0b1010_0011, 8); // length 258 is symbol 285, 0b11000101
        put(0, 5); // distance 1
    }
    put(0, 7); // end of block
    put(0, 7);
    let len = 1 + repetitions * 258;
    gzip.extend(crc_of_zeros(len).to_le_bytes());
    gzip.extend((len as u32).to_le_bytes());
    gzip
}

fn crc_of_zeros(len: usize) -> u32 {
    let mut crc = u32::MAX;
    for _ in 0..len.min(100_000) * 8 {
        crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
    }
    !crc
}

/// The most memory this process has ever used, in bytes.
fn peak_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(peak.trim().trim_end_matches(" kB").parse::<usize>().ok()? * 1024)
}

#[tokio::test]
async fn any_status_is_an_answer_and_arrives_whole() {
    let url = says("HTTP/1.1 503 No\r\nretry-after: 5\r\ncontent-length: 4\r\n\r\ndown").await;
    let response = send(&url, Limits::default()).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "5");
    assert_eq!(&response.body()[..], b"down");
    let url = says("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(send(&url, Limits::default()).await.unwrap().body().len(), 0);
}

#[tokio::test]
async fn a_truncated_body_is_an_error() {
    let broke_off = is(ErrorKind::Network, "the answer broke off");
    let url = says("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[1,2]").await;
    assert_eq!(fails(&url, Limits::default()).await, broke_off);
    let url = says("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n[1,2]\r\n").await;
    assert_eq!(fails(&url, Limits::default()).await, broke_off);
    let url = says("HTTP/1.1 200 OK\r\ncontent-len").await;
    assert_eq!(fails(&url, Limits::default()).await.0, ErrorKind::Network);
}

#[tokio::test]
async fn a_body_that_falls_silent_times_out() {
    let url = server(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[").await;
        sleep(Duration::from_secs(60)).await;
    })
    .await;
    let limits = Limits::default().with_idle(Duration::from_millis(50));
    assert_eq!(fails(&url, limits).await, is(ErrorKind::Timeout, "the answer fell silent for 50ms"));
}

#[tokio::test]
async fn a_body_that_drips_for_ever_is_stopped_by_the_time_limit_of_the_attempt() {
    let url = server(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n[").await;
        while stream.write_all(b" ").await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let client = client(&url, Policy::default().with_attempt_timeout(Duration::from_millis(300)));
    assert_eq!(ends(&client).await.kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn a_head_that_never_comes_is_stopped_by_the_time_limit_of_the_attempt() {
    let url = server(|stream, _| async move {
        sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let client = client(&url, Policy::default().with_attempt_timeout(Duration::from_millis(100)));
    let error = ends(&client).await;
    assert_eq!((error.kind(), error.is_exhausted()), (ErrorKind::Timeout, true));
}

#[tokio::test]
async fn a_body_above_the_limit_is_not_read() {
    let limits = Limits::default().with_max_body(1_000);
    let too_long = is(ErrorKind::Protocol, "the answer is longer than the limit of 1000 bytes");
    let announced = says("HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n").await;
    assert_eq!(fails(&announced, limits).await, too_long);
    let endless = server(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b' '; 10_000]).await.is_ok() {}
    })
    .await;
    assert_eq!(fails(&endless, limits).await, too_long);
    let fits = says([&b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"[..], &[b' '; 1_000]].concat()).await;
    assert_eq!(send(&fits, limits).await.unwrap().body().len(), 1_000);
}

#[tokio::test]
async fn a_gzip_bomb_is_stopped_at_the_limit_without_swelling() {
    let bomb = gzip_zeros(512 << 20);
    assert!(bomb.len() < 4 << 20);
    let url = says(gzip_answer(&bomb)).await;
    let before = peak_memory();
    let limits = Limits::default().with_max_body(1 << 20);
    let expected = is(ErrorKind::Protocol, "the answer is longer than the limit of 1048576 bytes");
    assert_eq!(fails(&url, limits).await, expected);
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        assert!(after - before < 32 << 20, "{} MiB more", (after - before) >> 20);
    }
}

#[tokio::test]
async fn gzip_is_unpacked_and_damage_to_it_noticed() {
    let gzip = gzip_zeros(50_000);
    let url = says(gzip_answer(&gzip)).await;
    assert_eq!(send(&url, Limits::default()).await.unwrap().body().len(), 49_795);
    // Cut, but announced with the length it has.
    for cut in [4, 12, gzip.len() / 2] {
        let url = says(gzip_answer(&gzip[..gzip.len() - cut])).await;
        assert_eq!(fails(&url, Limits::default()).await.0, ErrorKind::Network, "{cut}");
    }
    let mut damaged = gzip.clone();
    let crc = damaged.len() - 6;
    damaged[crc] ^= 1;
    let url = says(gzip_answer(&damaged)).await;
    assert_eq!(fails(&url, Limits::default()).await.0, ErrorKind::Network);
    let url = says(gzip_answer(b"not gzip at all")).await;
    assert_eq!(fails(&url, Limits::default()).await.0, ErrorKind::Network);
}

#[tokio::test]
async fn a_reset_or_refused_connection_is_an_error() {
    let url = server(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[").await;
        sleep(Duration::from_millis(50)).await;
        let _ = stream.set_zero_linger();
    })
    .await;
    assert_eq!(fails(&url, Limits::default()).await, is(ErrorKind::Network, "the answer broke off"));
    let url = says("").await;
    assert_eq!(fails(&url, Limits::default()).await.0, ErrorKind::Network);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(fails(&url, Limits::default()).await, is(ErrorKind::Network, "no connection could be made"));
}

#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to_over_https() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]").await;
    });
    assert_eq!(fails(&url, Limits::default()).await, is(ErrorKind::Network, "no connection could be made"));
}

#[tokio::test]
async fn redirects_are_answers_and_cookies_are_not_kept() {
    let url = server(|mut stream, head| async move {
        assert!(!head.contains("cookie"), "{head}");
        let _ = stream
            .write_all(b"HTTP/1.1 302 Found\r\nlocation: /y\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n")
            .await;
    })
    .await;
    let transport = transport();
    for _ in 0..2 {
        let request = http::Request::get(&url).body(Default::default()).unwrap();
        assert_eq!(transport.send(request, &Limits::default()).await.unwrap().status(), 302);
    }
}

#[tokio::test]
async fn a_client_of_the_user_that_follows_redirects_is_refused() {
    let url = server(|mut stream, head| async move {
        let answer = if head.starts_with("GET /y") {
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]"
        } else {
            "HTTP/1.1 302 Found\r\nlocation: /y\r\ncontent-length: 0\r\n\r\n"
        };
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let request = || http::Request::get(&url).body(Default::default()).unwrap();
    // As a program does that builds its own client; only the first one in a process counts.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let follows = ReqwestTransport::from(reqwest::Client::new());
    let error = follows.send(request(), &Limits::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let plain = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let response = ReqwestTransport::from(plain).send(request(), &Limits::default()).await.unwrap();
    assert_eq!(response.status(), 302);
}

#[tokio::test]
async fn a_client_with_the_default_transport_reads_a_list() {
    let url = server(|mut stream, head| async move {
        assert!(head.starts_with("GET /items HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("accept: application/json\r\n") && head.contains("accept-encoding: gzip\r\n"));
        assert!(head.contains("user-agent: charging-sessions/"), "{head}");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n[1,2,3]").await;
    })
    .await;
    assert_eq!(get(&client(&url, Policy::default())).await.unwrap(), [1, 2, 3]);
}
