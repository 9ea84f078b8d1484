//! An HTTP server in the test's process, which says what it is told to and counts what it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};

use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::dev::Dev;
use crate::serve::info;
use crate::wait::PATIENCE;

/// What it answers.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Such as `200 OK`.
    pub status: &'static str,
    /// Name and value each.
    pub headers: Vec<(&'static str, String)>,
    /// What is sent.
    pub body: Vec<u8>,
    /// Says nothing of the body's length, and sends it in chunks.
    pub chunked: bool,
    /// Answers only after [`Origin::release`].
    pub held: bool,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// As it was sent.
    pub path: String,
    /// By name, in lower case.
    pub headers: HashMap<String, String>,
}

type Script = dyn Fn(&Asked, usize) -> Answer + Send + Sync;

/// See the [module](self).
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<Script>,
    asked: Mutex<Vec<Asked>>,
    released: Mutex<bool>,
    release: Condvar,
}

impl Answer {
    /// 200 with a body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Answer {
        Answer {
            status: "200 OK",
            body: body.into(),
            ..Answer::default()
        }
    }

    /// A status, and a short body.
    pub fn status(status: &'static str) -> Answer {
        Answer {
            status,
            body: status.into(),
            ..Answer::default()
        }
    }

    /// With a header more.
    pub fn header(mut self, name: &'static str, value: &str) -> Answer {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Not before it is released.
    pub fn hold(mut self) -> Answer {
        self.held = true;
        self
    }
}

impl Origin {
    /// Answers each request by what the script says to it and to its number, which begins at 0.
    pub fn start(script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Origin {
        Origin::launch(script, None)
    }

    /// The same over TLS, with a certificate for `localhost`, which is returned in PEM.
    pub fn start_tls(
        script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
    ) -> (Origin, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])
            .expect("the name is a name");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the defaults go together")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .expect("the key is the certificate's");
        (
            Origin::launch(script, Some(Arc::new(config))),
            made.cert.pem(),
        )
    }

    fn launch(
        script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static,
        tls: Option<Arc<ServerConfig>>,
    ) -> Origin {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            script: Box::new(script),
            asked: Mutex::default(),
            released: Mutex::default(),
            release: Condvar::new(),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, tls) = (Arc::clone(&serving), tls.clone());
                std::thread::spawn(move || match tls {
                    None => drop(shared.serve(&mut &stream)),
                    Some(tls) => {
                        let connection =
                            ServerConnection::new(tls).expect("the settings are whole");
                        drop(shared.serve(&mut StreamOwned::new(connection, stream)));
                    }
                });
            }
        });
        Origin { address, shared }
    }

    /// How often it was asked.
    pub fn count(&self) -> usize {
        self.asked().len()
    }

    /// What it was asked.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("nobody panics").clone()
    }

    /// Lets the answers go that are held, and all later ones.
    pub fn release(&self) {
        *self.shared.released.lock().expect("nobody panics") = true;
        self.shared.release.notify_all();
    }

    /// A flag for a node that loads keys that begin with `img:` from here, by a table of its file of settings: beside name,
    /// prefix and URL it has these lines. The file lives as long as the folder.
    pub fn file(&self, table: &str) -> (String, TempDir) {
        let folder = TempDir::new().expect("there is room for a folder");
        let file = folder.path().join("larder.toml");
        let text = format!(
            "[[origins]]\nname = 'img'\nprefix = 'img:'\nurl = 'http://{}/{{rest}}'\n{table}\n",
            self.address
        );
        std::fs::write(&file, text).expect("the folder is ours");
        (format!("--config={}", file.display()), folder)
    }

    /// A cluster of such nodes.
    pub fn dev(&self, flags: &[&str], table: &str) -> (Dev, TempDir) {
        let (config, folder) = self.file(table);
        let flags: Vec<&str> = flags.iter().copied().chain([config.as_str()]).collect();
        (Dev::with(&flags), folder)
    }

    /// A flag for a node that loads keys with this prefix from here.
    pub fn flag(&self, prefix: &str) -> String {
        format!("--origin={prefix}=http://{}/{{rest}}", self.address)
    }
}

/// How many clients of these nodes and proxies wait for keys to be loaded. Those of a proxy share their calls: so all nodes
/// that are waited at must be among them, and all proxies.
pub fn waiters(entries: &[SocketAddr]) -> usize {
    let told = entries.iter().map(|entry| {
        let told = info(*entry, "loads");
        let field = |name: &str| told.get(name)?.parse::<usize>().ok();
        field("load_waiters").unwrap_or_default() + field("load_waits_spared").unwrap_or_default()
    });
    told.sum()
}

impl Shared {
    fn serve(&self, stream: &mut (impl Read + Write)) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let Some(first) = line(&mut stream)? else {
                return Ok(());
            };
            let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut headers = HashMap::new();
            while let Some(line) = line(&mut stream)?.filter(|line| !line.is_empty()) {
                let (name, value) = line.split_once(':').unwrap_or((&line, ""));
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            let asked = Asked { path, headers };
            let number = {
                let mut all = self.asked.lock().expect("nobody panics");
                all.push(asked.clone());
                all.len() - 1
            };
            let answer = (self.script)(&asked, number);
            if answer.held {
                let released = self.released.lock().expect("nobody panics");
                let waiting = self
                    .release
                    .wait_timeout_while(released, PATIENCE, |released| !*released);
                drop(waiting);
            }
            send(stream.get_mut(), &answer)?;
        }
    }
}

/// The next line of a request, without its end.
fn line(stream: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    let length = stream.read_line(&mut line)?;
    Ok((length > 0).then(|| line.trim_end().to_owned()))
}

fn send(stream: &mut impl Write, answer: &Answer) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {}\r\n", answer.status);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let bodiless = answer.status.starts_with("304");
    if answer.chunked {
        head += "transfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes())?;
        for chunk in answer.body.chunks(64 * 1024) {
            stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
            stream.write_all(chunk)?;
            stream.write_all(b"\r\n")?;
        }
        stream.write_all(b"0\r\n\r\n")?;
        return stream.flush();
    }
    if !bodiless {
        head += &format!("content-length: {}\r\n", answer.body.len());
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if !bodiless {
        stream.write_all(&answer.body)?;
    }
    stream.flush()
}
