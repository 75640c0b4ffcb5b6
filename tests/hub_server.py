"""A hub on this machine, for tests: it answers what `huggingface_hub` asks.

  with hub_server.serve() as hub:
    hub.add('acme/tiny', folder)                      # or {path: bytes}
    hub.add('acme/rows', {'a.parquet': data}, kind='dataset')
    with hub.client(tmp_path / 'cache'):              # in this process
      huggingface_hub.snapshot_download('acme/tiny')
    subprocess.run(..., env=os.environ | hub.environment(cache))

Repositories have commits (`add` again makes a new one of `main`; `revision`
another branch), and faults that are set on what `add` returns: `gated`,
`private`, `missing` (a file that is listed and isn't there), `cut` (a file
whose connection breaks after so many bytes). Large files are kept apart from
git, behind a redirect, as the hub does. `hub.requests` is what was asked, in
order. How each request is answered: hub_requests.py.
"""

import contextlib
import dataclasses
import hashlib
import http.server
import os
import pathlib
import threading
import types
from collections.abc import Iterator, Mapping
from unittest import mock

from tests import hub_requests

TOKEN = hub_requests.TOKEN


@dataclasses.dataclass
class Repository:
  """A repository, and what is wrong with it.

  Attributes:
    commits: {hash: {path: content}}.
    refs: {branch or tag: hash}.
    private: only seen with the token.
    gated: its files are given to nobody.
    missing: paths that are listed but answer 404.
    cut: {path: bytes after which the connection breaks}.
    cuts: how often it breaks; None = always.
  """

  commits: dict[str, dict[str, bytes]] = dataclasses.field(default_factory=dict)
  refs: dict[str, str] = dataclasses.field(default_factory=dict)
  private: bool = False
  gated: bool = False
  missing: set[str] = dataclasses.field(default_factory=set)
  cut: dict[str, int] = dataclasses.field(default_factory=dict)
  cuts: int | None = None

  @property
  def files(self) -> dict[str, bytes]:
    """What is in its branch `main`."""
    return self.commits.get(self.refs.get('main', ''), {})

  @property
  def commit(self) -> str:
    """The newest commit of its branch `main`."""
    return self.refs['main']

  def push(self, files: Mapping[str, bytes], revision: str = 'main') -> str:
    """Makes a commit that has these files; returns its hash."""
    made = hashlib.sha1(f'{len(self.commits)} {sorted(files)}'.encode())
    for content in files.values():
      made.update(content)
    self.commits[made.hexdigest()] = dict(files)
    self.refs[revision] = made.hexdigest()
    return made.hexdigest()


class Hub:
  """The running server, see the file's header.

  Attributes:
    endpoint: its address, `HF_ENDPOINT`.
    repositories: {(kind, name): Repository}.
    requests: (method, path) of each request so far.
  """

  def __init__(self, server):
    host, port = server.server_address
    self.endpoint = f'http://{host}:{port}'
    # Another host, as the hub's store is: the client follows to no other.
    self.store = f'http://localhost:{port}'
    self.repositories: dict[tuple[str, str], Repository] = {}
    self.requests: list[tuple[str, str]] = []
    self.large: dict[str, bytes] = {}

  def new(self) -> 'Repository':
    """A repository without commits."""
    return Repository()

  def add(self, name, files, kind='model', revision='main') -> Repository:
    """Adds a repository, or a commit to it; `files` is a folder or a dict."""
    if not isinstance(files, Mapping):
      root = pathlib.Path(files)
      files = {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob('*'))
        if path.is_file()
      }
    one = self.repositories.setdefault((kind, name), Repository())
    one.push(files, revision)
    return one

  def environment(self, cache, token: str | None = None) -> dict[str, str]:
    """Variables of a process that shall use this hub."""
    return {
      'HF_ENDPOINT': self.endpoint,
      'HF_HOME': str(cache),
      'HF_HUB_CACHE': str(pathlib.Path(cache) / 'hub'),
      'HF_HUB_DISABLE_XET': '1',
      'HF_HUB_DISABLE_PROGRESS_BARS': '1',
      'HF_TOKEN': token or '',
      'HF_HUB_OFFLINE': '0',
      'TRANSFORMERS_OFFLINE': '0',
    }

  @contextlib.contextmanager
  def client(self, cache, token: str | None = None, **constants):
    """Makes the client of this process use this hub.

    Args:
      cache: folder for what is downloaded.
      token: None = none.
      **constants: of `huggingface_hub.constants`, HF_HUB_OFFLINE=True.
    """
    import huggingface_hub
    from huggingface_hub import constants as known
    from huggingface_hub import file_download

    values = {
      'ENDPOINT': self.endpoint,
      'HUGGINGFACE_CO_URL_TEMPLATE': self.endpoint
      + '/{repo_id}/resolve/{revision}/{filename}',
      'HF_HUB_CACHE': str(pathlib.Path(cache) / 'hub'),
      'HF_TOKEN_PATH': str(pathlib.Path(cache) / 'token'),
      'HF_HUB_DISABLE_XET': True,
      'HF_HUB_OFFLINE': False,
    } | constants
    # It waits a second before it tries again.
    at_once = types.SimpleNamespace(sleep=lambda seconds: None)
    with (
      mock.patch.multiple(known, **values),
      mock.patch.dict(os.environ, self.environment(cache, token)),
      mock.patch.object(file_download, 'time', at_once),
    ):
      huggingface_hub.close_session()
      yield
    huggingface_hub.close_session()


@contextlib.contextmanager
def serve() -> Iterator[Hub]:
  """A hub without repositories, for the time of the block."""
  server = http.server.ThreadingHTTPServer(
    ('127.0.0.1', 0), hub_requests.Handler
  )
  server.daemon_threads = True
  server.hub = Hub(server)
  thread = threading.Thread(target=server.serve_forever, args=(0.05,))
  thread.start()
  try:
    yield server.hub
  finally:
    server.shutdown()
    thread.join()
    server.server_close()
