"""The files around the package: Dockerfile, CITATION.cff, SECURITY.md and the things they name."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

import mmcnn

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / 'docker' / 'Dockerfile').read_text(encoding='utf-8')
INSTALL = (ROOT / 'docs' / 'install.md').read_text(encoding='utf-8')


def instructions(text):
    """Return the instructions of a Dockerfile, each as its keyword and its arguments."""
    lines = '\n'.join(line for line in text.splitlines() if not line.startswith('#')).replace('\\\n', ' ').splitlines()
    return [(line.partition(' ')[0], line.partition(' ')[2].split()) for line in lines if line.strip()]


def test_what_the_image_is_built_from_is_there_and_sent_to_docker():
    """The machines that run the tests have no Docker: the file is linted, not built."""
    ignored = (ROOT / 'docker' / 'Dockerfile.dockerignore').read_text(encoding='utf-8').splitlines()
    sent = {line.removeprefix('!') for line in ignored if line.startswith('!')}
    copied = set()
    for word, words in instructions(DOCKERFILE):
        if word == 'COPY' and not words[0].startswith('--from'):
            copied |= set(words[:-1])
    assert copied == sent and all((ROOT / name).exists() for name in copied)
    assert {'setup.py', 'README.md', 'constraints.txt', 'mmcnn', 'configs', 'tools'} <= copied


def test_the_image_takes_packages_that_exist():
    setup = (ROOT / 'setup.py').read_text(encoding='utf-8')
    extras = re.search(r"'\.\[([\w,]+)\]'", DOCKERFILE)[1].split(',')
    assert all(re.search(rf'^        {extra}=\[', setup, flags=re.MULTILINE) for extra in extras)
    pinned = (ROOT / 'constraints.txt').read_text(encoding='utf-8')
    for package in ('torch', 'setuptools', 'opencv-python-headless'):
        assert re.search(rf'\bpip install [^&\n]*\b{package}\b', DOCKERFILE) and f'\n{package}==' in pinned


def test_the_image_runs_mmcnn_as_a_user_that_is_not_root():
    *_, entry, command = instructions(DOCKERFILE)
    assert (entry, command) == (('ENTRYPOINT', ['["mmcnn"]']), ('CMD', ['["--help"]']))
    users = [words for word, words in instructions(DOCKERFILE) if word == 'USER']
    assert users == [['10001']] and re.search(r'^RUN useradd [^\n]*--uid 10001 ', DOCKERFILE, flags=re.MULTILINE)


def test_the_documented_builds_set_arguments_that_the_dockerfile_has():
    declared = {words[0].partition('=')[0] for word, words in instructions(DOCKERFILE) if word == 'ARG'}
    assert declared == {'BASE', 'TORCH_INDEX'}
    lines = INSTALL.replace('\\\n', ' ').splitlines()
    builds = [shlex.split(line) for line in lines if line.startswith('docker build ')]
    assert len(builds) == 2
    for words in builds:
        assert words[words.index('-f') + 1] == 'docker/Dockerfile' and words[-1] == '.'
        given = [words[i + 1].partition('=')[0] for i, word in enumerate(words) if word == '--build-arg']
        assert set(given) <= declared


def test_the_citation_has_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text(encoding='utf-8'))
    assert citation['cff-version'] == '1.2.0'
    assert (citation['version'], citation['license']) == (mmcnn.__version__, 'Apache-2.0')
    assert citation['authors'] and citation['title'] and citation['message']


@pytest.mark.parametrize('page', ['SECURITY.md', 'CONTRIBUTING.md'])
def test_what_they_link_to_is_there(page):
    text = (ROOT / page).read_text(encoding='utf-8')
    files = re.findall(r'\]\((?!http)([^)#]+)', text) + re.findall(r'`(tests/[\w/]+\.py|tools/\w+\.py)`', text)
    assert files and all((ROOT / file).is_file() for file in files)


def test_a_release_has_the_changelog_s_newest_entry():
    changes = (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8')
    assert re.search(r'^## (\S+)', changes, flags=re.MULTILINE)[1] == mmcnn.__version__
