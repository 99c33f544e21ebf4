"""The frame of a page: a single file with escaped text that loads nothing."""

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser

from markupsafe import Markup

from mmcnn.pages.page import (
    Section,
    bullets,
    copyable,
    download,
    facts,
    folded,
    heading,
    paragraph,
    render_page,
    write_page,
)

HOSTILE = '<script>alert("1")</script>&\''


class Tags(HTMLParser):
    """A parser that collects tags with their attributes, and the text of scripts."""

    def __init__(self, text):
        super().__init__()
        self.found, self.scripts, self.inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.inside = tag == 'script'
        if self.inside:
            self.scripts.append('')

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.scripts[-1] += data


def sections():
    body = Markup('').join([
        paragraph(HOSTILE, 'quiet'), heading(HOSTILE, 'part'), bullets([HOSTILE]), facts({HOSTILE: HOSTILE}),
        folded(HOSTILE, paragraph('inside')), copyable(HOSTILE), download('a.csv'),
    ])  # fmt: skip
    return [Section('first', HOSTILE, body), Section('second', 'Second', paragraph('text'))]


def test_everything_is_escaped():
    page = render_page(HOSTILE, sections(), {'a.csv': HOSTILE})
    assert '<script>alert' not in page
    tags = Tags(page)
    assert [tag for tag, _ in tags.found].count('script') == 2
    assert page.count('&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;') == 12
    copy = next(attrs for _, attrs in tags.found if 'data-copy' in attrs)
    assert copy['data-copy'] == HOSTILE


def test_nothing_is_loaded_and_only_its_script_runs():
    page = render_page('Title', sections(), {'a.csv': 'x'})
    assert not re.search(r'https?:', page)
    tags = Tags(page)
    for tag, attributes in tags.found:
        for key in ('src', 'href', 'srcset', 'data'):
            assert attributes.get(key, '#').startswith(('#', 'data:')), (tag, attributes)
        assert not [key for key in attributes if key.startswith('on')]
    policy = next(each['content'] for _, each in tags.found if each.get('http-equiv') == 'Content-Security-Policy')
    digest = base64.b64encode(hashlib.sha256(tags.scripts[-1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_headings_landmarks_and_links():
    tags = Tags(render_page('Title', sections())).found
    names = [tag for tag, _ in tags]
    assert [each for each in names if re.fullmatch(r'h\d', each)] == ['h1', 'h2', 'h3', 'h2']
    assert [names.count(each) for each in ('header', 'nav', 'main', 'footer')] == [1, 1, 1, 1]
    ids = [each['id'] for _, each in tags if 'id' in each]
    assert len(ids) == len(set(ids))
    links = [each['href'][1:] for tag, each in tags if tag == 'a']
    assert links == ['content', 'first', 'second']
    assert {*links} <= {*ids}
    assert dict(tags)['html'] == {'lang': 'en'}


def test_files_are_kept_whole(tmp_path):
    text = 'a,b\r\n"</script>",ü\n' * 1000
    path = tmp_path / 'new' / 'page.html'
    write_page(path, 'Title', sections(), {'a.csv': text})
    kept = json.loads(Tags(path.read_text('utf-8')).scripts[0])
    assert gzip.decompress(base64.b64decode(kept['a.csv'])).decode() == text
    assert len(kept['a.csv']) < 500
