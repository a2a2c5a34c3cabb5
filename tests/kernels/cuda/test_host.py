"""What runs CUDA on the CPU does as a GPU does, and notices what a GPU answers with garbage or a hang."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels.cuda import Launch
from tests.kernels.cuda.host import COMPILER, HostError, compiled, poisoned, run_on_host

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++")
SOURCE = Path(__file__).with_name("faulty.cu")


def run(entry: str, threads: int, *args: Any, seed: int = 0, blocks: int = 1, shared: int = 0) -> None:
    launch = Launch("faulty", entry, (blocks, 1, 1), (threads, 1, 1), args, shared)
    run_on_host(launch, seed, SOURCE)


def test_every_half_becomes_its_float_and_comes_back() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    floats, back = poisoned(1 << 16, np.float32), poisoned(1 << 16, np.uint16)
    run("halves", 1024, bits, floats, back, 1 << 16, blocks=64)
    np.testing.assert_array_equal(floats, bits.view(np.float16).astype(np.float32))
    number = ~np.isnan(floats)
    np.testing.assert_array_equal(back[number], bits[number])
    assert np.isnan(back.view(np.float16)[~number]).all()


def test_floats_round_to_the_nearest_half() -> None:
    rng = np.random.default_rng(0)
    exact = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    between = (exact[:-1] + exact[1:]) / 2
    values = np.concatenate(
        [exact, between, rng.normal(size=1000).astype(np.float32), [65519, 65520, np.inf]]
    )
    values = np.concatenate([values, -values]).astype(np.float32)
    found = poisoned(len(values), np.uint16)
    run("rounded", 1024, values, found, len(values), blocks=-(-len(values) // 1024))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found, values.astype(np.float16).view(np.uint16))


def test_the_tensor_core_multiplies_as_its_fragments_are_drawn() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(16, 16)).astype(np.float16), rng.normal(size=(16, 8)).astype(np.float16)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    for entry, right in (("product", b), ("product_of_matrices", np.ascontiguousarray(b.T))):
        found = poisoned((16, 8), np.float32)
        run(entry, 32, a, right, found)
        # 16 products of FP16 are exact in FP32, their sum is not.
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_matrices_are_transposed_on_the_way() -> None:
    tiles = np.random.default_rng(2).normal(size=(4, 8, 8)).astype(np.float16)
    found = poisoned((4, 8, 8), np.float16)
    run("transposed", 32, tiles, found)
    np.testing.assert_array_equal(found, tiles.transpose(0, 2, 1))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_lanes_exchange_values(seed: int) -> None:
    found = poisoned((6, 64), np.int32)
    run("shuffles", 64, found, seed=seed)
    lane = np.arange(64) % 32
    expected = [
        lane ^ 1,
        np.where(lane + 3 < 32, lane + 3, lane),
        np.where(lane >= 3, lane - 3, lane),
        lane // 8 * 8 + 5,
        np.full(64, sum(1 << i for i in range(0, 32, 3))),
        np.full(64, 496),
    ]
    np.testing.assert_array_equal(found, expected)


def test_a_missing_barrier_shows_in_some_order_of_the_threads() -> None:
    source = np.arange(256, dtype=np.float32)
    expected = source.reshape(2, 128)[:, ::-1].ravel()

    def right(with_barrier: int, seed: int) -> bool:
        found = poisoned(256, np.float32)
        run("reversed", 128, source, found, with_barrier, seed=seed, blocks=2, shared=512)
        return bool((found == expected).all())

    assert all(right(1, seed) for seed in range(8))
    assert not any(right(0, seed) for seed in range(8))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("half_a_barrier", "waits at a barrier, thread 32 has left"),
        ("two_barriers", "wait at different barriers"),
        ("too_much_shared", "may have 48 KiB"),
        ("lane_missing", "lane 7, which has left"),
        ("lane_elsewhere", "of a warp meet at lines"),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_threads_that_miss_each_other_are_an_error(entry: str, message: str, seed: int) -> None:
    with pytest.raises(HostError, match=message):
        run(entry, 64, poisoned(64, np.int32), seed=seed)


@pytest.mark.parametrize("at", [-1, 4, 100])
def test_a_write_beside_an_array_is_an_error_and_a_read_gives_nan(at: int) -> None:
    with pytest.raises(HostError, match="wrote beside an array"):
        run("writes_at", 1, np.zeros(4, np.float32), at)
    found = np.zeros(1, np.float32)
    run("reads_at", 1, np.zeros(4, np.float32), found, at)
    assert np.isnan(found).all()


def test_arguments_must_fit_the_parameters() -> None:
    out = np.zeros(4, np.float32)
    for wrong in ((out,), (out, 1.0), (1.0, 1)):
        with pytest.raises(HostError, match="writes_at"):
            run("writes_at", 1, *wrong)


def test_a_source_that_does_not_compile_says_why(tmp_path: Path) -> None:
    path = tmp_path / "broken.cu"
    path.write_text('extern "C" __global__ void broken(int n) { n = nowhere; }')
    with pytest.raises(HostError, match="nowhere"):
        compiled(path)
