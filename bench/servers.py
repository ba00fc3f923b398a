"""Database servers for benchmarks: each in a folder of its own, on a free port of the loopback.

Left as their makers ship them, but for what a machine with little memory or a test needs: durable commits stay.
"""

import glob
import os
import pathlib
import shutil
import socket
import subprocess
import time


def program(name):
    found = shutil.which(name) or next(iter(glob.glob(f"/usr/lib/postgresql/*/bin/{name}")), None)
    return found or shutil.which(name, path="/usr/sbin") or exit(f"{name} is not installed")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A server with one empty database; `sql` runs statements in it, each committed by itself."""

    def __init__(self, kind, folder):
        self.kind = kind
        self.folder = pathlib.Path(folder)
        self.port = free_port()
        as_user = []
        if os.geteuid() == 0:
            user = {"postgres": "postgres", "mariadb": "mysql"}[kind]
            shutil.chown(folder, user)
            as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]
        self.process = getattr(self, f"_{kind}")(as_user)
        self._wait()
        self._client = subprocess.Popen(self.client, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _postgres(self, as_user):
        data = self.folder / "data"
        run = dict(check=True, cwd="/", stdout=subprocess.DEVNULL)
        subprocess.run([*as_user, program("initdb"), "-A", "trust", "-U", "bench", "-E", "UTF8", "-D", data], **run)
        self.url = f"postgres://bench@127.0.0.1:{self.port}/postgres"
        self.client = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", self.url]
        server = [program("postgres"), "-D", data, "-p", str(self.port), "-k", self.folder]
        return self._start([*as_user, *server, "-c", "shared_buffers=1GB"])

    def _mariadb(self, as_user):
        data = f"--datadir={self.folder / 'data'}"
        install = [program("mariadb-install-db"), "--no-defaults", data, "--auth-root-authentication-method=normal"]
        subprocess.run([*as_user, *install], check=True, cwd="/", stdout=subprocess.DEVNULL)
        self.url = f"mysql://root@127.0.0.1:{self.port}/test"
        self.client = ["mariadb", "-u", "root", "-h", "127.0.0.1", "-P", str(self.port), "-N", "-B", "-n", "test"]
        server = [program("mariadbd"), "--no-defaults", data, f"--port={self.port}", "--bind-address=127.0.0.1"]
        socket_file = f"--socket={self.folder / 'socket'}"
        return self._start([*as_user, *server, socket_file, "--innodb-buffer-pool-size=1G", "--skip-name-resolve"])

    def _start(self, command):
        log = open(self.folder / "log", "w")
        return subprocess.Popen(command, cwd="/", stdout=log, stderr=log)

    def _wait(self):
        for _ in range(600):
            asked = subprocess.run(self.client, input="SELECT 1;\n", capture_output=True, text=True)
            if asked.returncode == 0:
                return
            time.sleep(0.1)
        exit(f"the server does not start: {(self.folder / 'log').read_text()}")

    def sql(self, *statements):
        """Runs statements, and waits until they are done."""
        for statement in statements:
            self._client.stdin.write(statement + ";\n")
        self._client.stdin.write("SELECT 'done';\n")
        self._client.stdin.flush()
        while (line := self._client.stdout.readline().strip()) != "done":
            if not line and self._client.poll() is not None:
                exit("the database refused a statement")

    def stop(self):
        self._client.stdin.close()
        self._client.wait(60)
        self.process.terminate() if self.kind == "mariadb" else self.process.send_signal(2)
        self.process.wait(600)
