"""docs/troubleshooting.md only explains messages that mmcnn can print."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / 'docs' / 'troubleshooting.md').read_text(encoding='utf-8').partition('\n## Symptoms')[0]
#: Messages of other libraries.
FOREIGN = {"No module named 'mmcv._ext'"}
MESSAGES = [
    text for line in re.findall(r'^#### (.+)$', PAGE, flags=re.MULTILINE) for text in re.findall('`(.+?)`', line)
]


def template(node):
    """Return the text of a string in the source, with ``…`` for each formatted value."""
    if isinstance(node, ast.JoinedStr):
        return ''.join(part.value if isinstance(part, ast.Constant) else '…' for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


@pytest.fixture(scope='module')
def printed():
    """Return all strings in the source of mmcnn, one per line."""
    texts = set()
    for path in (ROOT / 'mmcnn').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if text := template(node):
                texts.add(' '.join(text.split()))
    return '\n'.join(sorted(texts))


def test_there_are_messages():
    assert len(MESSAGES) >= 25 and len(set(MESSAGES)) == len(MESSAGES)


@pytest.mark.parametrize('message', MESSAGES)
def test_message_is_in_the_source(message, printed):
    if message in FOREIGN:
        return
    pattern = '.*?'.join(re.escape(part.strip()) for part in message.strip('… ').split('…'))
    assert re.search(pattern, printed), message
