//! A DM server and data repository of another make: it follows the reference and shares no code with this project
//! but the certificates. HTTP/1.1 is written by hand, so that answers can be odd, broken, late or cut off.
//!
//! ```text
//! mod      connections, and the script that they follow
//! reply    what is answered, byte by byte
//! request  what was asked, verbatim
//! wire     the socket below TLS: who listens there, and who changes bits
//! trust    certificates, keys and TLS configurations
//! ```

mod reply;
mod request;
mod trust;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use reply::Ending;
use wire::Wire;

pub(crate) use reply::{Framing, Reply};
pub(crate) use request::Request;
pub(crate) use trust::{Trust, VERSIONS, account, config, document, only};

/// How long the end of a connection is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two bytes of an answer that trickles.
const PACE: Duration = Duration::from_millis(10);

/// What happens to a connection before anything is asked.
#[derive(Clone, Debug)]
pub(crate) enum Greeting {
    /// A TLS handshake.
    Tls,
    /// A TLS handshake; later, one bit of the first answer is changed on its way.
    Tampered,
    /// It is closed at once.
    Closed,
    /// It is reset at once.
    Reset,
    /// It is reset when the device has begun a handshake.
    ResetInHandshake,
    /// Nobody says anything.
    Silence,
    /// These bytes in answer to the first ones that arrive, without TLS.
    Plain(Vec<u8>),
}

/// What a connection was like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    /// `TLSv1_3`, if there was a handshake.
    pub(crate) version: Option<String>,
    /// The name that the device asked for.
    pub(crate) name: Option<String>,
    /// The certificate that the device showed, DER.
    pub(crate) certificate: Option<Vec<u8>>,
    /// Why there was no handshake, or what went wrong later.
    pub(crate) error: Option<String>,
    /// Bytes in both directions, as anybody on the way sees them.
    pub(crate) overheard: Vec<u8>,
}

/// What a server does next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    /// One for each package.
    pub(crate) packages: Vec<Reply>,
    /// For the packages after those; nothing: END.
    pub(crate) afterwards: Option<Reply>,
    /// For requests to the data repository, by path and query.
    pub(crate) data: Vec<(&'static str, Reply)>,
    /// One for each connection; TLS for those after them.
    pub(crate) greetings: Vec<Greeting>,
}

/// Everything that a server saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// All requests, in order.
    pub(crate) requests: Vec<Request>,
    /// All connections, in order.
    pub(crate) connections: Vec<Connection>,
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

struct State {
    tls: Arc<ServerConfig>,
    greetings: VecDeque<Greeting>,
    packages: VecDeque<Reply>,
    afterwards: Reply,
    data: BTreeMap<String, Reply>,
    seen: Seen,
    /// Open connections, by number.
    open: BTreeMap<usize, TcpStream>,
    stopped: bool,
}

impl Server {
    /// On the IPv4 loopback address.
    pub(crate) fn start(tls: Arc<ServerConfig>) -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST.into(), tls)
    }

    /// On any port of this address.
    pub(crate) fn start_on(address: IpAddr, tls: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            tls,
            greetings: VecDeque::new(),
            packages: VecDeque::new(),
            afterwards: Reply::end(),
            data: BTreeMap::new(),
            seen: Seen::default(),
            open: BTreeMap::new(),
            stopped: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            ended: Condvar::new(),
        });
        let accepting = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self {
            address,
            shared,
            accepting: Some(accepting),
        }
    }

    /// `https://` and the address.
    pub(crate) fn uri(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Another certificate, or other demands, from the next connection on.
    pub(crate) fn set_tls(&self, tls: Arc<ServerConfig>) {
        self.shared.lock().tls = tls;
    }

    /// What happens next. `names` stand in it for what they mean.
    pub(crate) fn play(&self, script: &Script, names: &[(String, String)]) {
        let named = |reply: &Reply| reply.with_names(names);
        let mut state = self.shared.lock();
        state.greetings = script.greetings.iter().cloned().collect();
        state.packages = script.packages.iter().map(named).collect();
        state.afterwards = named(script.afterwards.as_ref().unwrap_or(&Reply::end()));
        state.data = script
            .data
            .iter()
            .map(|(path, reply)| ((*path).to_owned(), named(reply)))
            .collect();
    }

    /// Everything since the last time, once all connections have ended.
    pub(crate) fn take(&self) -> Seen {
        let state = self.shared.lock();
        let (mut state, late) = self
            .shared
            .ended
            .wait_timeout_while(state, PATIENCE, |state| !state.open.is_empty())
            .unwrap();
        assert!(!late.timed_out(), "the device keeps a connection open");
        std::mem::take(&mut state.seen)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.stopped = true;
            for stream in state.open.values() {
                let _gone = stream.shutdown(std::net::Shutdown::Both);
            }
        }
        // Wakes the thread that accepts.
        let _refused = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _panicked = accepting.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        let mut state = shared.lock();
        if state.stopped {
            return;
        }
        let number = state.seen.connections.len();
        state.seen.connections.push(Connection::default());
        state.open.insert(number, stream.try_clone().unwrap());
        let greeting = state.greetings.pop_front().unwrap_or(Greeting::Tls);
        let tls = Arc::clone(&state.tls);
        drop(state);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            stream.set_nodelay(true).unwrap();
            let mut attendant = Attendant {
                number,
                shared: &shared,
                connection: Connection::default(),
            };
            attendant.attend(stream, &greeting, tls);
            let mut state = shared.lock();
            state.seen.connections[number] = attendant.connection;
            state.open.remove(&number);
            shared.ended.notify_all();
        });
    }
}

/// Serves one connection.
struct Attendant<'a> {
    number: usize,
    shared: &'a Shared,
    connection: Connection,
}

type Stream = StreamOwned<ServerConnection, Wire>;

impl Attendant<'_> {
    fn attend(&mut self, mut stream: TcpStream, greeting: &Greeting, tls: Arc<ServerConfig>) {
        match greeting {
            Greeting::Tls | Greeting::Tampered => {}
            Greeting::Closed => return,
            Greeting::Reset => return wire::reset(&stream),
            Greeting::ResetInHandshake => {
                let mut some = [0; 64];
                let _read = stream.read(&mut some);
                return wire::reset(&stream);
            }
            Greeting::Silence => return wait_for_end(&mut stream),
            Greeting::Plain(answer) => {
                let mut hello = [0; 4096];
                let read = stream.read(&mut hello).unwrap_or_default();
                self.connection.overheard.extend_from_slice(&hello[..read]);
                let _gone = stream.write_all(answer);
                return wait_for_end(&mut stream);
            }
        }
        let connection = ServerConnection::new(tls).unwrap();
        let mut stream = StreamOwned::new(connection, Wire::new(stream));
        if let Err(error) = self.talk(&mut stream, matches!(greeting, Greeting::Tampered)) {
            self.connection.error = Some(error.to_string());
        }
        self.connection.overheard = stream.sock.overheard();
    }

    fn talk(&mut self, stream: &mut Stream, is_tampered: bool) -> std::io::Result<()> {
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let chain = stream.conn.peer_certificates().unwrap_or_default();
        self.connection.certificate = chain.first().map(|certificate| certificate.to_vec());
        self.connection.name = stream.conn.server_name().map(str::to_owned);
        let version = stream.conn.protocol_version();
        self.connection.version = version.map(|version| format!("{version:?}"));
        let mut unread = Vec::new();
        while let Some(request) = request::next(stream, &mut unread)? {
            let reply = self.shared.lock().answer(request, self.number);
            stream.sock.tamper(is_tampered);
            match answer(stream, &reply)? {
                Ending::Keep => {}
                _ => return Ok(()),
            }
        }
        Ok(())
    }
}

impl State {
    /// Notes a request and finds the answer to it.
    fn answer(&mut self, mut request: Request, connection: usize) -> Reply {
        request.connection = connection;
        let reply = match (request.is_package(), self.data.get(&request.target)) {
            (true, _) => {
                let next = self.packages.pop_front();
                next.unwrap_or_else(|| self.afterwards.clone())
            }
            (false, Some(reply)) => reply.clone(),
            (false, None) => Reply::status("404 Not Found"),
        };
        self.seen.requests.push(request);
        reply
    }
}

fn answer(stream: &mut Stream, reply: &Reply) -> std::io::Result<Ending> {
    let bytes = reply.bytes();
    if reply.ending == Ending::Trickle {
        return trickle(stream, &bytes);
    }
    stream.write_all(&bytes)?;
    stream.flush()?;
    match reply.ending {
        Ending::Keep | Ending::Trickle => {}
        Ending::Close => {
            stream.conn.send_close_notify();
            stream.flush()?;
        }
        Ending::Cut => stream.sock.shutdown(),
        Ending::Reset => stream.sock.reset(),
        Ending::Stall => while !has_ended_within(stream, PATIENCE)? {},
        Ending::Plain(bytes) => {
            stream.sock.write_all(bytes)?;
            while !has_ended_within(stream, PATIENCE)? {}
        }
    }
    Ok(reply.ending)
}

/// Sends a byte at a time, until the device hangs up.
fn trickle(stream: &mut Stream, bytes: &[u8]) -> std::io::Result<Ending> {
    for (number, byte) in bytes.iter().enumerate() {
        if number > 0 && has_ended_within(stream, PACE)? {
            return Ok(Ending::Close);
        }
        stream.write_all(&[*byte])?;
        stream.flush()?;
    }
    Ok(Ending::Keep)
}

/// Whether the device hangs up within a time.
fn has_ended_within(stream: &mut Stream, time: Duration) -> std::io::Result<bool> {
    stream.sock.set_read_timeout(Some(time))?;
    let mut byte = [0];
    let ended = match stream.read(&mut byte) {
        Ok(read) => read == 0,
        Err(error) => !matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ),
    };
    stream.sock.set_read_timeout(None)?;
    Ok(ended)
}

fn wait_for_end(stream: &mut TcpStream) {
    let mut some = [0; 4096];
    while matches!(stream.read(&mut some), Ok(read) if read > 0) {}
}
