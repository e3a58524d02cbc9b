"""What `prefect deployment run` needs: a server, a pool, the deployments of prefect.yaml and a worker."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.loopback import wait_for
from tests.prefect_server import PrefectServer

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


class Site:
    """Each a process, as a person starts them in the repository; spoken to by Prefect's command line."""

    def __init__(self, folder, environment=None):
        self.folder, self.workspace = folder, folder / "workspace"
        here = {"PWD": str(ROOT), "COLUMNS": "200"}  # as a shell says where it is
        told = {"PREFECT_WORKER_QUERY_SECONDS": "1", **here, **(environment or {})}
        self.server = PrefectServer(folder / "prefect", environment=told)
        self.worker = None

    def start(self):
        self.server.start()
        assert self.prefect("work-pool", "create", "waveband", "--type", "process").returncode == 0
        deployed = self.prefect("deploy", "--all")
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        self.start_worker()

    def start_worker(self):
        with (self.folder / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(
                [str(BIN / "prefect"), "worker", "start", "--pool", "waveband"],
                cwd=ROOT, env=self.server.clients, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def end(self):
        if self.worker:
            self.worker.terminate()
            try:
                self.worker.wait(60)
            except subprocess.TimeoutExpired:  # Prefect's worker may wait for ever once its server was killed
                self.worker.kill()
                self.worker.wait()
        self.server.kill()

    def prefect(self, *arguments):
        return subprocess.run(
            [str(BIN / "prefect"), "--no-prompt", *map(str, arguments)],
            cwd=ROOT, env=self.server.clients, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=500,
        )  # fmt: skip

    def run(self, name, *options, **parameters):
        """Run a deployment. Returns what the command said, and the flow run's id."""
        for key, value in parameters.items():
            told = value if isinstance(value, str) else json.dumps(value)
            options = (*options, "-p", f"{key}={told}")
        done = self.prefect("deployment", "run", name, *options)
        found = re.search(r"UUID: ([0-9a-f-]{36})", done.stdout)
        return done, found and found[1]

    def task_runs(self, flow_run, attempt=1):
        """The last state of each task run of an attempt that came to its mix, by name.

        Waits for them: Prefect hears of the flow run's end sooner than of its task runs'.
        """
        body = {"flow_runs": {"id": {"any_": [flow_run]}}, "limit": 200}

        def ended():
            runs = self.server.ask("/task_runs/filter", body)
            mine = [run for run in runs if run["flow_run_run_count"] == attempt]
            states = {run["name"]: run["state_name"] for run in mine}
            return "mix" in states and all(run["end_time"] for run in mine) and states

        return wait_for(ended)

    def flow_run(self, identity):
        return self.server.ask(f"/flow_runs/{identity}")
