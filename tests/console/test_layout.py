from mmcnn.console.layout import NOTHING, aligned, labelled, number, one_line, shortened, validation

NAN = float('nan')
METRICS = {'AP': 0.5, 'AP50': 0.75, 'AP75': 0.25, 'APs': -1.0, 'APm': 0.125, 'APl': 0.6, 'AR1': 0.3, 'AR100': 0.55}


def test_labels_have_one_width():
    assert labelled([('data', 'a: b'), ('', 'more')]) == ['data     a: b', '         more']


def test_columns_have_one_width_each():
    assert aligned(['epoch 1', 'AP', 'AP50'], [['all', '0.5'], ['größer', '1', '0.75']]).splitlines() == [
        'epoch 1   AP  AP50',
        'all      0.5',
        'größer     1  0.75',
    ]
    # The layout of `mmcnn zoo`.
    assert aligned(['a', 'bc'], [['name', 'x'], ['n', 'long', 'more']], left=(1,)) == (
        '   a  bc\nname  x\n   n  long  more'
    )


def test_few_classes_are_all_listed():
    rows = validation(METRICS, {'cat': 0.5, 'dog': NAN})
    assert rows == [
        ['AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR100'],
        ['all', '0.500', '0.750', '0.250', '-', '0.125', '0.600', '0.550'],
        ['cat', '0.500'],
        ['dog', '-'],
    ]
    assert len(validation(METRICS, {str(i): i / 20 for i in range(20)})) == 22


def test_of_many_classes_the_best_and_the_worst():
    class_ap = {f'c{i}': (i * 7 % 30) / 30 for i in range(30)} | {'none': NAN}
    rows = validation({'AP': 0.5}, class_ap)
    assert rows[:2] == [['AP'], ['all', '0.500']]
    named = [row[0].strip() for row in rows[2:]]
    ranked = sorted((name for name in class_ap if name != 'none'), key=lambda name: -class_ap[name])
    assert named == ['best classes:', *ranked[:5], 'worst classes:', *ranked[-5:]]
    assert rows[3] == [f'  {ranked[0]}', '0.967'] and rows[-1] == [f'  {ranked[-1]}', '0.000']


def test_many_classes_of_which_few_have_objects():
    class_ap = {f'c{i}': NAN for i in range(30)} | {'a': 0.1, 'b': 0.2}
    assert [row[0] for row in validation({'AP': 0.15}, class_ap)[2:]] == ['best classes:', '  b', '  a']


def test_a_classifier_has_percent_and_other_metrics_their_names():
    assert validation({'top1': 50, 'top5': 99.987}, {}) == [['top1', 'top5'], ['all', '50.00 %', '99.99 %']]
    assert validation({'voc/mAP': 0.5}, {}) == [['voc/mAP'], ['all', '0.500']]


def test_where_nothing_was_measured_it_says_so():
    for value in (NAN, -1.0):
        assert validation({'AP': value, 'AP50': value}, {'cat': NAN}) == [[], ['all', NOTHING]]
    assert validation({'AP': -1.0, 'AP50': 0.0}, {})[1] == ['all', '-', '0.000']


def test_names_stay_on_their_line():
    assert one_line('line\nbreak\t and\x1b[2J ') == 'line break and\ufffd[2J'
    assert one_line('a\u202eb \ud800') == 'a\ufffdb \ufffd'
    assert one_line('مرحبا') == 'مرحبا' and one_line('👩\u200d🚒') == '👩\u200d🚒'
    assert shortened('x' * 40) == 'x' * 40
    assert shortened('x' * 41) == 'x' * 39 + '…'
    assert shortened('安' * 21) == '安' * 19 + '…'  # 40 columns hold 20 of them
    rows = validation({'AP': 0.5}, {'line\nbreak': 0.5, 'y' * 99: 0.25})
    assert [row[0] for row in rows[2:]] == ['line break', 'y' * 39 + '…']


def test_wide_characters_take_two_columns():
    assert aligned(['', 'AP'], [['安全帽', '0.5'], ['cat', '0.25']]).splitlines() == [
        '          AP', '安全帽   0.5', 'cat     0.25',
    ]  # fmt: skip


def test_numbers():
    assert [number(1, 'box'), number(2000, 'box'), number(0, 'image'), number(2, 'class'), number(2, 'category')] == [
        '1 box', '2,000 boxes', '0 images', '2 classes', '2 categories',
    ]  # fmt: skip
