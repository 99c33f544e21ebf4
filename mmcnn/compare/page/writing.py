"""Writing of comparison.html and comparison.csv."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mmcnn.compare.page.classes import classes_section
from mmcnn.compare.page.costs import costs_section
from mmcnn.compare.page.csv_file import as_csv
from mmcnn.compare.page.curves import curves_section
from mmcnn.compare.page.images import images_section
from mmcnn.compare.page.numbers import Numbers, told_apart
from mmcnn.compare.page.pairs import NO_PAIR, pairs_section
from mmcnn.compare.page.runs import method_section, runs_section
from mmcnn.compare.results import Comparison
from mmcnn.console.layout import number
from mmcnn.pages.page import Section, bullets, facts, folded, paragraph, write_page

#: Number of verdicts that are shown at first.
_SHOWN = 6


def write_comparison_page(
    comparison: Comparison,
    folder: Path,
    annotations: Mapping[str, Any] | None = None,
    images: Path | None = None,
    num_images: int = 6,
    score_threshold: float = 0.3,
) -> Path:
    """Write comparison.html and comparison.csv.

    Args:
        comparison: the comparison.
        folder: folder of the comparison, which contains the runs' detections.
        annotations: annotations of val, a COCO dict; None: no images are shown.
        images: the folder that its file names are relative to; None: no images are shown.
        num_images: number of images; those where the candidates differ most are shown.
        score_threshold: minimum score of the boxes that are drawn.

    Returns:
        The page's file.
    """
    numbers = Numbers(comparison)
    sections = [_head(numbers), costs_section(numbers), pairs_section(numbers), curves_section(numbers),
                classes_section(numbers)]  # fmt: skip
    if annotations is not None and images is not None and num_images:
        sections.append(images_section(numbers, folder, annotations, images, num_images, score_threshold))
    sections += [runs_section(numbers), method_section(comparison)]
    files = {'comparison.json': comparison.as_json(), 'comparison.csv': as_csv(comparison)}
    write_page(folder / 'comparison.html', comparison.title, sections, files)
    # Unchanged: the csv module has written the line ends.
    (folder / 'comparison.csv').write_text(files['comparison.csv'], encoding='utf-8', newline='')
    return folder / 'comparison.html'


def _head(numbers: Numbers) -> Section:
    comparison = numbers.comparison
    runs = [run for each in comparison.candidates for run in each.runs]
    dropped = [f'{each.name}: {each.dropped}' for each in comparison.candidates if each.dropped]
    failed = sum(run.failure is not None for each in comparison.candidates if not each.dropped for run in each.runs)
    apart = [pair for pair in comparison.pairs if told_apart(pair)]
    of_all = number(len(comparison.pairs), 'pair')
    parts = [paragraph(_what(numbers), 'lead')]
    if apart:
        parts.append(
            paragraph(f'{len(apart)} of {of_all} {"is" if len(apart) == 1 else "are"} distinguishable:', 'strong')
        )
        lines = [pair.verdict for pair in apart]
        parts.append(bullets(lines[:_SHOWN]))
        if len(lines) > _SHOWN:
            parts.append(folded(f'{len(lines) - _SHOWN} more', bullets(lines[_SHOWN:])))
    elif comparison.pairs:
        parts.append(paragraph(f'None of the {of_all} is distinguishable.', 'strong'))
    else:
        parts.append(paragraph(NO_PAIR, 'strong'))
    if 0 < len(apart) < len(comparison.pairs):
        parts.append(paragraph('Not distinguishable from each other are:', 'strong'))
        parts.append(bullets(['; '.join(group) for group in numbers.groups if len(group) > 1]))
    if len(apart) < len(comparison.pairs):
        link = Markup('The <a href="#pairs">list of pairs</a> says for each how many more seeds might decide.')
        parts.append(paragraph(link))
    if dropped:
        parts += [paragraph('Not trained to the end:', 'strong'), bullets(dropped)]
    if failed:
        parts.append(paragraph(f'{failed} of {number(len(runs), "run")} failed; see the table of runs.', 'wrong'))
    data = comparison.data
    about = {'made': comparison.made}
    if 'path' in data:
        about['data'] = str(data['path'])
    parts.append(facts(about))
    return Section('verdicts', 'What the data show', Markup('\n').join(parts))


def _seeds(count: int) -> str:
    return 'one seed, the same for all' if count == 1 else f'the same {count} seeds'


def _what(numbers: Numbers) -> str:
    comparison, data = numbers.comparison, numbers.comparison.data
    seeds = {run.block for each in comparison.candidates for run in each.runs}
    text = f'{number(len(comparison.candidates), "candidate")}, each trained with {_seeds(len(seeds))}'
    if data.get('num_train') and data.get('num_val'):
        fractions = {each.fraction for each in comparison.candidates}
        fraction = ''
        if len(fractions) > 1:
            fraction = ', or the fraction of them in its name,' if max(fractions) == 1 else ' at most'
        text += f' on {number(data["num_train"], "image")}{fraction} and measured on {data["num_val"]:,} of val'
    if len(numbers.common_seeds) < len(seeds):
        count = number(len(numbers.common_seeds), 'seed')
        text += f'; the verdicts are of the {count} that all candidates with a finished run have in common'
    return f'{text}.'
