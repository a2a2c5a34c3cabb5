"""Rows of `preprocess`: camera pixels to the network's input."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.contest import Call, Entrant, Row
from kernels import native, reference
from kernels.arrays import F32, U8

from .compare import relative_map
from .ours import native_call
from .threads import one_thread_cv2, one_thread_openvino, one_thread_torch

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE = 256
SCALE: F32 = (1 / (255 * np.array(STD))).astype(np.float32)
SHIFT: F32 = (np.array(MEAN) / STD).astype(np.float32)


def _make() -> U8:
    draw = np.random.default_rng(4)
    smooth = np.kron(draw.integers(40, 216, (135, 240, 3)), np.ones((8, 8, 1)))
    return np.asarray(np.clip(smooth + draw.normal(0, 12, smooth.shape), 0, 255), np.uint8)


def _reference(image: U8) -> Call:
    out = np.empty((3, SIDE, SIDE), np.float32)
    return lambda: reference.preprocess(image, (SIDE, SIDE), MEAN, STD, None, out)


def _native(image: U8) -> Call:
    out = np.empty((3, SIDE, SIDE), np.float32)
    return native_call(lambda: native.preprocess(image, (SIDE, SIDE), MEAN, STD, None, out))


def _torch(image: U8) -> Call:
    torch = one_thread_torch()
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    scale = torch.from_numpy(SCALE)[:, None, None]
    shift = torch.from_numpy(SHIFT)[:, None, None]

    def call() -> Any:
        small = torch.nn.functional.interpolate(
            pixels, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False
        )
        return (small[0].flip(0).float() * scale - shift).contiguous().numpy()

    return call


def _cv2_area(image: U8) -> Call:
    cv2 = one_thread_cv2()
    out = np.empty((3, SIDE, SIDE), np.float32)

    def call() -> Any:
        small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        for channel, plane in enumerate(reversed(cv2.split(small))):
            np.multiply(plane, SCALE[channel], out=out[channel])
            out[channel] -= SHIFT[channel]
        return out

    return call


def _pillow(image: U8) -> Call:
    from PIL import Image

    picture = Image.fromarray(image[..., ::-1].copy())
    scale, shift = SCALE[:, None, None], SHIFT[:, None, None]

    def call() -> Any:
        small = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        return small.transpose(2, 0, 1) * scale - shift

    return call


def _openvino(image: U8) -> Call:
    import openvino
    from openvino import opset13
    from openvino.preprocess import ColorFormat, PrePostProcessor, ResizeAlgorithm

    # A network that does nothing: what remains is the preprocessing in front of it.
    given = opset13.parameter([1, 3, SIDE, SIDE], np.float32)
    steps = PrePostProcessor(openvino.Model([opset13.result(given)], [given]))
    tensor = steps.input().tensor()
    tensor.set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    tensor.set_color_format(ColorFormat.BGR).set_shape([1, *image.shape])
    steps.input().model().set_layout(openvino.Layout("NCHW"))
    chain = steps.input().preprocess().convert_element_type(openvino.Type.f32)
    chain = chain.resize(ResizeAlgorithm.RESIZE_BILINEAR_PILLOW).convert_color(ColorFormat.RGB)
    chain.mean([255 * m for m in MEAN]).scale([255 * s for s in STD])
    request = one_thread_openvino(steps.build())
    batch = image[None]
    return lambda: request.infer([batch], share_inputs=True, share_outputs=True)[0][0]


ROWS = [
    Row(
        work="preprocess: 1920x1080 BGR -> 256^2 antialiased, normalised, NCHW FP32",
        target=">= 2.5 x the best antialiased peer",
        make=_make,
        entrants=(
            Entrant("native", "native", _native),
            Entrant("reference", "reference", _reference),
            Entrant("torch", "peer", _torch, "interpolate on channels-last uint8, bilinear, antialias"),
            Entrant("cv2", "peer", _cv2_area, "INTER_AREA, then normalised per plane"),
            Entrant("Pillow", "peer", _pillow, "BILINEAR (antialiased)"),
            Entrant("OpenVINO", "peer", _openvino, "PrePostProcessor, RESIZE_BILINEAR_PILLOW (antialiased)"),
        ),
        compare=relative_map,
        note="torch, cv2 and Pillow round to 8 bits in between; cv2 averages over boxes, not triangles.",
    ),
]
