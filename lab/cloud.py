"""A user of the cloud, outside of its nodes: run as a script, it does one request after the other through one address.

Standard input: {"address", "password" (the administrator's), "do": ["token", "image", "server"]}. Output: {step: what
came of it}. Standard library only, because it runs in a network namespace under whatever Python the host has.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

LIMIT = 20.0  # seconds for one request
FLAVOR = "lab.tiny"
#: what comes of each step where all services work and there is no compute node
WORKS = {"token": "admin", "image": "active", "server": "refused: No valid host was found."}


class Cloud:
    def __init__(self, address: str, password: str) -> None:
        self.address = address
        self.password = password
        self.token = ""

    def call(self, port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[Any, Any]:
        """Make a request; give headers and decoded body. A status of 400 and more is an HTTPError."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            sent["X-Auth-Token"] = self.token
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
        request = urllib.request.Request(f"http://{self.address}:{port}{path}", data, sent, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=LIMIT) as answer:
            text = answer.read()
            return answer.headers, json.loads(text) if text else {}

    def log_in(self) -> str:
        """Get a token; give the project's name."""
        user = {"name": "admin", "domain": {"id": "default"}, "password": self.password}
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        headers, answer = self.call(5000, "POST", "/v3/auth/tokens", body)
        self.token = headers["X-Subject-Token"]
        return str(answer["token"]["project"]["name"])

    def image(self) -> str:
        """Upload an image and find it in the list; give its status there."""
        body = {"name": "lab", "container_format": "bare", "disk_format": "raw"}
        _, made = self.call(9292, "POST", "/v2/images", body)
        place = f"/v2/images/{made['id']}/file"
        self.call(9292, "PUT", place, b"not much of a disk", Content_Type="application/octet-stream")
        _, listed = self.call(9292, "GET", "/v2/images?name=lab&limit=100")
        return str(next(one["status"] for one in listed["images"] if one["id"] == made["id"]))

    def server(self) -> str:
        """Ask for a server; without a compute node the scheduler's refusal proves that the request reached it."""
        _, flavors = self.call(8774, "GET", "/v2.1/flavors")
        known = {one["name"]: one["id"] for one in flavors["flavors"]}
        if FLAVOR not in known:
            flavor = {"name": FLAVOR, "ram": 64, "vcpus": 1, "disk": 0}
            known[FLAVOR] = self.call(8774, "POST", "/v2.1/flavors", {"flavor": flavor})[1]["flavor"]["id"]
        _, listed = self.call(9292, "GET", "/v2/images?name=lab&status=active")
        server = {"name": "s", "flavorRef": known[FLAVOR], "imageRef": listed["images"][0]["id"], "networks": "none"}
        version = {"OpenStack_API_Version": "compute 2.84"}  # the first that tells what went wrong in an action
        headers, made = self.call(8774, "POST", "/v2.1/servers", {"server": server}, **version)
        place = f"/v2.1/servers/{made['server']['id']}"
        # Not the server itself: Nova would ask Neutron, which there is none of.
        action = f"{place}/os-instance-actions/{headers['X-Compute-Request-Id']}"
        end = time.monotonic() + 3 * LIMIT
        while time.monotonic() < end:
            for event in self._events(action, **version):
                if event.get("result") == "Error":
                    return f"refused: {event['details'].strip()}"
            time.sleep(0.2)
        return "nothing happened"

    def _events(self, action: str, **version: str) -> list[dict[str, str]]:
        """Give what happened in an action of Nova, which is known only when the server has found its database."""
        try:
            found: list[dict[str, str]] = self.call(8774, "GET", action, **version)[1]["instanceAction"].get(
                "events", []
            )
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return []
        return found


def main() -> None:
    given = json.load(sys.stdin)
    cloud = Cloud(given["address"], given["password"])
    steps = {"token": cloud.log_in, "image": cloud.image, "server": cloud.server}
    done = {}
    for name in given["do"]:
        try:
            done[name] = steps[name]()
        except urllib.error.HTTPError as error:
            sys.exit(f"{name}: {error.url} answers {error.code}: {error.read()[:300]!r}")
        except OSError as error:
            sys.exit(f"{name}: {error}")
    print(json.dumps(done))


if __name__ == "__main__":
    main()
