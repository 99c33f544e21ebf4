"""Small detectors for export tests, each of which takes a second or two."""

#: Config values of a narrower YOLOv5n with three classes.
TINY = {
    'model.backbone.widen_factor': 0.125,
    'model.backbone.deepen_factor': 0.33,
    'model.neck.widen_factor': 0.125,
    'model.neck.deepen_factor': 0.33,
    'model.bbox_head.num_classes': 3,
}
#: The same detector as options of an export.
SMALL = dict(source='yolov5_n', classes='circle,square,triangle', img_size=64, cfg_options=TINY)
