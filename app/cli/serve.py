"""`loopscope serve`: workers on this machine, for commands that are given their address."""

from __future__ import annotations

import sys
import threading
from argparse import Namespace


def run_serve(options: Namespace) -> None:
    """Start workers bound to loopback, say how they are reached, and wait for Ctrl-C."""
    from loopscope.core.remote.address import PORT, check_installed

    check_installed()
    from loopscope.core.remote.cluster import cores, on_this_machine, serving

    port = PORT if options.port is None else options.port
    with serving(
        options.workers or on_this_machine(options.device), port, own_threads=cores()
    ) as cluster:
        address = cluster.scheduler_address
        print(f"{address}: {len(cluster.workers)} workers; dashboard {cluster.dashboard_link}")
        print(f"from elsewhere: ssh -L {port}:localhost:{port} THIS-MACHINE, then")
        print(f"  loopscope open PATH --on {address}      (or loopscope sweep ... --on)")
        sys.stdout.flush()
        threading.Event().wait()
