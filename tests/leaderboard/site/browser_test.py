"""The site in a headless Chromium: sorting, filters, keys, hostile names.

Needs playwright (extra `test`) and a Chromium that the system brings, such as
Debian's package `chromium`; GLUE_JAX_CHROMIUM names another one. Screenshots
are left in GLUE_JAX_SCREENSHOTS if that is set.
"""

import functools
import http.server
import json
import os
import pathlib
import shutil
import threading

import pytest

from glue_jax.leaderboard import board as board_lib
from glue_jax.leaderboard.site import site
from tests.leaderboard import boards

CHROMIUM = os.environ.get('GLUE_JAX_CHROMIUM') or next(
  filter(None, map(shutil.which, ('chromium', 'chromium-browser'))), None
)
pytestmark = pytest.mark.skipif(
  CHROMIUM is None,
  reason='no Chromium, so nothing of this file was tested: `apt-get install '
  'chromium`, or name one in GLUE_JAX_CHROMIUM',
)
EVIL = '<img src=x onerror=document.title="owned"><script>alert(1)</script>'
PAGES = ('index', 'about', 'refused', 'tasks/task-0', 'methods/method-0')


class Quiet(http.server.SimpleHTTPRequestHandler):
  """Serves the site without a line for each request."""

  def log_message(self, *args):
    """Prints nothing."""


@pytest.fixture(scope='module')
def built(tmp_path_factory):
  """Twelve methods on four tasks, two checkpoints, hostile texts and names."""
  folder = tmp_path_factory.mktemp('browser')
  home = boards.make(folder / 'board', methods=12, tasks=4, seeds=2, rows=40)
  for i in range(12):
    boards.change(
      home / f'contributions/method-{i}/metadata.json',
      base_checkpoint=('small', 'large')[i % 2],
      description=EVIL,
      authors=[EVIL],
    )
  (home / 'contributions/<img src=x onerror=alert(1)>').mkdir()
  bad = home / 'contributions/bad'
  (bad / 'x').mkdir(parents=True)
  (bad / 'x/<script>alert(1)<').write_text('x')
  board = board_lib.evaluate(home)
  assert len(board.methods) == 12 and len(board.refused) == 2
  site.write(board, folder / 'site', f'Board {EVIL}')
  return folder / 'site'


@pytest.fixture(scope='module')
def address(built):
  """The site's address at a server of this machine."""
  handler = functools.partial(Quiet, directory=str(built))
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    thread.join()


@pytest.fixture(scope='module')
def chromium():
  """The browser."""
  sync_api = pytest.importorskip(
    'playwright.sync_api',
    reason="no playwright, so nothing was tested: pip install 'glue_jax[test]'",
  )
  with sync_api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(
      executable_path=CHROMIUM, args=['--no-sandbox']
    )
    yield browser
    browser.close()


@pytest.fixture
def open_page(chromium, address):
  """Opens pages; at the end none had an error or asked another host."""
  wrong, contexts = [], []

  def opened(path='index.html', base=address, **settings):
    context = chromium.new_context(**settings)
    contexts.append(context)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on('console', lambda m: wrong.append(f'console {m.type}: {m.text}'))
    page.on('pageerror', lambda e: wrong.append(f'error: {e}'))
    page.on('dialog', lambda d: (wrong.append(f'dialog: {d}'), d.dismiss()))
    # A page that is left cancels what it still loads (the icon).
    page.on(
      'requestfailed',
      lambda r: 'ABORTED' in r.failure or wrong.append(f'failed: {r.url}'),
    )
    page.on(
      'request',
      lambda r: r.url.startswith(base) or wrong.append(f'left: {r.url}'),
    )
    page.goto(f'{base}/{path}')
    return page

  yield opened
  for context in contexts:
    context.close()
  assert wrong == []


def names(page, table='#table-methods'):
  """First cells of the rows that are seen."""
  return page.locator(f'{table} tbody tr:visible th').all_inner_texts()


def order(page):
  return [int(name.removeprefix('method-')) for name in names(page)]


def head(page, text):
  return page.locator('#table-methods thead th').filter(has_text=text).first


def test_a_click_on_a_heading_sorts(open_page):
  page = open_page()
  assert order(page) == list(range(12))
  assert head(page, 'Borda').get_attribute('aria-sort') == 'ascending'
  mean = head(page, 'Mean')
  mean.get_by_role('button').click()  # the largest first
  assert mean.get_attribute('aria-sort') == 'descending'
  assert head(page, 'Borda').get_attribute('aria-sort') is None
  assert order(page) == list(range(12))
  mean.get_by_role('button').click()
  assert mean.get_attribute('aria-sort') == 'ascending'
  assert order(page) == list(range(12))[::-1]
  method = head(page, 'Method')
  method.get_by_role('button').click()
  assert order(page) == list(range(12))  # method-2 before method-10
  head(page, 'Trained').get_by_role('button').click()
  assert order(page)[0] == 11


def test_the_keyboard_sorts_and_skips(open_page):
  page = open_page()
  page.keyboard.press('Tab')

  def focus():
    return page.evaluate('document.activeElement.textContent')

  assert focus() == 'Skip to the content'
  page.keyboard.press('Enter')
  assert page.evaluate('document.activeElement.id') == 'main'
  for _ in range(12):
    page.keyboard.press('Tab')
    if focus() == 'Method':
      break
  assert focus() == 'Method'
  assert page.evaluate(
    'getComputedStyle(document.activeElement).outlineStyle'
  ) not in ('none', '')
  page.keyboard.press('Enter')
  page.keyboard.press('Space')
  assert head(page, 'Method').get_attribute('aria-sort') == 'descending'
  assert order(page) == list(range(12))[::-1]


def test_search_and_filters_narrow_the_table(open_page):
  page = open_page()
  status = page.get_by_role('status').first
  assert status.inner_text() == '12 of 12 shown'
  search = page.get_by_label('Search').first
  search.fill('METHOD-1')
  assert order(page) == [1, 10, 11] and status.inner_text() == '3 of 12 shown'
  page.get_by_label('Checkpoint').select_option('large')
  assert order(page) == [1, 11]
  search.fill('no such <b>')
  assert order(page) == [] and status.inner_text() == '0 of 12 shown'
  search.fill('')
  assert order(page) == [1, 3, 5, 7, 9, 11]
  head(page, 'Borda').get_by_role('button').click()
  assert order(page) == [11, 9, 7, 5, 3, 1]
  page.get_by_label('Checkpoint').select_option('')
  assert len(order(page)) == 12


def test_links_and_downloads_work(open_page):
  page = open_page()
  page.locator('#table-methods').get_by_role('link', name='method-3').click()
  assert page.url.endswith('/methods/method-3.html')
  page.locator('#table-scores').get_by_role('link', name='task-2').first.click()
  assert page.url.endswith('/tasks/task-2.html')
  with page.expect_download() as download:
    page.get_by_role('link', name='JSON').click()
  rows = json.loads(pathlib.Path(download.value.path()).read_text())
  assert len(rows) == 12 and rows[0]['place'] == 1
  page.get_by_role('link', name='Tasks').click()
  assert page.url.endswith('/index.html#tasks')


@pytest.mark.parametrize('name', PAGES)
def test_hostile_texts_are_text(open_page, name):
  page = open_page(f'{name}.html')
  assert page.locator('img').count() == 0
  assert page.locator('script').count() == 1
  assert 'owned' not in page.title().replace(EVIL, '')
  if name == 'refused':
    assert '<img src=x onerror=alert(1)>' in page.inner_text('main')
    assert '<script>alert(1)<' in page.inner_text('main')
  if name == 'methods/method-0':
    assert EVIL in page.inner_text('.lead')


def test_without_javascript_all_is_there(open_page):
  page = open_page(java_script_enabled=False)
  assert order(page) == list(range(12))
  assert page.locator('.tools').first.is_hidden()
  assert page.locator('th button').count() == 0
  page.locator('#table-methods').get_by_role('link', name='method-0').click()
  assert page.url.endswith('/methods/method-0.html')


def test_opened_as_files_it_works_too(open_page, built):
  page = open_page('index.html', built.as_uri())
  head(page, 'Mean').get_by_role('button').click()
  head(page, 'Mean').get_by_role('button').click()
  assert order(page) == list(range(12))[::-1]
  background = page.evaluate('getComputedStyle(document.body).backgroundColor')
  assert background == 'rgb(251, 251, 250)'  # the style sheet was read


CONTRAST = """() => {
  const parts = (text) => text.match(/[0-9.]+/g).map(Number);
  const over = (top, below) => {
    const share = top.length > 3 ? top[3] : 1;
    return below.map((v, i) => share * top[i] + (1 - share) * v);
  };
  const behind = (e) => {
    if (!e) return [255, 255, 255];
    const own = parts(getComputedStyle(e).backgroundColor);
    return over(own, behind(e.parentElement));
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => v / 255).map(
      (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let worst = [21, ''];
  for (const e of document.querySelectorAll('p, th, td, a, small, dt, li')) {
    const back = behind(e);
    const front = over(parts(getComputedStyle(e).color), back);
    const [a, b] = [light(front), light(back)];
    const found = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (found < worst[0]) worst = [found, e.outerHTML.slice(0, 90)];
  }
  return worst;
}"""


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1280, 390])
def test_schemes_and_widths(open_page, scheme, width):
  size = {'width': width, 'height': 900}
  page = open_page(color_scheme=scheme, viewport=size)
  backgrounds = {'light': 'rgb(251, 251, 250)', 'dark': 'rgb(20, 23, 26)'}
  style = 'getComputedStyle(document.body).backgroundColor'
  base = page.url.rpartition('/')[0]
  for name in PAGES:
    page.goto(f'{base}/{name}.html')
    assert page.evaluate(style) == backgrounds[scheme]
    # Tables and plots scroll by themselves, the page never sideways.
    assert page.evaluate('document.documentElement.scrollWidth') <= width, name
    ratio, where = page.evaluate(CONTRAST)
    assert ratio >= 4.5, (name, where)  # WCAG 2.1, level AA
    folder = os.environ.get('GLUE_JAX_SCREENSHOTS')
    if folder:
      file = f'{scheme}_{width}_{name.replace("/", "_")}.png'
      page.screenshot(path=pathlib.Path(folder) / file, full_page=True)


def test_a_screen_reader_finds_names_for_everything(open_page):
  page = open_page()
  unnamed = page.evaluate(
    """() => Array.from(
      document.querySelectorAll('table, svg, input, select, [role=region]'),
    ).filter((e) => !(e.caption || e.getAttribute('aria-label')
      || e.getAttribute('aria-labelledby') || (e.labels || []).length))
     .map((e) => e.outerHTML.slice(0, 80))"""
  )
  assert unnamed == []
  levels = page.evaluate(
    """() => Array.from(document.querySelectorAll('h1, h2, h3'),
      (e) => Number(e.tagName[1]))"""
  )
  assert levels[0] == 1 and levels.count(1) == 1
  assert all(b - a <= 1 for a, b in zip(levels, levels[1:]))
  assert page.get_attribute('html', 'lang') == 'en'
