"""`loopscope serve`: workers on this machine, for commands that are given their address."""

from __future__ import annotations

import sys
import threading
from argparse import Namespace


def run_serve(options: Namespace) -> None:
    """Start workers bound to loopback, say how they are reached, and wait for Ctrl-C."""
    from loopscope.core.remote.cluster import PORT, check_installed, on_this_machine, serving

    check_installed()
    port = PORT if options.port is None else options.port
    with serving(options.workers or on_this_machine(), port) as cluster:
        address = cluster.scheduler_address
        print(f"{address}: {len(cluster.workers)} workers; dashboard {cluster.dashboard_link}")
        print(f"from elsewhere: ssh -L {port}:localhost:{port} THIS-MACHINE, then --on {address}")
        sys.stdout.flush()
        threading.Event().wait()
