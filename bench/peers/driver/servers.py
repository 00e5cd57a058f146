"""The servers, each in a folder and on a port of its own, with the settings that README.md says and explains."""

import glob
import os
import pwd
import shutil

from .process import Failure, free_port, last_words, wait_for_port

# What Debian does not put into the PATH.
PLACES = ["/usr/sbin", "/usr/lib/rabbitmq/bin", *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]


def program(name):
    """Where a program is, or nothing."""
    for place in PLACES:
        # RabbitMQ's own folder comes before a wrapper of the same name that changes the user.
        if name.startswith("rabbitmq") and os.access(f"/usr/lib/rabbitmq/bin/{name}", os.X_OK):
            return f"/usr/lib/rabbitmq/bin/{name}"
        if os.access(f"{place}/{name}", os.X_OK):
            return f"{place}/{name}"
    return shutil.which(name)


def beanstalkd(processes, folder, flags):
    """A beanstalkd with these flags for its log. Answers its port."""
    port = free_port()
    flags = [folder if flag == "DIR" else flag for flag in flags]
    child = processes.start([program("beanstalkd"), "-l", "127.0.0.1", "-p", str(port), *flags], f"{folder}/server.log")
    wait_for_port(port, child)
    return port


def redis(processes, folder, fsync):
    """A Redis that appends every command to its log, and syncs that as told. Answers its port."""
    port = free_port()
    settings = {"port": port, "bind": "127.0.0.1", "dir": folder, "appendonly": "yes", "appendfsync": fsync, "save": ""}
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    child = processes.start([program("redis-server"), *words], f"{folder}/server.log")
    wait_for_port(port, child)
    return port


def postgres(processes, folder):
    """A PostgreSQL with its defaults, under the user `postgres` where this is root, since it refuses that. Its URL."""
    port, data, log = free_port(), f"{folder}/data", f"{folder}/server.log"
    user = "postgres" if os.geteuid() == 0 else None
    os.mkdir(data)
    os.chmod(folder, 0o711)
    if user:
        shutil.chown(data, user, user)
    name = user or pwd.getpwuid(os.geteuid()).pw_name
    if processes.run([program("initdb"), "-D", data, "-A", "trust", "-U", name], log, user=user, cwd=data):
        raise Failure(f"initdb failed: {last_words(log)}")
    command = [program("postgres"), "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", data]
    child = processes.start(command, log, user=user, cwd=data)
    wait_for_port(port, child)
    return f"postgres://{name}@127.0.0.1:{port}/postgres"


def rabbitmq(processes, folder):
    """A RabbitMQ with its defaults, and a port mapper of its own, so that no daemon stays behind. Answers its port."""
    port, mapper, log = free_port(), free_port(), f"{folder}/server.log"
    environment = {
        "HOME": folder,
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "windlass-peers@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
        "RABBITMQ_LOG_BASE": f"{folder}/log",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
        "RABBITMQ_CONFIG_FILE": f"{folder}/none",
        "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/none",
    }
    child = processes.start([program("epmd"), "-port", str(mapper), "-address", "127.0.0.1"], log, env=environment)
    wait_for_port(mapper, child)
    child = processes.start([program("rabbitmq-server")], log, env=environment)
    wait_for_port(port, child)
    return port
