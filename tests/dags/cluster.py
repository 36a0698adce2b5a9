"""A double of a Kubernetes API server, where there is no cluster: pods are processes of this machine.

It answers what the provider asks for, over HTTP and websockets, with the forms of the real one: pods (create, read, list by
labels, patch, delete), their logs, their events, and `exec`. The container `base` is a process with the pod's command,
arguments and secrets; an `emptyDir` is a folder, and where a mount path stands in an argument, that folder takes its place. The
side-car is no process: what is executed in it runs in a shell here, and a session with an input, by which the provider ends
it, ends it. Nothing is scheduled, limited or isolated; `fate` says what else befalls the next pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import StreamingResponse

from ml.config import PROJECT

BASE, SIDECAR = "base", "airflow-xcom-sidecar"
Fate = Literal["runs", "no image", "no node", "out of memory", "evicted", "lost"]
Json = dict[str, Any]
STDOUT, STATUS = b"\x01", b"\x03"
"""Channels of an `exec` session, the first byte of each message."""


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")


@dataclass
class Pod:
    """A pod: what was asked for, its process, and what befalls it."""

    manifest: Json
    folder: Path
    fate: Fate
    secrets: dict[str, str]
    process: subprocess.Popen[str] | None = None
    sidecar_ended: bool = False
    lines: list[str] = field(default_factory=list)
    started: str = field(default_factory=_now)
    reader: threading.Thread | None = None

    def start(self) -> None:
        """Start the process of the container `base`."""
        base = next(each for each in self.manifest["spec"]["containers"] if each["name"] == BASE)
        words = [*base["command"], *base.get("args", [])]
        words[0] = sys.executable if words[0] == "python" else words[0]
        environment = os.environ | self.secrets | {"PYTHONPATH": str(PROJECT)}
        self.process = subprocess.Popen(
            [self.here(word) for word in words],
            cwd=PROJECT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if self.fate in ("out of memory", "evicted", "lost"):
            self.process.send_signal(signal.SIGKILL)

    def _read(self) -> None:
        assert self.process
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(f"{_now()} {line}")

    def here(self, text: str) -> str:
        """A text with this machine's folder in place of where an `emptyDir` is mounted."""
        base = self.manifest["spec"]["containers"][0]
        empty = {volume["name"] for volume in self.manifest["spec"].get("volumes", []) if "emptyDir" in volume}
        for mount in base.get("volumeMounts", []):
            if mount["name"] in empty:
                folder = self.folder / mount["name"]
                folder.mkdir(exist_ok=True)
                text = text.replace(mount["mountPath"], str(folder))
        return text

    @property
    def exit_code(self) -> int | None:
        """Of the container `base`; that of a shell where a signal ended it."""
        code = self.process.poll() if self.process else None
        return 128 - code if code is not None and code < 0 else code

    def stop(self) -> None:
        """End the process."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def seen(self) -> Json:
        """The pod as the API tells it."""
        return self.manifest | {"status": self._status()}

    def _status(self) -> Json:
        scheduled = {"type": "PodScheduled", "status": "False" if self.fate == "no node" else "True"}
        if self.fate == "no node":
            return {"phase": "Pending", "conditions": [scheduled]}
        if self.fate == "no image":
            message = 'Back-off pulling image "registry.example/none": not found'
            waiting = {"waiting": {"reason": "ImagePullBackOff", "message": message}}
            return {"phase": "Pending", "conditions": [scheduled], "containerStatuses": [self._of(BASE, waiting)]}
        base, sidecar = self._ended(self.exit_code), self._ended(0 if self.sidecar_ended else None)
        told = {"conditions": [scheduled], "containerStatuses": [self._of(BASE, base), self._of(SIDECAR, sidecar)]}
        if self.fate == "evicted" and self.exit_code is not None:
            told["containerStatuses"][1] = self._of(SIDECAR, self._ended(137))
            return told | {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
        is_over = self.sidecar_ended and self.exit_code is not None
        return told | {"phase": ("Failed" if self.exit_code else "Succeeded") if is_over else "Running"}

    def _ended(self, code: int | None) -> Json:
        if code is None:
            return {"running": {"startedAt": self.started}}
        reason = "OOMKilled" if self.fate == "out of memory" and code else "Error" if code else "Completed"
        return {"terminated": {"exitCode": code, "reason": reason, "startedAt": self.started, "finishedAt": _now()}}

    def _of(self, name: str, state: Json) -> Json:
        return {"name": name, "image": "i", "imageID": "i", "ready": "running" in state, "restartCount": 0, "state": state}

    def events(self) -> list[Json]:
        """Its events."""
        warned = {"no node": ("FailedScheduling", "0/3 nodes are available: 3 Insufficient memory.")}
        reason, message = warned.get(self.fate, ("Scheduled", "Successfully assigned the pod to a node"))
        kind = "Warning" if self.fate in warned else "Normal"
        metadata = self.manifest["metadata"]
        about = {"kind": "Pod", "name": metadata["name"], "namespace": metadata["namespace"]}
        named = {"name": f"{metadata['name']}.1", "namespace": metadata["namespace"], "uid": "e1", "resourceVersion": "1"}
        return [{"metadata": named, "involvedObject": about, "type": kind, "reason": reason, "message": message}]


class Cluster:
    """The double; `fate` and `secrets` are those of the pods that are created from then on."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pods, self.created = folder, dict[str, Pod](), list[Json]()
        self.fate: Fate = "runs"
        self.secrets: dict[str, dict[str, str]] = {}
        self.app = FastAPI()
        self._routes()

    def kubeconfig(self, port: int) -> Json:
        """What a client needs to find it."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "me", "user": {}}],
        }

    def _pod(self, name: str) -> Pod:
        if name not in self.pods:
            raise HTTPException(404, {"kind": "Status", "reason": "NotFound", "message": f'pods "{name}" not found'})
        return self.pods[name]

    def _create(self, manifest: Json, namespace: str) -> Json:
        manifest["metadata"] |= {"namespace": namespace, "uid": f"u{len(self.created)}", "resourceVersion": "1"}
        named = [each["secretRef"]["name"] for each in manifest["spec"]["containers"][0].get("envFrom", [])]
        secrets = {key: value for name in named for key, value in self.secrets.get(name, {}).items()}
        pod = Pod(manifest, Path(tempfile.mkdtemp(dir=self.folder)), self.fate, secrets)
        self.pods[manifest["metadata"]["name"]] = pod
        self.created.append(manifest)
        if self.fate not in ("no image", "no node"):
            pod.start()
        return pod.seen()

    def _routes(self) -> None:
        pods = "/api/v1/namespaces/{namespace}/pods"
        app = self.app

        @app.post(pods, status_code=201)
        async def create(namespace: str, request: Request) -> Json:
            return self._create(await request.json(), namespace)

        @app.get(pods)
        async def listed(namespace: str, labelSelector: str = "") -> Json:
            found = [pod.seen() for pod in self.pods.values() if _matches(pod.manifest["metadata"]["labels"], labelSelector)]
            return {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": found}

        @app.get(pods + "/{name}")
        async def read(namespace: str, name: str) -> Json:
            pod = self._pod(name)
            if pod.fate == "lost" and pod.exit_code is not None:
                del self.pods[name]
            return self._pod(name).seen()

        @app.patch(pods + "/{name}")
        async def patch(namespace: str, name: str, request: Request) -> Json:
            pod = self._pod(name)
            pod.manifest["metadata"]["labels"] |= (await request.json()).get("metadata", {}).get("labels", {})
            return pod.seen()

        @app.delete(pods + "/{name}")
        async def delete(namespace: str, name: str) -> Json:
            pod = self._pod(name)
            await asyncio.to_thread(pod.stop)
            del self.pods[name]
            return pod.seen()

        @app.get(pods + "/{name}/log")
        async def log(namespace: str, name: str, follow: bool = False, timestamps: bool = False) -> StreamingResponse:
            return StreamingResponse(_log(self._pod(name), follow, timestamps), media_type="text/plain")

        @app.get("/api/v1/namespaces/{namespace}/events")
        async def events(namespace: str, fieldSelector: str = "") -> Json:
            name = dict(each.split("=", 1) for each in fieldSelector.split(",")).get("involvedObject.name", "")
            return {"apiVersion": "v1", "kind": "EventList", "metadata": {}, "items": self._pod(name).events()}

        @app.websocket(pods + "/{name}/exec")
        async def execute(socket: WebSocket, namespace: str, name: str) -> None:
            pod = self._pod(name)
            await socket.accept(subprotocol="v4.channel.k8s.io")
            if socket.query_params.get("stdin") == "True":
                await socket.receive()
                pod.sidecar_ended = True
            else:
                words = [pod.here(word) for word in socket.query_params.getlist("command")]
                done = await asyncio.to_thread(subprocess.run, words, capture_output=True, check=True)
                await socket.send_bytes(STDOUT + done.stdout)
            await socket.send_bytes(STATUS + json.dumps({"metadata": {}, "status": "Success"}).encode())
            await socket.close()


def _matches(labels: dict[str, str], selector: str) -> bool:
    for term in filter(None, selector.split(",")):
        if "!=" in term:
            name, _, value = term.partition("!=")
            is_met = labels.get(name) != value
        elif "=" in term:
            name, _, value = term.partition("=")
            is_met = labels.get(name) == value
        else:
            is_met = (term.lstrip("!") in labels) != term.startswith("!")
        if not is_met:
            return False
    return True


async def _log(pod: Pod, follow: bool, timestamps: bool) -> AsyncIterator[str]:
    told = 0
    while True:
        is_over = pod.reader is None or not pod.reader.is_alive()
        while told < len(pod.lines):
            yield pod.lines[told] if timestamps else pod.lines[told].partition(" ")[2]
            told += 1
        if is_over or not follow:
            return
        await asyncio.sleep(0.02)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[tuple[Cluster, Json]]:
    """The double on a port of this machine, and its kubeconfig."""
    cluster = Cluster(folder)
    server = uvicorn.Server(uvicorn.Config(cluster.app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 60
    while not server.started and time.monotonic() < end:
        time.sleep(0.01)
    try:
        yield cluster, cluster.kubeconfig(server.servers[0].sockets[0].getsockname()[1])
    finally:
        for pod in cluster.pods.values():
            pod.stop()
        server.should_exit = True
        thread.join(timeout=30)
