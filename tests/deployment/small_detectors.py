"""Detectors for the tests of exports that take a second or two."""

#: YOLOv5n, narrower still, of three classes; the values of its config that say so.
TINY = {
    'model.backbone.widen_factor': 0.125,
    'model.backbone.deepen_factor': 0.33,
    'model.neck.widen_factor': 0.125,
    'model.neck.deepen_factor': 0.33,
    'model.bbox_head.num_classes': 3,
}
#: The same as options of an export.
SMALL = dict(source='yolov5_n', classes='circle,square,triangle', img_size=64, cfg_options=TINY)
