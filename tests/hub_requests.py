"""How the hub of `hub_server` answers each request of `huggingface_hub`."""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import urllib.parse

import yaml

LARGE = ('.safetensors', '.bin', '.h5', '.msgpack', '.onnx', '.parquet', '.gz')
TOKEN = 'hf_' + 'x' * 34  # who has it may see and write all but gated ones
_INFO = re.compile(r'/api/(model|dataset)s/(.+?)(?:/(revision|tree)/(.+))?')
_FILE = re.compile(r'/(datasets/)?([^/]+(?:/[^/]+)?)/resolve/([^/]+)/(.+)')
_PUT = re.compile(r'/api/(model|dataset)s/(.+?)/(preupload|commit)/([^/]+)')
_LARGE = re.compile(r'/(datasets/)?(.+)\.git/info/lfs/objects/batch')


class Refused(Exception):
  """An answer that isn't 200: (status, X-Error-Code, message)."""


class Handler(http.server.BaseHTTPRequestHandler):
  """Answers one connection; `server.hub` is what it answers from."""

  protocol_version = 'HTTP/1.1'

  def log_message(self, *_):
    pass

  def do_GET(self):
    self.route()

  do_HEAD = do_POST = do_PUT = do_GET

  def route(self):
    self.hub = self.server.hub
    address = urllib.parse.urlsplit(self.path)
    length = int(self.headers.get('Content-Length') or 0)
    self.body = self.rfile.read(length)
    self.hub.requests.append((self.command, address.path))
    try:
      self.answer(address.path)
    except Refused as refused:
      status, code, message = refused.args
      headers = {'X-Error-Message': message}
      if code:
        headers['X-Error-Code'] = code
      self.send(json.dumps({'error': message}).encode(), headers, status)

  def answer(self, path):
    large = _LARGE.fullmatch(path)
    put, get = _PUT.fullmatch(path), _FILE.fullmatch(path)
    info = _INFO.fullmatch(path)
    if path.startswith('/large/'):
      self.content(self.hub.large[path.rpartition('/')[2]], path)
    elif path.startswith('/upload/'):
      self.hub.large[path.rpartition('/')[2]] = self.body
      self.send(b'')
    elif path == '/api/whoami-v2':
      self.write_allowed()
      self.json({'name': 'acme', 'type': 'user', 'orgs': []})
    elif path == '/api/validate-yaml':
      self.validate(json.loads(self.body)['content'])
    elif path == '/api/repos/create':
      self.create(json.loads(self.body))
    elif large:
      self.batch(json.loads(self.body))
    elif put:
      self.write_allowed()
      getattr(self, put[3])(put[1], put[2])
    elif get:
      self.file('dataset' if get[1] else 'model', *get.groups()[1:])
    elif info:
      self.info(*info.groups())
    else:
      raise Refused(404, '', f'nothing at {path}')

  # What is read.

  def repository(self, kind, name):
    one = self.hub.repositories.get((kind, name))
    known = self.headers.get('Authorization') == f'Bearer {TOKEN}'
    if one is None or (one.private and not known):
      if known:
        raise Refused(404, 'RepoNotFound', 'Repository not found')
      raise Refused(401, 'RepoNotFound', 'Invalid username or password.')
    return one, known

  def commit_of(self, one, revision):
    revision = urllib.parse.unquote(revision or 'main')
    found = one.refs.get(revision, revision)
    if found not in one.commits:
      raise Refused(404, 'RevisionNotFound', f'Invalid rev id: {revision}')
    return found

  def info(self, kind, name, what, revision):
    one, _ = self.repository(kind, name)
    revision, _, inner = (revision or '').partition('/')
    commit = self.commit_of(one, revision)
    files = one.commits[commit]
    if what == 'tree':
      inner = urllib.parse.unquote(inner)
      self.json([self.entry(p, c) for p, c in files.items() if inner in p])
      return
    self.json(
      {
        'id': name, 'modelId': name, 'sha': commit, 'private': one.private,
        'gated': 'manual' if one.gated else False, 'disabled': False,
        'downloads': 0, 'likes': 0, 'tags': [],
        'siblings': [{'rfilename': path} for path in files],
      }
    )  # fmt: skip

  def entry(self, path, content):
    entry = {
      'type': 'file', 'path': path, 'size': len(content),
      'oid': git_hash(content),
    }  # fmt: skip
    if path.endswith(LARGE):
      oid = hashlib.sha256(content).hexdigest()
      entry['lfs'] = {'oid': oid, 'size': len(content), 'pointerSize': 130}
    return entry

  def file(self, kind, name, revision, path):
    one, known = self.repository(kind, name)
    if one.gated:
      text = f'Access to {kind} {name} is restricted.'
      raise Refused(403 if known else 401, 'GatedRepo', text)
    commit, path = self.commit_of(one, revision), urllib.parse.unquote(path)
    content = one.commits[commit].get(path)
    if content is None or path in one.missing:
      raise Refused(404, 'EntryNotFound', 'Entry not found')
    headers = {'X-Repo-Commit': commit, 'ETag': f'"{git_hash(content)}"'}
    if not path.endswith(LARGE):
      self.content(content, path, headers, one)
      return
    oid = hashlib.sha256(content).hexdigest()
    self.hub.large[oid] = content
    headers |= {
      'X-Linked-ETag': f'"{oid}"',
      'X-Linked-Size': str(len(content)),
      'Location': f'{self.hub.store}/large/{name}/{path}/{oid}',
    }
    self.send(b'', headers, 302)

  def content(self, content, path, headers=None, one=None):
    """Sends a file or its asked part, or as much of it as a fault lets."""
    asked = re.fullmatch(r'bytes=(\d+)-(\d*)', self.headers.get('Range') or '')
    status, whole, start = 200, len(content), 0
    headers = {'Accept-Ranges': 'bytes'} | (headers or {})
    if asked:
      start, end = int(asked[1]), min(int(asked[2] or whole - 1), whole - 1)
      if start >= whole:
        headers['Content-Range'] = f'bytes */{whole}'
        self.send(b'', headers, 416)
        return
      status, content = 206, content[start : end + 1]
      headers['Content-Range'] = f'bytes {start}-{end}/{whole}'
    self.send(content, headers, status, self.cut(path, start, one))

  def cut(self, path, start, one):
    """How many bytes are sent before the connection breaks; None = all."""
    for other in [one] if one else self.hub.repositories.values():
      for name, count in other.cut.items():
        if path == name or f'/{name}/' in path:
          if other.cuts is not None:
            if other.cuts < 1:
              return None
            other.cuts -= self.command == 'GET'
          return max(0, count - start)
    return None

  # What is written.

  def write_allowed(self):
    given = self.headers.get('Authorization')
    if given is None:
      raise Refused(401, '', 'Invalid username or password.')
    if given != f'Bearer {TOKEN}':
      raise Refused(401, '', 'Invalid credentials in Authorization header')

  def create(self, asked):
    self.write_allowed()
    name = '/'.join(filter(None, (asked.get('organization'), asked['name'])))
    if not name.startswith('acme/'):
      raise Refused(
        403, '', "You don't have the rights to create a model under this name"
      )
    key = (asked.get('type') or 'model', name)
    status = 409 if key in self.hub.repositories else 200
    made = self.hub.repositories.setdefault(key, self.hub.new())
    if status == 200:
      made.push({})
      made.private = asked.get('visibility') == 'private'
    self.json({'url': f'{self.hub.endpoint}/{name}', 'id': name}, status)

  def validate(self, text):
    front = text.split('---')[1] if text.startswith('---') else ''
    try:
      yaml.safe_load(front)
    except yaml.YAMLError as error:
      self.json({'errors': [{'message': str(error)}], 'warnings': []}, 400)
      return
    self.json({'errors': [], 'warnings': []})

  def preupload(self, kind, name):
    one, _ = self.repository(kind, name)
    self.json(
      {
        'files': [
          {
            'path': f['path'],
            'uploadMode': 'lfs' if f['path'].endswith(LARGE) else 'regular',
            'shouldIgnore': False,
            'oid': git_hash(one.files[f['path']])
            if f['path'] in one.files
            else None,
          }
          for f in json.loads(self.body)['files']
        ]
      }
    )

  def batch(self, asked):
    self.write_allowed()
    objects = []
    for one in asked['objects']:
      href = f'{self.hub.store}/upload/{one["oid"]}'
      new = one['oid'] not in self.hub.large
      actions = {'actions': {'upload': {'href': href}}} if new else {}
      objects.append({'oid': one['oid'], 'size': one['size']} | actions)
    self.json({'transfer': 'basic', 'objects': objects})

  def commit(self, kind, name):
    one, _ = self.repository(kind, name)
    files = dict(one.files)
    for line in self.body.splitlines():
      item = json.loads(line)
      value = item['value']
      if item['key'] == 'file':
        files[value['path']] = base64.b64decode(value['content'])
      elif item['key'] == 'lfsFile':
        if value['oid'] not in self.hub.large:
          raise Refused(400, '', f'{value["path"]} was not uploaded')
        files[value['path']] = self.hub.large[value['oid']]
      elif item['key'] == 'deletedFile':
        del files[value['path']]
    made = one.push(files)
    url = f'{self.hub.endpoint}/{name}/commit/{made}'
    self.json({'success': True, 'commitOid': made, 'commitUrl': url})

  # How it is sent.

  def json(self, value, status=200):
    headers = {'Content-Type': 'application/json'}
    self.send(json.dumps(value).encode(), headers, status)

  def send(self, content, headers=None, status=200, cut=None):
    self.send_response(status)
    for name, value in (headers or {}).items():
      self.send_header(name, value)
    self.send_header('Content-Length', str(len(content)))
    self.end_headers()
    if self.command == 'HEAD':
      return
    with contextlib.suppress(ConnectionError):
      self.wfile.write(content[:cut])
      self.wfile.flush()
    if cut is not None and cut < len(content):
      self.close_connection = True


def git_hash(content: bytes) -> str:
  """The name that git gives a file's content."""
  return hashlib.sha1(b'blob %d\0' % len(content) + content).hexdigest()
