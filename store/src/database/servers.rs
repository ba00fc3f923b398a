//! Real database servers for tests: each in a temporary folder, on a free port of the loopback, for as long
//! as the process that started it lives.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _};

/// Ends the server and removes its folder when the pipe on its input closes, however that comes.
const KEEPER: &str = r#""$@" >"$FOLDER/log" 2>&1 </dev/null & server=$!
read -r _
kill "-$SIGNAL" $server; wait $server; rm -rf "$FOLDER""#;

/// Tries to connect to a server that starts, a tenth of a second apart.
const TRIES: u32 = 600;

/// A database server of this process's own.
#[derive(Debug)]
pub struct Server {
    /// Where a database's name is to be put behind.
    base: String,
    /// A database that is always there.
    first: &'static str,
    folder: PathBuf,
    databases: AtomicU32,
    /// Its input is open as long as this process lives.
    _keeper: Child,
}

/// The process's PostgreSQL server; started when first asked for.
///
/// # Panics
/// It cannot be started.
pub async fn postgres() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(|| start_postgres(folder("postgres"), &[]));
    server.wait().await;
    server
}

/// A PostgreSQL server that speaks TLS, and the certificate of the authority that vouches for it.
///
/// # Panics
/// It cannot be started.
pub async fn postgres_with_tls() -> (Server, PathBuf) {
    let folder = folder("postgres");
    let [authority, certificate, key] = certificates(&folder, "postgres");
    let of = |name: &str, file: &Path| format!("{name}={}", file.display());
    let [certificate, key] = [of("ssl_cert_file", &certificate), of("ssl_key_file", &key)];
    let server = start_postgres(folder, &["-c", "ssl=on", "-c", &certificate, "-c", &key]);
    server.wait().await;
    (server, authority)
}

fn start_postgres(folder: PathBuf, settings: &[&str]) -> Server {
    let (data, port) = (folder.join("data"), free_port());
    let mut init = as_user("postgres", &program("initdb"));
    init.args(["-A", "trust", "-U", "edgepress", "-E", "UTF8", "--locale=C", "--no-sync", "-D"]);
    run(init.arg(&data));
    let mut server = as_user("postgres", &program("postgres"));
    server.arg("-D").arg(&data).args(["-p", &port.to_string(), "-k"]).arg(&folder);
    server.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=200"]);
    server.args(["-c", "shared_preload_libraries=pg_stat_statements"]).args(settings);
    Server::start(folder, &server, "QUIT", format!("postgres://edgepress@127.0.0.1:{port}/"), "postgres")
}

/// The process's MariaDB server; started when first asked for.
///
/// # Panics
/// It cannot be started.
pub async fn mariadb() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    let server = SERVER.get_or_init(|| start_mariadb(folder("mysql"), &[]));
    server.wait().await;
    server
}

/// A MariaDB server that speaks TLS, and the certificate of the authority that vouches for it.
///
/// # Panics
/// It cannot be started.
pub async fn mariadb_with_tls() -> (Server, PathBuf) {
    let folder = folder("mysql");
    let [authority, certificate, key] = certificates(&folder, "mysql");
    let of = |name: &str, file: &Path| format!("--{name}={}", file.display());
    let server = start_mariadb(folder, &[&of("ssl-cert", &certificate), &of("ssl-key", &key)]);
    server.wait().await;
    (server, authority)
}

fn start_mariadb(folder: PathBuf, settings: &[&str]) -> Server {
    let port = free_port();
    let data = format!("--datadir={}", folder.join("data").display());
    let user = format!("--user={}", if is_root() { "mysql".to_owned() } else { user() });
    run(Command::new(program("mariadb-install-db")).args([
        "--no-defaults",
        &data,
        &user,
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
    ]));
    let mut server = Command::new(program("mariadbd"));
    server.args(["--no-defaults", &data, &user, "--bind-address=127.0.0.1", "--skip-name-resolve"]);
    server.arg(format!("--port={port}"));
    server.arg(format!("--socket={}", folder.join("socket").display()));
    // One that starts removes what it takes for its own leftovers there.
    server.arg(format!("--tmpdir={}", folder.display()));
    server.args(["--innodb-flush-log-at-trx-commit=0", "--max-connections=200"]);
    server.args(["--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci"]).args(settings);
    Server::start(folder, &server, "KILL", format!("mysql://root@127.0.0.1:{port}/"), "mysql")
}

/// An authority's certificate, and a server's with its key, which `owner` may read: for 127.0.0.1.
fn certificates(folder: &Path, owner: &str) -> [PathBuf; 3] {
    const MAKE: &str = "cd \"$1\" && \
        new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj \"/CN=$1\" -keyout \"$1.key\" \"${@:2}\"; } && \
        new authority -x509 -days 30 -out authority.crt && new server -out server.csr && \
        openssl x509 -req -in server.csr -CA authority.crt -CAkey authority.key -CAcreateserial -days 30 \
            -extfile <(echo subjectAltName=IP:127.0.0.1) -out server.crt && \
        chmod 600 server.key && { [ \"$(id -u)\" != 0 ] || chown \"$2\" server.key server.crt; }";
    run(Command::new("bash").args(["-c", MAKE, "make"]).arg(folder).arg(owner));
    ["authority.crt", "server.crt", "server.key"].map(|name| folder.join(name))
}

impl Server {
    /// `signal` ends it at once: nothing of it is kept.
    fn start(folder: PathBuf, server: &Command, signal: &str, base: String, first: &'static str) -> Self {
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "keeper"]).arg(server.get_program()).args(server.get_args());
        keeper.env("FOLDER", &folder).env("SIGNAL", signal);
        // It outlives this process by a moment, and must hold none of its pipes.
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let keeper = keeper.spawn().expect("there is a shell");
        Self { base, first, folder, databases: AtomicU32::new(0), _keeper: keeper }
    }

    async fn wait(&self) {
        for _ in 0..TRIES {
            if self.execute(self.first, "SELECT 1").await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        panic!("the database server does not start: {log}");
    }

    /// A new, empty database: its URL.
    ///
    /// # Panics
    /// It cannot be made.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute(self.first, &format!("CREATE DATABASE {name}")).await.expect("a database can be made");
        format!("{}{name}", self.base)
    }

    async fn execute(&self, database: &str, sql: &str) -> sqlx::Result<()> {
        execute(&format!("{}{database}", self.base), sql).await
    }
}

/// Runs a script on the database that a URL names, over a connection of its own.
///
/// # Errors
/// The database's own.
pub async fn execute(url: &str, script: &str) -> sqlx::Result<()> {
    let script = sqlx::raw_sql(AssertSqlSafe(script.to_owned()));
    if url.starts_with("postgres:") {
        let mut connection = sqlx::PgConnection::connect(url).await?;
        script.execute(&mut connection).await?;
        connection.close().await
    } else {
        let mut connection = sqlx::MySqlConnection::connect(url).await?;
        script.execute(&mut connection).await?;
        connection.close().await
    }
}

/// The one number that a query gives in the PostgreSQL database that a URL names.
///
/// # Errors
/// The database's own.
pub async fn number(url: &str, query: &str) -> sqlx::Result<i64> {
    let mut connection = sqlx::PgConnection::connect(url).await?;
    let number = sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(number)
}

/// A folder that the server's user owns.
fn folder(user: &str) -> PathBuf {
    let folder =
        tempfile::Builder::new().prefix("edgepress-server-").tempdir().expect("there is room").keep();
    if is_root() {
        run(Command::new("chown").arg(user).arg(&folder));
    }
    folder
}

fn is_root() -> bool {
    user() == "root"
}

fn user() -> String {
    let id = Command::new("id").arg("-un").output().expect("there is `id`");
    String::from_utf8_lossy(&id.stdout).trim().to_owned()
}

/// PostgreSQL refuses to be run by root.
fn as_user(user: &str, program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([&format!("--reuid={user}"), &format!("--regid={user}"), "--init-groups", "--"])
        .arg(program);
    command
}

/// Where a server's program lies: in PATH, or where Debian puts it.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    let found = folders.iter().map(|folder| folder.join(name)).find(|file| file.exists());
    found.unwrap_or_else(|| panic!("`{name}` is not installed: run ./test, which installs it"))
}

fn run(command: &mut Command) {
    let output = command.current_dir("/").output().expect("it is installed");
    if !output.status.success() {
        let _ = std::io::stderr().write_all(&output.stderr);
        panic!("{command:?} failed: {}", String::from_utf8_lossy(&output.stdout));
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn servers_start_and_make_databases() {
        for server in [postgres().await, mariadb().await] {
            let (one, other) = (server.database().await, server.database().await);
            assert_ne!(one, other);
            execute(&one, "CREATE TABLE only_here (id INTEGER)").await.expect("it is a database");
            execute(&other, "SELECT id FROM only_here").await.expect_err("it is another one");
        }
    }
}
