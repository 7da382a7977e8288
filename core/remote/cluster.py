"""A Dask cluster: one of our own on this machine, or the one at an address.

Whoever can connect to a scheduler runs code on its workers: ours listen on loopback only.
"""

from __future__ import annotations

import contextlib
import logging
import platform
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.errors import LoopscopeError, one_line
from loopscope.core.remote.address import check_address, check_installed
from loopscope.core.version import package_version

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

LOOPBACK = "127.0.0.1"
# How long a scheduler, and then its first worker, is waited for.
CONNECT_SECONDS, WORKER_SECONDS = 10, 60
# Workers of our own that may die of one task before it is not tried again as it is.
MOST_DEATHS = 2


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What a worker is, and what is wrong with it for this study, or ""."""

    host: str
    device: str
    memory: int
    versions: tuple[tuple[str, str], ...]
    problem: str = ""
    cuda: bool = False


def versions() -> tuple[tuple[str, str], ...]:
    """What has to be the same at both ends: numbers or pickles would differ else."""
    import distributed

    return (
        ("loopscope", package_version()),
        ("Python", ".".join(platform.python_version_tuple()[:2])),
        ("distributed", str(distributed.__version__)),
        ("torch", torch.__version__.partition("+")[0]),
    )


def facts(paths: tuple[tuple[str, str], ...]) -> WorkerFacts:
    """Run on a worker: what it is, and whether it can read these (path, family) headers."""
    problem = ""
    for path, family in paths:
        try:
            open_checkpoint(path, family)
        except (LoopscopeError, OSError) as error:
            problem = problem or one_line(error)
    cuda = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if cuda else platform.machine()
    memory = torch.cuda.get_device_properties(0).total_memory if cuda else _host_memory()
    return WorkerFacts(socket.gethostname(), device, memory, versions(), problem, cuda)


def _host_memory() -> int:
    from distributed.system import MEMORY_LIMIT

    return int(MEMORY_LIMIT)


def on_this_machine(device: str = "auto") -> int:
    """Workers that this machine is good for: one for each CUDA device, else for each core.

    Raises `LoopscopeError` where CUDA is asked for and there is none.
    """
    from dask.system import CPU_COUNT

    if device == "cuda" and not torch.cuda.is_available():
        raise LoopscopeError("no CUDA device is available to torch on this machine")
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.device_count()
    return int(CPU_COUNT)


def cores() -> int:
    """Cores of this machine that may be used."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


def settle_worker(dask_worker: Any, threads: int = 1) -> None:
    """Run on a worker of our own: its torch threads, and of several devices its own.

    Ctrl-C in the terminal reaches every process of it; whoever started the workers ends them.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(int(dask_worker.name) % torch.cuda.device_count())


def local_cluster(n: int, *, port: int = 0) -> LocalCluster:
    """Start ``n`` worker processes of one thread; nothing of them listens beyond loopback.

    ``port`` is the scheduler's; 0 for any that is free. Raises `LoopscopeError` where it is taken.
    """
    import dask
    from distributed import LocalCluster

    dask.config.set(
        {
            "distributed.scheduler.allowed-failures": MOST_DEATHS - 1,
            "distributed.worker.profile.enabled": False,  # samples stacks all the time
        }
    )
    environment = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        return LocalCluster(
            n_workers=n,
            threads_per_worker=1,
            processes=True,
            host=LOOPBACK,
            scheduler_port=port,
            dashboard_address=f"{LOOPBACK}:0",
            worker_dashboard_address=f"{LOOPBACK}:0",
            memory_limit=0,  # a model's memory is not Dask's to manage
            silence_logs=logging.CRITICAL,
            env=environment,
        )
    except (OSError, RuntimeError) as error:
        raise LoopscopeError(f"no cluster can be started here: {one_line(error)}") from None


@contextlib.contextmanager
def serving(n: int, port: int = 0, own_threads: int = 1) -> Iterator[LocalCluster]:
    """Keep a `local_cluster` whose workers, those started anew too, are settled.

    ``own_threads`` are torch's where there is one worker alone.
    """
    from distributed import Client

    with local_cluster(n, port=port) as cluster, Client(cluster, set_as_default=False) as client:
        threads = 1 if n > 1 else own_threads
        client.register_worker_callbacks(partial(settle_worker, threads=threads))
        yield cluster


@contextlib.contextmanager
def connected(address: str | None, most: int = 1 << 30) -> Iterator[Client]:
    """Connect to the scheduler at ``address``, or to a cluster made for the purpose.

    ``most`` is how many workers a cluster made here has at the most. Raises `LoopscopeError` for an
    address that nothing answers at.
    """
    from distributed import Client

    check_installed()
    with contextlib.ExitStack() as stack:
        if address is None:
            cluster = stack.enter_context(serving(max(1, min(on_this_machine(), most))))
            client = stack.enter_context(Client(cluster, set_as_default=False))
        else:
            client = stack.enter_context(remote_client(address))
        yield client


def remote_client(address: str) -> Client:
    """Connect to the scheduler at ``address``.

    Raises `LoopscopeError` for what is no address, and for one that nothing answers at.
    """
    check_address(address)
    from distributed import Client

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise LoopscopeError(f"no scheduler answers at {address}: {one_line(error)}") from None


def check_workers(client: Client, paths: tuple[tuple[str, str], ...]) -> dict[str, WorkerFacts]:
    """Return what each worker is, by its address.

    Raises `LoopscopeError` naming the first that lacks Loopscope, differs in a version or cannot
    read a checkpoint, and where there is no worker.
    """
    fit, problems = survey(client, paths)
    if problems:
        raise LoopscopeError(problems[0])
    return fit


def survey(
    client: Client, paths: tuple[tuple[str, str], ...]
) -> tuple[dict[str, WorkerFacts], list[str]]:
    """Return the workers that can be used, by their addresses, and why others cannot, a line each.

    Raises `LoopscopeError` where there is no worker.
    """
    try:
        client.wait_for_workers(1, timeout=WORKER_SECONDS)
    except TimeoutError:
        raise LoopscopeError("the scheduler has no worker: start one, and go on") from None
    try:
        found: dict[str, WorkerFacts] = client.run(facts, paths, on_error="return")
    except OSError as error:
        raise LoopscopeError(f"the cluster does not answer: {one_line(error)}") from None
    told = {worker: _problem_of(about) for worker, about in found.items()}
    fit = {worker: about for worker, about in found.items() if not told[worker]}
    return fit, [f"worker {worker}{why}" for worker, why in told.items() if why]


def _problem_of(about: WorkerFacts | BaseException) -> str:
    """Why a worker cannot be used, or ""."""
    if isinstance(about, ModuleNotFoundError):
        return f" lacks {about.name}: install the same there"
    if isinstance(about, BaseException):
        return f" cannot be asked: {one_line(about)}"
    for (name, mine), (_, its) in zip(versions(), about.versions, strict=True):
        if mine != its:
            return f" has {name} {its}, here it is {mine}"
    return f": {about.problem}" if about.problem else ""
