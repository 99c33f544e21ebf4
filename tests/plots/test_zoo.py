"""The picture of the zoo."""

from PIL import Image

from mmcnn.plots import zoo as plot
from mmcnn.zoo.table import Network


def network(i, family, exact=True):
    gigas = 0.1 * 1.5**i
    return Network(
        name=f'network{i}', family=f'Family{family}', classifier=True, size=224, total=int(1e7 * 1.3**i),
        trainable=1, exact=exact, multiply_adds=int(gigas * 1e9), memory_access=1, levels=(1,), channels=(8,),
        strides=(2,),
    )  # fmt: skip


def test_picture_fits_the_readme(tmp_path):
    plot.plot([network(i, i // 2) for i in range(25)], tmp_path / 'new' / 'zoo.png')
    image = Image.open(tmp_path / 'new' / 'zoo.png')
    assert image.format == 'PNG' and image.width == 900
    assert (tmp_path / 'new' / 'zoo.png').stat().st_size < 120_000
    assert len(image.convert('RGB').getcolors(1000)) > 20


def test_no_two_families_look_alike():
    dress = {(plot.COLOURS[i % len(plot.COLOURS)], plot.MARKERS[i % len(plot.MARKERS)]) for i in range(70)}
    assert len(dress) == 70


def test_labels_overlap_nothing():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    networks = [network(i / 10, 0) for i in range(40)]  # far too dense for all their names
    networks = [n.__class__(**{**vars(n), 'name': f'network{i}'}) for i, n in enumerate(networks)]
    figure = Figure(figsize=(6, 4))
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([n.multiply_adds / 1e9 for n in networks], [n.total / 1e6 for n in networks])
    canvas.draw()
    plot._label(axes, networks, networks)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert 2 <= len(boxes) < 40
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_labels_that_must_not_be_left_out():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    for always, count in ((False, 8), (True, 20)):
        figure = Figure(figsize=(6, 4))
        canvas = FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.plot([1, 1.1], [1, 1.1])
        canvas.draw()
        plot.place_labels(axes, [(f'network {i}', 1.05, 1.05, 30) for i in range(20)], [(1.05, 1.05, 25)], always)
        assert 4 <= len(axes.texts) <= count
        assert (len(axes.texts) == 20) is always
        marker = axes.transData.transform((1.05, 1.05))
        boxes = [text.get_window_extent() for text in axes.texts[:4]]
        # 30 points are 42 pixels; no label covers the marker.
        assert not any(box.x0 < marker[0] + 25 and box.x1 > marker[0] - 25 and box.y0 < marker[1] + 25
                       and box.y1 > marker[1] - 25 for box in boxes)  # fmt: skip
        canvas.draw()
