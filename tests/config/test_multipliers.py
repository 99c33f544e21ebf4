"""Learning rate multipliers for parts of a backbone."""

from mmengine.config import Config

from mmcnn.config.multipliers import settle_multipliers


def test_those_of_parts_that_are_gone_are_dropped_and_told():
    keys = {
        'backbone': dict(lr_mult=0.1),
        'backbone.patch_embed.norm': dict(decay_mult=0.0),
        'backbone.stem': dict(lr_mult=0.5),
        'query_embed': dict(decay_mult=0.0),
    }
    cfg = Config(
        dict(
            model=dict(type='DETR', backbone=dict(type='mmcnn.vovnet39')),
            optim_wrapper=dict(paramwise_cfg=dict(custom_keys=keys)),
        )
    )
    kept, gone, stem = settle_multipliers(cfg)
    assert set(cfg.optim_wrapper.paramwise_cfg.custom_keys) == {'backbone', 'backbone.stem', 'query_embed'}
    assert kept.endswith("backbone={'lr_mult': 0.1} is kept for the new backbone") and 'backbone.stem' in stem
    assert 'backbone.patch_embed.norm' in gone and gone.endswith('names a part of the old backbone and is dropped')


def test_configs_without_any_have_nothing_to_say():
    assert settle_multipliers(Config(dict(model=dict(backbone=dict(type='mmcnn.vgg11'))))) == []
