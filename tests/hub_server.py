# Copyright 2026 The hf_dynbert authors. Licensed under the Apache License, Version 2.0.
"""A small Hub on loopback: what the client of huggingface_hub asks for, and the faults that a network has."""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


USER, TOKEN = "ada", "hf_of_ada"
LARGE = (".safetensors", ".bin", ".png")  # what a new repository on the Hub keeps in large file storage


@dataclass
class Repo:
    """Commits of one branch each, newest last; a commit is its files by path."""

    private: bool = False
    branches: dict[str, list[str]] = field(default_factory=lambda: {"main": []})
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def find(self, revision: str) -> str | None:
        """The commit that a branch or a number means."""
        if revision in self.branches:
            return self.branches[revision][-1]
        return revision if revision in self.commits else None

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        number = hashlib.sha1(f"{branch}{len(self.commits)}{sorted(files)}".encode()).hexdigest()
        self.commits[number] = files
        self.branches[branch].append(number)
        return number


@dataclass
class Fault:
    """What goes wrong with the next requests whose method and address fit."""

    method: str
    part: str
    status: int | None = None  # answered at once; None cuts the connection
    after: int = 0  # bytes of the body, before it is cut
    times: int = 1


class Hub:
    """The server's state; `with Hub() as hub` serves it on `hub.endpoint`."""

    def __init__(self):
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.log: list[tuple[str, str, int]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        self.storage = f"http://localhost:{self.server.server_port}"  # another host, as on the Hub: the client cares

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def fail(self, method: str, part: str, **how) -> None:
        self.faults.append(Fault(method, part, **how))

    def fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.method == method and fault.part in path:
                fault.times -= 1
                return fault
        return None

    def files(self, repo_id: str, revision: str = "main") -> dict[str, bytes]:
        repo = self.repos[repo_id]
        return repo.commits[repo.find(revision)]

    def create(self, repo_id: str, private: bool = False, **files: bytes) -> Repo:
        self.repos[repo_id] = repo = Repo(private)
        repo.commit("main", {".gitattributes": b"", **files})
        return repo


class _Answer(Exception):
    """An answer that ends a request."""

    def __init__(self, status: int, body=b"", **headers):
        self.status, self.headers = status, {name.replace("_", "-"): str(value) for name, value in headers.items()}
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()


def _missing(what: str, status: int = 404) -> _Answer:
    return _Answer(
        status, {"error": f"{what} not found"}, X_Error_Code=f"{what}NotFound", X_Error_Message=f"{what} not found"
    )


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Quiet."""

    def _serve(self):
        address = urlsplit(self.path)
        path, self.query = unquote(address.path), parse_qs(address.query)
        fault = self.hub.fault(self.command, path)
        size = int(self.headers.get("Content-Length") or 0)
        if fault and fault.status is None and self.command in ("PUT", "POST"):
            self.rfile.read(min(fault.after, size))
            return self._cut()
        self.body = self.rfile.read(size) if size else self._chunks()
        try:
            if fault and fault.status:
                raise _Answer(fault.status, {"error": "as the test wanted"})
            self._route(path)
        except _Answer as answer:
            self.hub.log.append((self.command, path, answer.status))
            self.send_response(answer.status)
            for name, value in (
                {"Content-Length": len(answer.body), "Content-Type": "application/json"} | answer.headers
            ).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return None
            if fault and fault.status is None:
                self.wfile.write(answer.body[: fault.after])
                return self._cut()
            self.wfile.write(answer.body)
        return None

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _cut(self):
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(2)

    def _chunks(self) -> bytes:
        """A body of unknown size."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return b""
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    @property
    def _knows_me(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _route(self, path: str):
        parts = path.strip("/").split("/")
        match parts:
            case ["api", "whoami-v2"]:
                if not self._knows_me:
                    raise _Answer(401, {"error": "Invalid credentials"}, X_Error_Message="Invalid credentials")
                raise _Answer(200, {"type": "user", "name": USER, "orgs": [], "auth": {"accessToken": {"role": "write"}}})
            case ["api", "validate-yaml"]:
                raise _Answer(200, {"errors": [], "warnings": []})
            case ["api", "repos", "create"]:
                self._create()
            case ["api", "models", owner, name, *rest]:
                self._api(f"{owner}/{name}", rest)
            case [owner, name, "info", "lfs", "objects", "batch"]:
                self._batch(f"{owner}/{name.removesuffix('.git')}")
            case ["large", number]:
                self._large(number)
            case [owner, name, "resolve", revision, *rest]:
                self._resolve(f"{owner}/{name}", revision, "/".join(rest))
        raise _Answer(404, {"error": f"no such address: {path}"})

    def _repo(self, repo_id: str, write: bool = False) -> Repo:
        repo = self.hub.repos.get(repo_id)
        if repo is None or (repo.private and not self._knows_me):
            raise _missing("Repo", 404 if self._knows_me else 401)  # the Hub does not say which
        if write and not self._knows_me:
            raise _missing("Repo", 401)
        return repo

    def _commit(self, repo: Repo, revision: str) -> str:
        number = repo.find(revision)
        if number is None:
            raise _missing("Revision")
        return number

    def _create(self):
        if not self._knows_me:
            raise _Answer(401, {"error": "Invalid username or password."})
        asked = json.loads(self.body)
        repo_id = f"{asked.get('organization') or USER}/{asked['name']}"
        url = {"url": f"{self.hub.endpoint}/{repo_id}", "name": repo_id, "id": repo_id}
        if repo_id in self.hub.repos:
            raise _Answer(409, {"error": "You already created this model repo", **url})
        self.hub.create(repo_id, private=bool(asked.get("private") or asked.get("visibility") == "private"))
        raise _Answer(200, url)

    def _api(self, repo_id: str, rest: list[str]):
        match self.command, rest:
            case "GET", [] | ["revision", _]:
                repo = self._repo(repo_id)
                number = self._commit(repo, rest[1] if rest else "main")
                siblings = [{"rfilename": path} for path in repo.commits[number]]
                about = {"id": repo_id, "modelId": repo_id, "sha": number, "private": repo.private, "tags": []}
                raise _Answer(200, about | {"siblings": siblings, "downloads": 0, "likes": 0})
            case "GET", ["tree", revision, *folder]:
                self._tree(self._repo(repo_id), revision, "/".join(folder))
            case "GET", ["refs"]:
                branches = self._repo(repo_id).branches.items()
                named = [{"name": b, "ref": f"refs/heads/{b}", "targetCommit": c[-1]} for b, c in branches]
                raise _Answer(200, {"branches": named, "tags": [], "converts": []})
            case "POST", ["branch", branch]:
                repo = self._repo(repo_id, write=True)
                if branch in repo.branches:
                    raise _Answer(409, {"error": "Reference already exists"})
                repo.branches[branch] = [repo.find("main")]
                raise _Answer(201, {})
            case "POST", ["preupload", revision]:
                repo = self._repo(repo_id, write=True)
                self._commit(repo, revision)
                asked = json.loads(self.body)["files"]
                modes = [
                    {"path": one["path"], "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular"} for one in asked
                ]
                raise _Answer(200, {"files": [mode | {"shouldIgnore": False, "oid": None} for mode in modes]})
            case "POST", ["commit", revision]:
                self._take_commit(repo_id, revision)

    def _tree(self, repo: Repo, revision: str, folder: str):
        files = repo.commits[self._commit(repo, revision)]
        inside = {path: content for path, content in files.items() if not folder or path.startswith(folder + "/")}
        if folder and not inside:
            raise _missing("Entry")
        listed = []
        for path, content in inside.items():
            entry = {"type": "file", "path": path, "size": len(content), "oid": _git_number(content)}
            if path.endswith(LARGE):
                number = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"oid": number, "size": len(content), "pointerSize": 134}
            listed.append(entry)
        raise _Answer(200, listed)

    def _batch(self, repo_id: str):
        self._repo(repo_id, write=True)
        objects = []
        for one in json.loads(self.body)["objects"]:
            action = {"upload": {"href": f"{self.hub.storage}/large/{one['oid']}"}}
            known = one["oid"] in self.hub.large
            objects.append({"oid": one["oid"], "size": one["size"], **({} if known else {"actions": action})})
        raise _Answer(200, {"transfer": "basic", "objects": objects})

    def _large(self, number: str):
        if self.command == "PUT":
            if hashlib.sha256(self.body).hexdigest() != number:
                raise _Answer(400, {"error": "another content than announced"})
            self.hub.large[number] = self.body
            raise _Answer(200)
        self._send(self.hub.large[number], number)

    def _take_commit(self, repo_id: str, branch: str):
        repo = self._repo(repo_id, write=True)
        files = dict(repo.commits[self._commit(repo, branch)])
        for line in self.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header" and value.get("parentCommit") not in (None, repo.find(branch)):
                raise _Answer(412, {"error": "A commit has happened since. Please refresh and try again."})
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            if entry["key"] == "lfsFile":
                if value["oid"] not in self.hub.large:
                    raise _Answer(400, {"error": f"{value['path']} was never uploaded"})
                files[value["path"]] = self.hub.large[value["oid"]]
            if entry["key"] == "deletedFile":
                del files[value["path"]]
        number = repo.commit(branch, files)
        url = f"{self.hub.endpoint}/{repo_id}/commit/{number}"
        raise _Answer(200, {"success": True, "commitOid": number, "commitUrl": url})

    def _resolve(self, repo_id: str, revision: str, path: str):
        repo = self._repo(repo_id)
        number = self._commit(repo, revision)
        if path not in repo.commits[number]:
            answer = _missing("Entry")
            answer.headers["X-Repo-Commit"] = number
            raise answer
        content, about = repo.commits[number][path], {"X_Repo_Commit": number}
        if not path.endswith(LARGE):
            self._send(content, _git_number(content), **about)
        oid = hashlib.sha256(content).hexdigest()
        self.hub.large[oid] = content
        about |= {"X_Linked_Etag": f'"{oid}"', "X_Linked_Size": len(content)}
        raise _Answer(302, b"", Location=f"{self.hub.storage}/large/{oid}", **about)

    def _send(self, content: bytes, number: str, **headers):
        wanted, status = self.headers.get("Range"), 200
        if wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            status, whole = 206, len(content)
            last = int(last) if last else whole - 1
            headers["Content_Range"] = f"bytes {first}-{last}/{whole}"
            content = content[int(first) : last + 1]
        raise _Answer(status, content, ETag=f'"{number}"', Accept_Ranges="bytes", **headers)


def _git_number(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
