import pytest

from mmcnn.weights.entries import without_wrappers


@pytest.mark.parametrize(
    ('names', 'plain', 'taken'),
    [
        ([], [], []),
        (['module.a', 'module.b'], ['a', 'b'], ['module.']),
        (['module.module.a'], ['a'], ['module.']),
        (['module.a', 'b'], ['module.a', 'b'], []),
        (['module._orig_mod.a.b', 'module.c._fsdp_wrapped_module.d'], ['a.b', 'c.d'], [
            'module.', '_orig_mod.', '_fsdp_wrapped_module.',
        ]),
        (['_orig_mod.a', 'a'], ['_orig_mod.a', 'a'], []),
    ],
)  # fmt: skip
def test_what_wrappers_put_into_names(names, plain, taken):
    """Names stay as they are where two of them would become the same."""
    state = {name: number for number, name in enumerate(names)}
    assert without_wrappers(state) == (dict(zip(plain, range(len(plain)), strict=True)), taken)
