"""Reads a page of the site as a browser does: tags, attributes, texts."""

import html.parser


class Page(html.parser.HTMLParser):
  """What a page holds.

  Attributes:
    tags: names of all elements.
    attributes: (tag, name, value) of all of them.
    ids: values of id.
    links: (href, rel) of all anchors.
    text: all text.
  """

  def __init__(self, text):
    """Parses a page's text."""
    super().__init__()
    self.tags, self.attributes, self.ids, self.links = [], [], [], []
    self.text = ''
    self.feed(text)
    self.close()

  def handle_starttag(self, tag, attrs):
    """Collects an element."""
    named = dict(attrs)
    self.tags.append(tag)
    self.attributes += [(tag, *pair) for pair in attrs]
    self.ids += [named['id']] if 'id' in named else []
    if tag == 'a':
      self.links.append((named['href'], named.get('rel', '')))

  def handle_data(self, data):
    """Collects text."""
    self.text += data
