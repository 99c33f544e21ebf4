"""The plot of the zoo."""

from PIL import Image

from mmcnn.plots import zoo
from mmcnn.plots.palette import LINE_COLOURS
from mmcnn.zoo.table import Network


def network(i, family, exact=True):
    gigas = 0.1 * 1.5**i
    return Network(
        name=f'network{i}', family=f'Family{family}', classifier=True, size=224, total=int(1e7 * 1.3**i),
        trainable=1, exact=exact, multiply_adds=int(gigas * 1e9), memory_access=1, levels=(1,), channels=(8,),
        strides=(2,),
    )  # fmt: skip


def test_plot_fits_the_readme(tmp_path):
    zoo.plot_zoo([network(i, i // 2) for i in range(25)], tmp_path / 'new' / 'zoo.png')
    image = Image.open(tmp_path / 'new' / 'zoo.png')
    assert image.format == 'PNG' and image.width == 900
    assert (tmp_path / 'new' / 'zoo.png').stat().st_size < 120_000
    assert len(image.convert('RGB').getcolors(1000)) > 20


def test_no_two_families_look_alike():
    dress = {(LINE_COLOURS[i % len(LINE_COLOURS)], zoo.MARKERS[i % len(zoo.MARKERS)]) for i in range(70)}
    assert len(dress) == 70


def test_labels_overlap_nothing():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    networks = [network(i / 10, 0) for i in range(40)]  # far too dense to label all of them
    networks = [n.__class__(**{**vars(n), 'name': f'network{i}'}) for i, n in enumerate(networks)]
    figure = Figure(figsize=(6, 4))
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([n.multiply_adds / 1e9 for n in networks], [n.total / 1e6 for n in networks])
    canvas.draw()
    zoo._label(axes, networks, networks)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert 2 <= len(boxes) < 40
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
