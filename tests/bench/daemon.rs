//! The released executables from outside: their size, their start, their memory, what a session costs them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bailiwick_authority::{Authority, DeviceId, Enroll, Init, Server, ServerOptions};
use bailiwick_protocol::Command as Dm;

use crate::table::{Table, quantile};

const BOOTED: Duration = Duration::from_secs(60);
/// The plug-ins of the project; four more are made from the first of them.
const REAL: &[&str] = &[
    "session-info",
    "devinfo",
    "account",
    "generic",
    "tcp",
    "linux",
];
const COPIES: usize = 4;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let builds = PathBuf::from(
        std::env::var_os("BAILIWICK_BENCH_DIR").context("run this by `cargo xtask bench`")?,
    );
    let (lean, full) = (builds.join("lean/bailiwick"), builds.join("full/bailiwick"));
    let size = fs::metadata(&lean)?.len() as f64 / 1e6;
    table.add(
        "stripped lean executable",
        size,
        "MB",
        Some(9.0),
        String::new(),
    );

    let directory = bailiwick_tests::scratch("bench-daemon")?;
    let device = Device::install(&directory)?;
    device.compile(&full)?;
    // Built beside this program.
    let empty = std::env::current_exe()?.with_file_name("empty");
    start(table, &lean, &empty, &device)?;
    admin_round_trip(table, &lean, &device)?;
    sessions(table, &lean, &device)?;
    fs::remove_dir_all(directory)?;
    Ok(())
}

/// A device on disk: configuration and plug-ins.
struct Device {
    directory: PathBuf,
    config: PathBuf,
}

impl Device {
    fn install(directory: &Path) -> Result<Self> {
        let mut plugins = String::new();
        let mut add = |path: &Path| {
            plugins += &format!(
                "[[plugins]]\npath = {path:?}\ngrant = [\"logging\", \"call-context\", \"config\", \"storage\", \"session\", \
                 \"accounts\", \"device\", \"net\", \"os\"]\n"
            );
        };
        for name in REAL {
            add(&bailiwick_tests::plugin_dir(name));
        }
        for copy in 0..COPIES {
            add(&copy_of_session_info(directory, copy)?);
        }
        let policy = moids()
            .iter()
            .map(|moid| {
                format!("[[policy]]\nauthority = \"*\"\nmoid = {moid:?}\nrights = [\"read\"]\n")
            })
            .collect::<String>();
        let config = directory.join("bailiwick.toml");
        fs::write(
            &config,
            format!("state = \"state\"\nadmin-socket = \"admin\"\n{plugins}{policy}"),
        )?;
        Ok(Self {
            directory: directory.into(),
            config,
        })
    }

    fn compile(&self, executable: &Path) -> Result<()> {
        let done = Command::new(executable)
            .arg("compile")
            .arg("--config")
            .arg(&self.config)
            .status()?;
        if !done.success() {
            bail!("`bailiwick compile` failed");
        }
        Ok(())
    }

    /// Starts the daemon; how long it took to say READY.
    fn start(&self, executable: &Path) -> Result<(Daemon, Duration)> {
        let path = self.directory.join("notify");
        let _ = fs::remove_file(&path);
        let notify = UnixDatagram::bind(&path)?;
        notify.set_read_timeout(Some(BOOTED))?;
        let started = Instant::now();
        let child = Command::new(executable)
            .args(["run", "--config"])
            .arg(&self.config)
            .env("NOTIFY_SOCKET", &path)
            .env("BAILIWICK_LOG", "error")
            .stdin(Stdio::null())
            .spawn()?;
        let daemon = Daemon { child };
        let mut message = [0; 256];
        loop {
            let length = notify
                .recv(&mut message)
                .context("the daemon did not get READY")?;
            if message
                .get(..length)
                .is_some_and(|text| text.starts_with(b"READY=1"))
            {
                return Ok((daemon, started.elapsed()));
            }
        }
    }

    fn connect(&self) -> Result<Admin> {
        let stream = UnixStream::connect(self.directory.join("admin"))?;
        stream.set_read_timeout(Some(BOOTED))?;
        Ok(Admin {
            stream,
            buffer: Vec::new(),
        })
    }
}

/// `session-info` under another name of the same length, for another MO type: another component to the host.
fn copy_of_session_info(directory: &Path, copy: usize) -> Result<PathBuf> {
    let from = bailiwick_tests::plugin_dir("session-info");
    let name = format!("session-inf{copy}");
    let to = directory.join(&name);
    fs::create_dir_all(&to)?;
    let mut component = fs::read(from.join("plugin.wasm"))?;
    let places: Vec<usize> = component
        .windows(name.len())
        .enumerate()
        .filter(|(_, window)| *window == b"session-info")
        .map(|(at, _)| at)
        .collect();
    for at in places {
        component
            .get_mut(at..at + name.len())
            .context("out of the file")?
            .copy_from_slice(name.as_bytes());
    }
    fs::write(to.join("plugin.wasm"), component)?;
    fs::copy(from.join("object.ddf"), to.join("object.ddf"))?;
    let manifest = fs::read_to_string(from.join("plugin.toml"))?
        .replace("session-info", &name)
        .replace("urn:oma:mo:oma-sessioninfomo:1.0", &copied_moid(copy));
    fs::write(to.join("plugin.toml"), manifest)?;
    Ok(to)
}

fn copied_moid(copy: usize) -> String {
    format!("urn:oma:mo:x-bench-{copy}:1.0")
}

/// The types that the sessions of the benchmark touch.
fn moids() -> Vec<String> {
    let real = [
        bailiwick_protocol::DEVINFO_MOID,
        bailiwick_protocol::SESSION_INFO_MOID,
        bailiwick_protocol::DMACC_MOID,
    ];
    let own = ["urn:oma:mo:x-bailiwick-mo-type:1.0", WIDE];
    let copies = (0..COPIES).map(copied_moid);
    real.into_iter()
        .chain(own)
        .map(String::from)
        .chain(copies)
        .collect()
}

/// A type with very many nodes, which the benchmark's authority adds.
const WIDE: &str = "urn:oma:mo:x-bench-wide:1.0";

/// A running daemon; it and its workers end with this.
struct Daemon {
    child: Child,
}

impl Daemon {
    /// Its own process and those below it.
    fn processes(&self) -> Vec<u32> {
        let mut all = vec![self.child.id()];
        let mut at = 0;
        while let Some(process) = all.get(at).copied() {
            at += 1;
            let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))
                .unwrap_or_default();
            all.extend(
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse::<u32>().ok()),
            );
        }
        all
    }

    /// Proportional set size of all its processes, MB.
    fn pss(&self) -> Result<f64> {
        let mut kilobytes = 0.0;
        for process in self.processes() {
            let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))
                .context("smaps_rollup of the daemon; run the benchmark as root")?;
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("Pss:"))
                .context("no Pss")?;
            kilobytes += line.trim().trim_end_matches(" kB").trim().parse::<f64>()?;
        }
        Ok(kilobytes / 1000.0)
    }

    /// CPU time of all its threads so far, milliseconds.
    fn cpu(&self) -> Result<f64> {
        let mut nanoseconds = 0.0;
        for process in self.processes() {
            for task in fs::read_dir(format!("/proc/{process}/task"))? {
                let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
                nanoseconds += text
                    .split_whitespace()
                    .next()
                    .and_then(|n| n.parse::<f64>().ok())
                    .unwrap_or(0.0);
            }
        }
        Ok(nanoseconds / 1e6)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection to the admin socket that is kept.
struct Admin {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Admin {
    fn call(&mut self, method: &str, parameters: &serde_json::Value) -> Result<serde_json::Value> {
        let call = serde_json::json!({ "method": format!("org.bailiwick.Admin.{method}"), "parameters": parameters });
        let mut bytes = serde_json::to_vec(&call)?;
        bytes.push(0);
        self.stream.write_all(&bytes)?;
        self.buffer.clear();
        let mut chunk = [0; 65536];
        while self.buffer.last() != Some(&0) {
            let length = self.stream.read(&mut chunk)?;
            if length == 0 {
                bail!("the daemon closed the connection");
            }
            self.buffer
                .extend_from_slice(chunk.get(..length).unwrap_or_default());
        }
        self.buffer.pop();
        let mut reply: serde_json::Value = serde_json::from_slice(&self.buffer)?;
        if let Some(error) = reply.get("error") {
            bail!("{method}: {error} {}", reply["parameters"]);
        }
        Ok(reply["parameters"].take())
    }

    fn get(&mut self, client_uri: &str) -> Result<serde_json::Value> {
        self.call("Get", &serde_json::json!({ "clientUri": client_uri }))
    }
}

fn start(table: &mut Table, executable: &Path, empty: &Path, device: &Device) -> Result<()> {
    let (mut daemon, mut nothing) = (Vec::new(), Vec::new());
    for _ in 0..30 {
        let (_running, took) = device.start(executable)?;
        daemon.push(took.as_secs_f64() * 1e3);
        let started = Instant::now();
        Command::new(empty).status()?;
        nothing.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let (daemon, nothing) = (quantile(&mut daemon, 0.5), quantile(&mut nothing, 0.5));
    let detail = format!("medians of 30: {daemon:.1} ms over {nothing:.1} ms");
    table.add(
        "start to READY, 10 plug-ins, over an empty process",
        daemon - nothing,
        "ms",
        Some(15.0),
        detail,
    );
    Ok(())
}

fn admin_round_trip(table: &mut Table, executable: &Path, device: &Device) -> Result<()> {
    let (_daemon, _) = device.start(executable)?;
    let mut admin = device.connect()?;
    let mut samples = Vec::new();
    for round in 0..6_000 {
        let started = Instant::now();
        admin.get("urn:oma:mo:oma-sessioninfomo:1.0/1/CBT")?;
        if round >= 1_000 {
            samples.push(started.elapsed().as_secs_f64() * 1e6);
        }
    }
    let detail = format!(
        "p50 of {}; p99 {:.1}",
        samples.len(),
        quantile(&mut samples, 0.99)
    );
    table.add(
        "`get` over the admin socket, through a plug-in",
        quantile(&mut samples, 0.5),
        "us p50",
        Some(60.0),
        detail,
    );
    Ok(())
}

/// An authority, its server, and the device's account with it.
struct Managed {
    authority: Authority,
    device: DeviceId,
    srv_id: String,
    /// Where its server listens.
    uri: String,
}

fn sessions(table: &mut Table, executable: &Path, device: &Device) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let device_id = device_id(executable, device)?;
    let (daemon, _) = device.start(executable)?;
    let mut admin = device.connect()?;
    let mut managed = Vec::new();
    let mut servers = Vec::new();
    let mut pss = Vec::new();
    for number in 0..4 {
        let directory = device.directory.join(format!("authority-{number}"));
        let name = format!("bench-{number}");
        let init = Init {
            name: name.clone(),
            srv_id: Some(name.clone()),
            ..Init::default()
        };
        let authority = Authority::init(&directory, init)?;
        let server = runtime.block_on(async {
            let server = Server::bind(
                authority.clone(),
                "127.0.0.1:0".parse()?,
                ServerOptions::default(),
            )
            .await?;
            anyhow::Ok(server.spawn())
        })?;
        let uri = format!("https://localhost:{}/dm", server.local_addr().port());
        let enrollment = authority.enroll(
            &device_id,
            Enroll {
                uri: Some(uri.clone()),
                moids: moids(),
                ..Enroll::default()
            },
        )?;
        let document = String::from_utf8(enrollment.bootstrap.to_bytes())?;
        // All ten plug-ins are called once: five types of objects by the session, environment and transport below it.
        authority
            .queue(&device_id)?
            .push_all(&touch_everything()?)?;
        admin.call("Bootstrap", &serde_json::json!({ "document": document }))?;
        let account = Managed {
            authority,
            device: device_id.clone(),
            srv_id: name,
            uri,
        };
        wait_until_idle(&account)?;
        session(&mut admin, &account)?;
        managed.push(account);
        servers.push(server);
        bailiwick_tests::daemon::pause(Duration::from_millis(300));
        pss.push(daemon.pss()?);
    }
    let first = pss.first().copied().context("no authority")?;
    let last = pss.last().copied().context("no authority")?;
    let detail = format!("{} processes; all: {pss:.1?}", daemon.processes().len());
    table.add(
        "idle PSS, lean, 10 plug-ins, one authority",
        first,
        "MB",
        Some(12.0),
        String::new(),
    );
    let further = (last - first) / (pss.len() - 1) as f64;
    table.add(
        "idle PSS, each further authority",
        further,
        "MB",
        Some(2.0),
        detail,
    );

    let account = managed.first().context("no authority")?;
    cpu_of_a_session(table, &daemon, &mut admin, account)?;
    many_nodes(table, &daemon, &mut admin, account)?;
    runtime.block_on(async {
        for server in servers {
            server.stop().await;
        }
    });
    Ok(())
}

/// Who the device is. Asked of a daemon of its own: what the operator reads runs in a worker of the operator's.
fn device_id(executable: &Path, device: &Device) -> Result<DeviceId> {
    let (_daemon, _) = device.start(executable)?;
    let answer = device
        .connect()?
        .get("urn:oma:mo:oma-dm-devinfo:1.2/1/DevID")?;
    let text = answer["items"][0]["MOData"]["DevID"]
        .as_str()
        .context("no DevID")?;
    Ok(text.parse()?)
}

fn touch_everything() -> Result<Vec<Dm>> {
    moids()
        .iter()
        .filter(|moid| *moid != WIDE)
        .map(|moid| get(&format!("{moid}/*/")))
        .collect()
}

fn get(client_uri: &str) -> Result<Dm> {
    Ok(Dm::parse(&["GET".to_owned(), client_uri.to_owned()])?)
}

/// The session that follows a bootstrap by itself has taken the queued commands.
fn wait_until_idle(account: &Managed) -> Result<()> {
    let started = Instant::now();
    while !account.authority.queue(&account.device)?.list()?.is_empty() {
        if started.elapsed() > BOOTED {
            bail!("the session after the bootstrap did not take the commands");
        }
        bailiwick_tests::daemon::pause(Duration::from_millis(20));
    }
    Ok(())
}

fn session(admin: &mut Admin, account: &Managed) -> Result<serde_json::Value> {
    let started = Instant::now();
    loop {
        let outcome = admin.call(
            "Session",
            &serde_json::json!({ "authority": account.srv_id }),
        );
        match outcome {
            Ok(report) if report["succeeded"] == true => return Ok(report),
            Ok(report) => bail!("a session failed: {report}"),
            // The session after the bootstrap may still say goodbye.
            Err(_) if started.elapsed() < BOOTED => {
                bailiwick_tests::daemon::pause(Duration::from_millis(20))
            }
            Err(error) => return Err(error),
        }
    }
}

fn cpu_of_a_session(
    table: &mut Table,
    daemon: &Daemon,
    admin: &mut Admin,
    account: &Managed,
) -> Result<()> {
    const SESSIONS: usize = 20;
    let mut commands = Vec::new();
    while commands.len() < 20 {
        commands.push(get("urn:oma:mo:oma-sessioninfomo:1.0/1/CBT")?);
        commands.push(get("urn:oma:mo:x-bench-0:1.0/1/")?);
    }
    let queue = account.authority.queue(&account.device)?;
    let before = daemon.cpu()?;
    for _ in 0..SESSIONS {
        queue.push_all(&commands)?;
        session(admin, account)?;
    }
    let each = (daemon.cpu()? - before) / SESSIONS as f64;
    let detail = format!("mean of {SESSIONS}, all processes of the device");
    table.add(
        "CPU of a session: mutual TLS and 20 commands",
        each,
        "ms",
        Some(8.0),
        detail,
    );
    Ok(())
}

fn many_nodes(
    table: &mut Table,
    daemon: &Daemon,
    admin: &mut Admin,
    account: &Managed,
) -> Result<()> {
    const NODES: usize = 10_000;
    let ddf = format!(
        "<MgmtTree><VerDTD>1.2</VerDTD><Node><NodeName>Wide</NodeName><DFProperties><AccessType><Get/><Add/></AccessType>\
         <DFFormat><node/></DFFormat><Occurrence><One/></Occurrence><Scope><Dynamic/></Scope><DFType><DDFName>{WIDE}</DDFName></DFType>\
         </DFProperties><Node><NodeName></NodeName><DFProperties><AccessType><Get/><Add/><Replace/><Delete/></AccessType>\
         <DFFormat><int/></DFFormat><Occurrence><ZeroOrMore/></Occurrence><Scope><Dynamic/></Scope><DFType><MIME>text/plain</MIME></DFType>\
         </DFProperties></Node></Node></MgmtTree>"
    );
    let repository = account.authority.repository();
    let kind = serde_json::json!([{
        "ClientURI": "urn:oma:mo:x-bailiwick-mo-type:1.0//",
        "MOData": { "MOType": { "MOID": WIDE, "DDF": ddf } },
    }]);
    let wide: serde_json::Map<String, serde_json::Value> = (0..NODES)
        .map(|number| (format!("n{number}"), number.into()))
        .collect();
    let object =
        serde_json::json!([{ "ClientURI": format!("{WIDE}//"), "MOData": { "Wide": wide } }]);
    repository.put_bytes(&"type.json".parse()?, &serde_json::to_vec(&kind)?)?;
    repository.put_bytes(&"wide.json".parse()?, &serde_json::to_vec(&object)?)?;
    let base = account.uri.replace("/dm", "/data");
    let hget = |name: &str| Dm::parse(&["HGET".to_owned(), format!("{base}/{name}")]);
    let queue = account.authority.queue(&account.device)?;
    queue.push_all(&[hget("type.json")?, hget("wide.json")?])?;
    let made = session(admin, account)?;
    if made.to_string().matches("\"status\":200").count() < 2 {
        bail!("the wide object was not made: {made}");
    }

    const TIMES: usize = 5;
    let before = daemon.cpu()?;
    let started = Instant::now();
    for _ in 0..TIMES {
        queue.push(&get(&format!("{WIDE}//"))?)?;
        let report = session(admin, account)?;
        if !report.to_string().contains("\"status\":200") {
            bail!("GET of {NODES} nodes: {report}");
        }
    }
    let per_node = |milliseconds: f64| milliseconds * 1e3 / (TIMES * NODES) as f64;
    let wall = per_node(started.elapsed().as_secs_f64() * 1e3);
    let detail =
        format!("mean of {TIMES} whole sessions; {wall:.1} us of wall clock, server included");
    table.add(
        "GET of 10 000 nodes: CPU per node",
        per_node(daemon.cpu()? - before),
        "us",
        None,
        detail,
    );
    Ok(())
}
