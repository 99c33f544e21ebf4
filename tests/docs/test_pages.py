"""The pages in docs, README and CONTRIBUTING: their links, commands and Python code."""

import ast
import os
import re
import shlex
import unicodedata
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

import mmcnn
from mmcnn.cli import main as cli
from mmcnn.compat.packaged_configs import is_packaged, packaged_config
from mmcnn.config.files import own_configs

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs'
PAGES = sorted([*DOCS.rglob('*.md'), ROOT / 'README.md', ROOT / 'CONTRIBUTING.md'])
BLOCK = re.compile(r'^(?P<marks>(?:<!-- .* -->\n)*)```(?P<language>\w+)\n(?P<code>.*?)^```', re.MULTILINE | re.DOTALL)
LINK = re.compile(r'\[[^\]]*\]\(([^)\s]+)\)')
#: Placeholders for the reader's paths in a command.
PLACEHOLDER = re.compile(r'[A-Z][A-Z_/]*|PATH.*')


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def text_of(page):
    return page.read_text(encoding='utf-8')


def blocks(page, *languages):
    return [block for block in BLOCK.finditer(text_of(page)) if block['language'] in languages]


def slug(heading):
    """Return the anchor of a heading on the site, like Python-Markdown."""
    plain = re.sub(r'<[^>]+>|[`*]|\[([^\]]*)\]\([^)]*\)', r'\1', heading)
    plain = unicodedata.normalize('NFKD', plain).encode('ascii', 'ignore').decode()
    return re.sub(r'[\s-]+', '-', re.sub(r'[^\w\s-]', '', plain).strip().lower())


def github_slug(heading):
    """Return the anchor of a heading on GitHub."""
    return re.sub(r'[^\w\s-]', '', re.sub(r'<[^>]+>|[`*]', '', heading).strip().lower()).replace(' ', '-')


def headings(page):
    return re.findall(r'^#+ (.+)$', BLOCK.sub('', text_of(page)), flags=re.MULTILINE)


# ---------------------------------------------------------------------------------------------------------------- links


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    links = LINK.findall(BLOCK.sub('', text_of(page)))
    for link in links:
        target, _, anchor = link.partition('#')
        if target.startswith(('http://', 'https://')):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.is_file() or file == DOCS, link
        if page.is_relative_to(DOCS):
            assert file.is_relative_to(DOCS), f'{link} leaves the site'
        if anchor:
            assert anchor in map(slug, headings(file)), f'{link}: the site has no such anchor'
            assert anchor in map(github_slug, headings(file)), f'{link}: GitHub has no such anchor'


def test_every_page_is_in_the_navigation():
    listed = re.findall(r': (\S+\.md)$', (ROOT / 'mkdocs.yml').read_text(encoding='utf-8'), flags=re.MULTILINE)
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob('*.md'))


def test_a_page_has_one_title_and_no_level_is_left_out():
    for page in PAGES:
        levels = [len(hashes) for hashes in re.findall(r'^(#+) ', BLOCK.sub('', text_of(page)), flags=re.MULTILINE)]
        assert levels[0] == 1 and levels.count(1) == 1, name_of(page)
        assert all(after <= before + 1 for before, after in pairwise(levels)), name_of(page)


# ------------------------------------------------------------------------------------------------------------- commands


def commands(code):
    """Return the commands of a block of shell code, each a list of words."""
    words, waiting = [], ''
    for line in code.replace('\\\n', ' ').splitlines():
        waiting += f'{line}\n'
        lexer = shlex.shlex(waiting, posix=True, punctuation_chars='&;|')
        lexer.whitespace_split = True
        try:
            found = list(lexer)
        except ValueError:  # a quotation continues on the next line
            continue
        waiting = ''
        words += [*found, ';']
    command = []
    for word in words:
        if set(word) <= set('&;|'):
            if command:
                yield command
            command = []
        elif command or not re.fullmatch(r'\w+=.*|srun', word):
            command.append(word)


def of_mmcnn(command):
    """Return the arguments of ``mmcnn`` in a command, however it is called, or None for another program."""
    if command[0] == 'mmcnn':
        return command[1:]
    if command[:3] == ['python', '-m', 'mmcnn']:
        return command[3:]
    if command[0] == 'tools/dist_train.sh':
        return ['train', command[1], *command[3:]]
    if command[0] == 'python' and command[1].startswith('tools/'):
        called = re.search(r"main\(\['([\w-]+)', \*sys", (ROOT / command[1]).read_text(encoding='utf-8'))
        return [called[1], *command[2:]] if called else None
    return None


def typed(language=('bash', 'sh')):
    for page in PAGES:
        for block in blocks(page, *language):
            for command in commands(block['code']):
                if (arguments := of_mmcnn(command)) is not None:
                    yield pytest.param(arguments, id=f'{name_of(page)}: {" ".join(arguments)[:60]}')


@pytest.mark.parametrize('arguments', typed())
def test_commands_are_possible(arguments, capsys):
    if not arguments or arguments[0].startswith('-'):
        assert arguments in (['--help'], ['--version'])
        return
    if '--help' in arguments:
        assert arguments[0] in cli.COMMANDS
        return
    parser = cli._command_parser(arguments[0], cli._module(arguments[0]))
    try:
        given = parser.parse_args(arguments[1:])
    except SystemExit:
        pytest.fail(capsys.readouterr().err)
    config = getattr(given, 'config', None)
    if config and arguments[0] != 'check-data' and not PLACEHOLDER.fullmatch(str(config)):
        packaged = is_packaged(config) and packaged_config(config).is_file()
        assert packaged or config in own_configs() or (ROOT / config).is_file() or config == 'mine.py', config
    backbones = getattr(given, 'backbone', None) or ()
    for name in [backbones] if isinstance(backbones, str) else backbones:
        for each in name.split(','):
            assert each in mmcnn.list_backbones() or PLACEHOLDER.fullmatch(each), each


def test_a_command_that_is_not_possible_is_found(capsys):
    (command,) = commands('X=1 mmcnn train yolov5_s --data PATH \\\n  --epoch-count 3   # so many\n')
    assert command == ['mmcnn', 'train', 'yolov5_s', '--data', 'PATH', '--epoch-count', '3']
    with pytest.raises(pytest.fail.Exception, match='epoch-count'):
        test_commands_are_possible(of_mmcnn(command), capsys)


# --------------------------------------------------------------------------------------------------------------- Python


def programs(*, runnable=None):
    for page in PAGES:
        for i, block in enumerate(blocks(page, 'python')):
            marked = '<!-- runnable -->' in block['marks']
            if runnable in (None, marked):
                slow = [pytest.mark.slow] if runnable and 'best.pth' in block['code'] else []
                yield pytest.param(block['code'], id=f'{name_of(page)}-{i}', marks=slow)


@pytest.mark.parametrize('code', programs())
def test_python_compiles(code):
    ast.parse(code)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Change to an empty folder with an image street.jpg."""
    monkeypatch.chdir(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    cv2.imwrite('street.jpg', image)
    return tmp_path


@pytest.mark.parametrize('code', programs(runnable=True))
def test_python_runs(code, folder, request):
    """If the comment after an expression is a Python value, the expression must have this value."""
    if 'best.pth' in code:
        os.link(request.getfixturevalue('trained').checkpoint, folder / 'best.pth')
    run(code)


def run(code):
    names, lines = {}, code.splitlines()
    for statement in ast.parse(code).body:
        source = ast.unparse(statement)
        if not isinstance(statement, ast.Expr):
            exec(source, names)
            continue
        value = eval(source, names)
        comment = lines[statement.end_lineno - 1][statement.end_col_offset :].strip().removeprefix('#').strip()
        try:
            expected = ast.literal_eval(comment)
        except (SyntaxError, ValueError):
            continue
        assert value == expected, source


def test_a_value_that_is_wrong_is_found():
    run('x = 1\nx + 1  # 2\nx  # one')
    with pytest.raises(AssertionError, match=r'x \+ 1'):
        run('x = 1\nx + 1  # 3')
