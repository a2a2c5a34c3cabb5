"""Which compiled library is taken, and what a call refuses."""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest

from kernels import native, reference
from kernels.arrays import F32
from kernels.native import Library
from kernels.native.library import SETS, Kernel, checked, result, scratch


def test_libraries_are_there_where_a_compiler_is() -> None:
    found = native.libraries()
    assert found
    if shutil.which("c++"):
        assert all(lib.functions is not None for lib in found), found[0].reason
    assert all(bool(lib.reason) != (lib.functions is not None) for lib in found)


def test_the_best_library_is_in_use_and_another_one_only_inside_using(native_library: Library) -> None:
    assert native.library() is native_library
    with native.using(native.libraries()[0]):
        assert native.library() is native.libraries()[0]
    assert native.library() is native_library


def test_the_sets_are_ordered_best_first() -> None:
    names = [lib.name for lib in native.libraries() if lib.functions is not None]
    assert names == sorted(names, key=list(SETS).index)


def test_without_a_library_a_kernel_says_why() -> None:
    with native.using(Library("", "not compiled")), pytest.raises(RuntimeError, match="not compiled"):
        native.pool_norm(np.ones((3, 3, 4), np.float32))


def test_scratch_memory_is_aligned_kept_and_one_for_each_thread() -> None:
    first = scratch(1000)
    assert first % 64 == 0
    assert scratch(10) == first
    other: list[int] = []
    thread = threading.Thread(target=lambda: other.append(scratch(1000)))
    thread.start()
    thread.join()
    assert other[0] != first


def test_sizes_that_the_kernel_refuses_are_a_value_error(native_library: Library) -> None:
    kernel = Kernel("pool_norm", "ppppnnn", 3)
    with pytest.raises(ValueError, match="pool_norm: sizes"):
        kernel((0, 1, 1), 0, 0, 0, 0, 0, 1, 1, threads=1)
    with pytest.raises(ValueError, match="threads is 0"):
        native.pool_norm(np.ones((3, 3, 4), np.float32), threads=0)


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2), np.int32), np.zeros(4, np.float32), np.zeros((0, 4), np.float32)]
)
def test_an_array_of_another_kind_is_refused(array: F32) -> None:
    with pytest.raises(ValueError, match=r"k: what is .*expected float32 with 2 axes"):
        checked("k", "what", array, 2)


def test_a_result_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="expected float32"):
        result("k", (2, 3), np.zeros((3, 2), np.float32).T)


def test_every_native_kernel_has_a_reference_of_its_name() -> None:
    kernels = set(native.__all__) - {"Library", "Scan", "libraries", "library", "scans", "using"}
    assert kernels
    assert kernels <= set(reference.__all__)


def test_an_array_that_must_not_change_is_no_out(native_library: Library) -> None:
    features = np.ones((4, 4, 3), np.float32)
    constant = np.frombuffer(bytes(features.nbytes), np.float32)
    with pytest.raises(ValueError, match=r"pool_norm: out is .* writable"):
        native.pool_norm(features, constant.reshape(features.shape))
    image, plane = np.full((4, 4), 200, np.uint8), constant.reshape(3, 4, 4)
    with pytest.raises(ValueError, match=r"preprocess: out is .* not writable"):
        native.preprocess(image, (4, 4), (0, 0, 0), (1, 1, 1), out=plane)
    assert not constant.any()


@pytest.mark.parametrize("threads", [2**31, 2**32])
def test_more_threads_than_an_int_holds_are_as_many_as_there_can_be(
    native_library: Library, threads: int
) -> None:
    features = np.random.default_rng(0).normal(size=(5, 7, 3)).astype(np.float32)
    found = native.pool_norm(features, threads=threads)[0]
    np.testing.assert_array_equal(found, native.pool_norm(features)[0])
